//! The guard in the client that the controllers write through: no write begins or goes on when another replica may hold
//! the Lease.
//!
//! A write that the network delivers after this process was stopped is harmless: creations have fixed names, and every
//! other write names the version or the identity of what it changes. Only an Event has a name of its own: one may arrive
//! late, with the time at which it happened.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use hyper::{Method, Request};
use kube::Client;
use kube::client::Body;
use tokio::time::{Instant, sleep_until};
use tower::service_fn;

use super::{LEASE, RENEW_DEADLINE};
use crate::api_error::NotLeading;

/// Time between the end of the last request under a Lease and the end of the Lease: an API server takes a while to notice
/// that a client has given up.
const MARGIN: Duration = Duration::from_secs(1);

/// Admits writes while a term of leadership surely lasts. Clones share it. A closed fence stays closed.
#[derive(Clone, Debug)]
pub(crate) struct Fence(Arc<Mutex<Option<Instant>>>);

impl Fence {
    /// A fence for a term whose Lease was written by a request that began at `renewed`.
    pub(crate) fn new(renewed: Instant) -> Self {
        Self(Arc::new(Mutex::new(Some(renewed))))
    }

    /// Records that the Lease was renewed by a request that began at `renewed`.
    pub(super) fn renew(&self, renewed: Instant) {
        self.update(|last| last.map(|last| last.max(renewed)));
    }

    /// Ends the term for good.
    pub(super) fn close(&self) {
        self.update(|_| None);
    }

    /// Until when a write that begins at `now` may last.
    ///
    /// # Errors
    /// [`NotLeading`] if it must not begin.
    fn admit(&self, now: Instant) -> Result<Instant, NotLeading> {
        let renewed = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let renewed = renewed.filter(|renewed| now < *renewed + RENEW_DEADLINE);
        renewed.map(|renewed| renewed + LEASE.saturating_sub(MARGIN)).ok_or(NotLeading)
    }

    /// `client`, but for writes outside the term, which fail. Reads are not held back.
    pub(crate) fn guard(&self, client: &Client) -> Client {
        let (fence, inner) = (self.clone(), client.clone());
        let service = service_fn(move |request: Request<Body>| {
            let (fence, inner) = (fence.clone(), inner.clone());
            async move {
                let writes = !matches!(*request.method(), Method::GET | Method::HEAD);
                if writes { fence.bound(inner.send(request)).await } else { inner.send(request).await }
            }
        });
        Client::new(service, client.default_namespace())
    }

    async fn bound<T>(&self, call: impl Future<Output = kube::Result<T>>) -> kube::Result<T> {
        let not_leading = || kube::Error::Service(Box::new(NotLeading));
        let until = self.admit(Instant::now()).map_err(|_| not_leading())?;
        let (mut call, mut late) = (pin!(call), pin!(sleep_until(until)));
        poll_fn(|context| {
            // The clock is read before the request is polled: after the whole process was stopped for a while, a request
            // that was not sent yet must not be.
            if Instant::now() >= until || late.as_mut().poll(context).is_ready() {
                return Poll::Ready(Err(not_leading()));
            }
            call.as_mut().poll(context)
        })
        .await
    }

    fn update(&self, change: impl FnOnce(Option<Instant>) -> Option<Instant>) {
        let mut renewed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *renewed = change(*renewed);
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_write_begins_only_while_the_lease_is_renewed() {
        let start = Instant::now();
        let fence = Fence::new(start);
        assert_eq!(fence.admit(start), Ok(start + Duration::from_secs(14)));
        assert_eq!(fence.admit(start + Duration::from_secs(10)), Err(NotLeading));
        fence.renew(start + Duration::from_secs(8));
        assert_eq!(fence.admit(start + Duration::from_secs(17)), Ok(start + Duration::from_secs(22)));
        fence.close();
        fence.renew(start + Duration::from_secs(9));
        assert_eq!(fence.admit(start + Duration::from_secs(9)), Err(NotLeading));
    }

    #[tokio::test(start_paused = true)]
    async fn a_write_that_hangs_is_given_up_before_the_lease_ends() {
        let (start, fence) = (Instant::now(), Fence::new(Instant::now()));
        let result = fence.bound(pending::<kube::Result<()>>()).await;
        assert!(matches!(result, Err(kube::Error::Service(error)) if error.is::<NotLeading>()));
        assert!(start.elapsed() < LEASE && start.elapsed() >= Duration::from_secs(13), "{:?}", start.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_sent_after_the_process_was_stopped_for_long() {
        let fence = Fence::new(Instant::now());
        let (go, mut gone) = tokio::sync::oneshot::channel::<()>();
        let mut call = pin!(fence.bound(async {
            let _ = (&mut gone).await;
            panic!("sent")
        }));
        assert!(futures::poll!(&mut call).is_pending());
        go.send(()).unwrap();
        advance(Duration::from_secs(20)).await;
        let result: kube::Result<()> = call.await;
        assert!(result.is_err());
    }
}
