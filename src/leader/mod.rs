//! Leader election among the replicas of the controller: one reconciles, the others have warm caches.
//!
//! The leader holds a coordination/v1 Lease, with the timing of client-go. Losing it does not end the process, which also
//! serves the webhooks: the controllers stop, their queues are dropped, and the replica campaigns again. The controllers
//! write through a client that the [`Fence`] of their term guards.

mod elector;
mod fence;
mod metrics;
mod observed;
mod record;
mod watched;

use std::time::Duration;

pub(crate) use elector::{Elector, Term};
pub(crate) use fence::Fence;

/// How long a Lease is valid after it was renewed: no other replica takes it before.
const LEASE: Duration = Duration::from_secs(15);
/// How long a leader goes on without having renewed its Lease.
const RENEW_DEADLINE: Duration = Duration::from_secs(10);
/// How often a leader renews its Lease, and the wait after a write that failed.
const RETRY: Duration = Duration::from_secs(2);
