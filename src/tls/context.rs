//! What the tasks of the webhooks' certificates share.

use std::sync::Arc;
use std::time::Duration;

use kube::Client;

use super::ca::Periods;
use super::metrics::TlsMetrics;
use super::names::Names;
use super::serving::Resolver;
use crate::events::Events;

/// First and longest pause after a failure.
pub(super) const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// What another program could cause again and again, writes that it undoes or lines of the log: so many at once, and one
/// more after each interval.
pub(super) const WRITES: (u32, Duration) = (5, Duration::from_secs(1));

/// What the tasks share.
pub(super) struct Context {
    pub(super) client: Client,
    pub(super) names: Names,
    pub(super) periods: Periods,
    pub(super) resolver: Arc<Resolver>,
    pub(super) events: Events,
    pub(super) metrics: Arc<TlsMetrics>,
}
