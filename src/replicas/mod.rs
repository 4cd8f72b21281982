//! Which replicas of the controller live.
//!
//! Every replica announces itself in an annotation of its own on a Lease that all of them share, every
//! [`RENEWAL`](liveness::RENEWAL), and removes the annotation when it stops. They share one Lease because the names of a
//! Deployment's pods are not known beforehand: the right to change Leases of any name would reach the leader elections of
//! all others. The Lease has no holder.

mod id;
mod liveness;
mod metrics;
mod presence;

pub(crate) use id::{NoRandomness, ReplicaId};
pub(crate) use presence::Presence;
