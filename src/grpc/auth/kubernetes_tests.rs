use std::future::pending;

use futures::FutureExt;
use futures::future::{join, join_all};
use hyper::{Request, Response};
use kube::client::Body;
use serde_json::json;
use tokio::time::Instant;
use tonic::Code;
use tower::service_fn;

use super::*;

/// An API server that knows every user, and says nothing of tokens.
fn kubernetes() -> Kubernetes {
    let service = service_fn(|request: Request<Body>| async move {
        if request.uri().path().ends_with("/tokenreviews") {
            return pending().await;
        }
        let review = json!({"spec": {}, "status": {"allowed": true}}).to_string();
        Ok::<_, tower::BoxError>(Response::new(Body::from(review.into_bytes())))
    });
    Kubernetes::new(Client::new(service, "default"))
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_made_up_tokens_waits_neither_without_a_bound_nor_for_ever() {
    let (kubernetes, began) = (kubernetes(), Instant::now());
    let tokens: Vec<String> = (0..1000).map(|number| format!("made-up-{number}")).collect();
    let identify = |token: &String| {
        let (kubernetes, token) = (&kubernetes, token.clone());
        async move { (kubernetes.identify(&token).await.unwrap_err().code(), began.elapsed()) }
    };
    let flood = join_all(tokens.iter().map(identify));
    let user = User { name: "jane".to_owned(), ..User::default() };
    let action = Action { verb: "get", resource: "partitionsets", subresource: "", namespace: "ns", name: "g" };
    // Whoever is known is not kept waiting.
    let allowed = kubernetes.authorize(&user, action).map(|allowed| (allowed.map_err(|no| no.code()), began.elapsed()));
    let (flood, allowed) = join(flood, allowed).await;
    assert_eq!(allowed, (Ok(()), Duration::ZERO));
    assert!(flood.iter().all(|(code, _)| *code == Code::Unavailable));
    let waited = flood.iter().filter(|(_, time)| *time > Duration::from_secs(1)).count();
    assert_eq!(waited, TOKENS.waiting);
    let longest = Duration::from_millis(10_100);
    assert!(flood.iter().all(|(_, time)| *time <= longest), "{:?}", flood.iter().map(|(_, time)| *time).max());
}
