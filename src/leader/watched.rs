//! The watch of the Lease.

use futures::StreamExt;
use futures::stream::BoxStream;
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use kube::runtime::{WatchStreamExt, watcher};
use tokio::time::Instant;

use super::observed::Observed;

/// The watch of the Lease, and what it and the answers of the API server have shown.
pub(super) struct Watched {
    lease_name: String,
    states: BoxStream<'static, watcher::Result<Option<Lease>>>,
    pub(super) observed: Observed,
}

impl Watched {
    pub(super) fn new(leases: Api<Lease>, name: &str) -> Self {
        // The watch names the field selector without which a right to one name does not allow it.
        let states = watcher::watch_object(leases, name).default_backoff().boxed();
        Self { lease_name: name.to_owned(), states, observed: Observed::default() }
    }

    /// Waits for the next state of the Lease, or for an error of the watch. Returns whether it is a state.
    pub(super) async fn next(&mut self) -> bool {
        match self.states.next().await {
            Some(Ok(lease)) => {
                self.observed.see(lease, Instant::now());
                true
            }
            Some(Err(error)) => {
                tracing::warn!(%error, lease = self.lease_name, "watching the Lease");
                false
            }
            // The watch never ends by itself.
            None => std::future::pending().await,
        }
    }
}
