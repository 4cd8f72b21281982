//! Which of a partition's nodes is the primary: what nodes of the `log` and `backup` protocols ask the controller.
//!
//! A candidacy is one stream of one member. The primary is the candidate that entered first, and a term belongs to one
//! candidacy: whenever another becomes primary, one of the same member included, or after nobody was, the term grows by
//! one. The record of it is `status.election` of the Partition, written on the very version that it was computed from,
//! so that replicas of the controller cannot contradict each other; the schema of the Partition holds the same a second
//! time. Each replica knows the candidacies whose streams it has ([`candidacies`]) and makes one record out of another
//! ([`record`]); one task a partition writes and tells ([`task`]), and what a dead replica leaves is swept up
//! ([`sweeper`]).

pub mod candidacies;
mod hub;
mod known;
mod metrics;
pub mod record;
mod store;
pub mod sweeper;
pub mod task;

pub use hub::{Entered, Error, Hub};
pub use known::KnownPartitions;
pub use metrics::PrimaryMetrics;
pub use store::{Known, Store, View};
