use std::future::pending;
use std::sync::atomic::AtomicUsize;

use futures::FutureExt;
use futures::future::{join, join_all};
use hyper::{Request, Response};
use kube::client::Body;
use serde_json::{Value, json};
use tokio::time::Instant;
use tonic::Code;
use tower::service_fn;

use super::*;
use crate::grpc::limit::PATIENCE;

/// An API server that knows every user, and answers `token` to each `TokenReview`; without it, none comes.
fn kubernetes(token: Option<Value>) -> (Kubernetes, Arc<AtomicUsize>) {
    let reviews = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&reviews);
    let service = service_fn(move |request: Request<Body>| {
        let (count, token) = (Arc::clone(&count), token.clone());
        async move {
            count.fetch_add(1, Ordering::Relaxed);
            let status = match token {
                _ if !request.uri().path().ends_with("/tokenreviews") => json!({"allowed": true}),
                None => return pending().await,
                Some(status) => status,
            };
            let review = json!({"spec": {}, "status": status}).to_string();
            Ok::<_, tower::BoxError>(Response::new(Body::from(review.into_bytes())))
        }
    });
    (Kubernetes::new(Client::new(service, "default")), reviews)
}

fn action(name: &str) -> Action<'_> {
    Action { verb: "get", resource: "partitionsets", subresource: "", namespace: "ns", name }
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_made_up_tokens_waits_neither_without_a_bound_nor_for_ever() {
    let ((kubernetes, _), began) = (kubernetes(None), Instant::now());
    let tokens: Vec<String> = (0..1000).map(|number| format!("made-up-{number}")).collect();
    let identify = |token: &String| {
        let (kubernetes, token) = (&kubernetes, token.clone());
        async move { (kubernetes.identify(&token).await.unwrap_err().code(), began.elapsed()) }
    };
    let flood = join_all(tokens.iter().map(identify));
    let user = User { name: "jane".to_owned(), ..User::default() };
    // A user whose token is cached is not kept waiting.
    let allowed =
        kubernetes.authorize(&user, action("g")).map(|allowed| (allowed.map_err(|no| no.code()), began.elapsed()));
    let (flood, allowed) = join(flood, allowed).await;
    assert_eq!(allowed, (Ok(()), Duration::ZERO));
    assert!(flood.iter().all(|(code, _)| *code == Code::Unavailable));
    let waited = |time| flood.iter().filter(|(_, waited)| *waited > time).count();
    assert_eq!((waited(Duration::ZERO), waited(PATIENCE * 2)), (REVIEWS.0 + REVIEWS.1, REVIEWS.0));
    assert_eq!(waited(CALL_TIMEOUT * 2), 0);
}

#[tokio::test]
async fn one_review_serves_all_and_is_cached_unless_it_failed() {
    let jane = json!({"authenticated": true, "user": {"username": "jane"}});
    let (known, reviews) = kubernetes(Some(jane));
    let users = join_all((0..50).map(|_| known.identify("a"))).await;
    assert!(users.iter().all(|user| user.as_ref().is_ok_and(|user| user.name == "jane")));
    known.identify("a").await.unwrap();
    assert_eq!(reviews.load(Ordering::Relaxed), 1);
    let user = User { name: "jane".to_owned(), ..User::default() };
    for name in ["g", "h", "g"] {
        known.authorize(&user, action(name)).await.unwrap();
    }
    assert_eq!(reviews.load(Ordering::Relaxed), 3);

    let (unknown, reviews) = kubernetes(Some(json!({"authenticated": false})));
    for _ in 0..2 {
        assert_eq!(unknown.identify("a").await.unwrap_err().code(), Code::Unauthenticated);
    }
    assert_eq!(reviews.load(Ordering::Relaxed), 1);

    let (broken, reviews) = kubernetes(Some(json!("no status")));
    for _ in 0..2 {
        assert_eq!(broken.identify("a").await.unwrap_err().code(), Code::Unavailable);
    }
    assert_eq!(reviews.load(Ordering::Relaxed), 2);
}

#[test]
fn a_yes_is_kept_for_longer_than_a_no() {
    let lifetime = Lifetime(|allowed: &bool| *allowed);
    let keep = |allowed| lifetime.expire_after_create(&Key::default(), &allowed, std::time::Instant::now());
    assert_eq!((keep(true), keep(false)), (Some(LIFETIME.0), Some(LIFETIME.1)));
}
