//! The election of the primary of each partition among its nodes, which nodes of the `log` and `backup` protocols use.
//!
//! A candidacy is one stream of one member. The primary is the candidate that entered first, and a term belongs to one
//! candidacy: the term grows by one whenever another candidacy comes first, one of the same member included. The record
//! is `status.election` of the Partition. It is written on the version that it was computed from, so that replicas of the
//! controller cannot contradict each other; the schema of the Partition holds the same rules. Each replica has the
//! candidacies of its own streams ([`candidacies`]) and computes the next record ([`record`]); one task a partition writes
//! it and updates the streams ([`task`]); the candidacies of dead replicas are removed ([`sweeper`]).

mod candidacies;
mod election;
mod error;
mod hub;
mod metrics;
mod record;
mod store;
mod stream;
mod sweeper;
mod task;

pub(crate) use candidacies::{End, Update};
pub(crate) use error::Error;
pub(crate) use hub::Hub;
pub(crate) use store::Store;
pub(crate) use stream::CandidateStream;
pub(crate) use sweeper::Sweeper;
