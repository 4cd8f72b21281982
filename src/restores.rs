//! What happens when etcd is restored from a snapshot while this process runs.
//!
//! The store then counts its versions from where the snapshot was made. A watch goes on from a version that has not come
//! yet, and the API server tells it nothing until the store has reached that version: no error, no end. So a restore is
//! recognised by an answer to a write whose version is lower than one that is known, as the announcement of a replica
//! has it every few seconds. From then on, no watch is answered on that has not begun with a list since: each that is
//! under way ends with 410 Gone, as does each that is begun, and is made anew from a list.

use std::collections::HashSet;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use futures::FutureExt;
use futures::future::BoxFuture;
use hyper::body::{Bytes, Frame, SizeHint};
use hyper::{Method, Request, Response};
use kube::Client;
use kube::client::Body;
use tokio::sync::watch;
use tower::service_fn;

/// What a watch is told that cannot go on. The empty line before it ends what may have been begun.
const GONE: &str = concat!(
    "\n",
    r#"{"type":"ERROR","object":{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Expired","code":410,"#,
    r#""message":"the store was restored from a backup: its versions count anew"}}"#,
    "\n"
);

/// How often the store was restored, as far as this process has seen.
#[derive(Debug, Default)]
pub struct Restores {
    count: watch::Sender<u64>,
    /// What has been listed since.
    listed: Mutex<HashSet<Subject>>,
}

/// What a list or a watch is about: the path, and the parameters that select objects.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Subject {
    path: String,
    selectors: Vec<String>,
}

/// What a request is about that lists, or watches, as its second part says; none if it does neither.
fn subject_of<B>(request: &Request<B>) -> Option<(Subject, bool)> {
    let parameters = || request.uri().query().unwrap_or_default().split('&');
    let has = |start: &str| parameters().any(|parameter| parameter.starts_with(start));
    let is_watch = has("watch=true");
    if *request.method() != Method::GET || !(is_watch || has("limit=") && !has("continue=")) {
        return None;
    }
    let selects = |parameter: &&str| parameter.split('=').next().is_some_and(|name| name.ends_with("Selector"));
    let mut selectors: Vec<String> = parameters().filter(selects).map(str::to_owned).collect();
    selectors.sort_unstable();
    Some((Subject { path: request.uri().path().to_owned(), selectors }, is_watch))
}

impl Restores {
    /// Takes in that the store has been restored.
    pub fn record(&self) {
        self.listed().clear();
        self.count.send_modify(|count| *count += 1);
    }

    /// How often it has been, and every change of that.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.count.subscribe()
    }

    /// `client`, whose watches end at a restore. Every list in pages that is made with it has to be one that a watch
    /// begins with.
    #[must_use]
    pub fn guard(self: &Arc<Self>, client: &Client) -> Client {
        let (restores, inner) = (Arc::clone(self), client.clone());
        let service = service_fn(move |request: Request<Body>| {
            let (restores, inner) = (Arc::clone(&restores), inner.clone());
            async move {
                // Before it is sent: what is listed after a restore may begin before it is known of.
                let mut count = restores.subscribe();
                let Some((subject, is_watch)) = subject_of(&request) else {
                    return inner.send(request).await.map(|answer| answer.map(Answer::whole));
                };
                if !is_watch {
                    restores.list(subject);
                    return inner.send(request).await.map(|answer| answer.map(Answer::whole));
                }
                if !restores.may_watch(&subject) {
                    return Ok(Response::new(Answer::gone()));
                }
                let answer = inner.send(request).await?;
                let end = async move { drop(count.changed().await) }.boxed();
                Ok(answer.map(|body| Answer { body, end: Some(end), ended: false }))
            }
        });
        Client::new(service, client.default_namespace())
    }

    fn list(&self, subject: Subject) {
        if *self.count.borrow() > 0 {
            self.listed().insert(subject);
        }
    }

    fn may_watch(&self, subject: &Subject) -> bool {
        *self.count.borrow() == 0 || self.listed().contains(subject)
    }

    fn listed(&self) -> MutexGuard<'_, HashSet<Subject>> {
        self.listed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The body of an answer, which ends with [`GONE`] when the store is restored.
struct Answer {
    body: Body,
    end: Option<BoxFuture<'static, ()>>,
    ended: bool,
}

impl Answer {
    fn whole(body: Body) -> Self {
        Self { body, end: None, ended: false }
    }

    fn gone() -> Self {
        Self::whole(Body::from(GONE.as_bytes().to_vec()))
    }
}

impl hyper::body::Body for Answer {
    type Data = Bytes;
    type Error = kube::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, kube::Error>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        if self.end.as_mut().is_some_and(|end| end.poll_unpin(context).is_ready()) {
            self.ended = true;
            return Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(GONE.as_bytes())))));
        }
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.ended || self.end.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        if self.end.is_some() { SizeHint::default() } else { self.body.size_hint() }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures::StreamExt;
    use k8s_openapi::api::core::v1::Secret;
    use kube::Api;
    use kube::api::{ListParams, WatchEvent, WatchParams};

    use super::*;

    /// An API server with no objects, whose watches tell nothing and never end.
    fn client(restores: &Arc<Restores>) -> Client {
        let service = service_fn(|request: Request<Body>| async move {
            let is_watch = subject_of(&request).is_some_and(|(_, is_watch)| is_watch);
            let list = r#"{"metadata":{"resourceVersion":"5"},"items":[]}"#;
            let body = if is_watch { String::new() } else { list.to_owned() };
            let end = is_watch.then(|| std::future::pending().boxed());
            Ok::<_, Infallible>(Response::new(Answer { body: Body::from(body.into_bytes()), end, ended: false }))
        });
        restores.guard(&Client::new(service, "default"))
    }

    async fn is_gone(secrets: &Api<Secret>) -> bool {
        let mut watch = secrets.watch(&WatchParams::default().labels("a=b"), "900").await.unwrap().boxed();
        matches!(watch.next().await, Some(Ok(WatchEvent::Error(status))) if status.code == 410)
    }

    #[tokio::test]
    async fn a_watch_that_is_under_way_ends_when_the_store_is_restored() {
        let restores = Arc::new(Restores::default());
        let secrets: Api<Secret> = Api::default_namespaced(client(&restores));
        assert!(!is_gone(&secrets).await, "no watch is refused before");
        let mut watch = secrets.watch(&WatchParams::default(), "900").await.unwrap().boxed();
        restores.record();
        assert!(matches!(watch.next().await, Some(Ok(WatchEvent::Error(status))) if status.code == 410));
        assert!(watch.next().await.is_none());
    }

    #[tokio::test]
    async fn after_a_restore_a_watch_begins_with_a_list_of_the_same_objects() {
        let restores = Arc::new(Restores::default());
        let secrets: Api<Secret> = Api::default_namespaced(client(&restores));
        restores.record();
        assert!(is_gone(&secrets).await);
        secrets.list(&ListParams::default().limit(7)).await.unwrap();
        assert!(is_gone(&secrets).await, "these are others");
        secrets.list(&ListParams::default().labels("a=b").limit(7)).await.unwrap();
        assert!(!is_gone(&secrets).await);
        restores.record();
        assert!(is_gone(&secrets).await, "another restore");
    }
}
