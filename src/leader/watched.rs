//! The watch of the Lease.

use futures::StreamExt;
use futures::stream::BoxStream;
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use tokio::time::Instant;

use super::observed::Observed;
use crate::watch_object::watch_object;

/// The watch of the Lease, and what it and the answers of the API server have shown.
pub(super) struct Watched {
    states: BoxStream<'static, Option<Lease>>,
    pub(super) observed: Observed,
}

impl Watched {
    pub(super) fn new(leases: Api<Lease>, name: &str) -> Self {
        Self { states: watch_object(leases, name, "watching the Lease"), observed: Observed::default() }
    }

    /// Waits for the next state of the Lease.
    pub(super) async fn next(&mut self) {
        if let Some(lease) = self.states.next().await {
            self.observed.see(lease, Instant::now());
        }
    }
}
