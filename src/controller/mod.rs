//! The controllers: one folder a kind, each gather → plan (pure) → apply → status.

pub mod caches;
pub mod context;
mod desired;
mod elections;
mod ensure;
mod first_seen;
pub mod manager;
mod metrics;
mod objects;
pub mod pacing;
pub mod partition;
pub mod partition_set;
pub mod pods;
mod refusals;
mod repairs;
pub mod settings;
mod trouble;
mod unwritten;
mod write_error;

pub use caches::Caches;
pub use context::Context;
pub use elections::KnownPartitions;
pub use manager::Manager;
pub use metrics::ControllerMetrics;
pub use settings::Settings;

/// Name under which the controller writes: `metadata.managedFields[].manager` of its objects.
pub const FIELD_MANAGER: &str = "atomix-controller";
