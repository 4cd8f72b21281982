//! What a PartitionSet and a Partition may be: defaults, validation and protocol options.
//!
//! Everything here is a function of values. The webhooks, the reconcilers and the offline `validate` command call the
//! same functions, so that nothing that is admitted is later unreadable.

pub mod config;
mod consent;
pub mod defaults;
pub mod duration;
mod edit;
mod fields;
pub mod judge;
mod labels;
mod metadata;
mod normal;
mod pod;
pub mod quantity;
mod read;
mod restricted;
mod shape;
pub(crate) mod syntax;
mod validate;
pub mod violation;
mod warnings;

pub use consent::Consent;
pub use edit::Edit;
pub use judge::{SetVerdict, partition, partition_set, scale};
pub use metadata::metadata;
pub use read::SetObject;
pub use restricted::restricted;
pub use violation::{Reason, Violation};
