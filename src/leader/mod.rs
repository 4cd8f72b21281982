//! Leader election: of several replicas one reconciles, the others stand by with warm caches.
//!
//! By a coordination/v1 Lease, with client-go's timing. Losing it never ends the process, which also answers the
//! webhooks: the controllers stop, their queues are dropped, and the replica stands again. What the controllers write
//! goes through a client that the term's own [`Fence`] guards.

mod election;
mod elector;
mod fence;
mod metrics;
mod record;

use std::time::Duration;

pub use elector::{Elector, Term};
pub use fence::Fence;
pub use metrics::LeaderMetrics;

/// How long a Lease is valid after it was renewed: nobody else takes it before.
pub const LEASE: Duration = Duration::from_secs(15);
/// How long a leader goes on without having renewed its Lease.
pub const RENEW_DEADLINE: Duration = Duration::from_secs(10);
/// How often a leader renews its Lease, and how long anyone waits after a failed attempt.
pub const RETRY: Duration = Duration::from_secs(2);
