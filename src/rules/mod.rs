//! Rules of PartitionSets and Partitions: defaults, validation and protocol options.
//!
//! Everything here is a function of values. The webhooks, the reconcilers and the offline `validate` command call the
//! same functions, so that nothing that is admitted is later unreadable.
//!
//! A rule in `validate` holds for stored objects too: a set that breaks it is stalled. A rule that stored sets may break is
//! one for changes (`validate/changes.rs`), or a warning.

pub(crate) mod config;
mod consent;
pub(crate) mod defaults;
pub(crate) mod duration;
mod edit;
mod fields;
pub(crate) mod judge;
mod labels;
mod metadata;
mod normal;
mod parse_error;
mod pod;
pub(crate) mod quantity;
mod read;
mod report;
mod restricted;
mod shape;
pub(crate) mod syntax;
mod validate;
pub(crate) mod violation;
mod warnings;

pub use consent::Consent;
pub use edit::Edit;
pub use judge::{PartitionsOf, SetVerdict, partition, partition_set, scale};
pub use metadata::metadata;
pub use read::SetObject;
pub use restricted::restricted;
pub use violation::{Reason, Violation};
