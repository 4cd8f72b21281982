//! Which replicas of the controller live.
//!
//! Every replica announces itself in one annotation of its own on a Lease that all of them share, every
//! [`RENEWAL`](registry::RENEWAL), and takes the annotation away when it stops in order. One Lease and not one for each,
//! because the names of a Deployment's pods are not known beforehand: the right to change Leases of any name would be a
//! right over everybody's leader election. What holds the Lease is nobody.

mod id;
mod metrics;
mod presence;
mod registry;

pub use id::{NoRandomness, ReplicaId};
pub use metrics::ReplicasMetrics;
pub use presence::Presence;
pub use registry::{Announcement, DEAD_AFTER, RENEWAL};
