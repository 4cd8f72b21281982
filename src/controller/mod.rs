//! The controllers: one folder a kind, each gather → plan (pure) → apply → status.

pub mod caches;
pub mod context;
mod digest;
mod elections;
mod ensure;
mod fights;
pub mod manager;
mod objects;
pub mod pacing;
pub mod partition;
pub mod partition_set;
pub mod pods;
pub mod settings;
mod trouble;

pub use caches::Caches;
pub use context::Context;
pub use digest::FIELD_MANAGER;
pub use elections::KnownPartitions;
pub use manager::Manager;
pub use settings::{Images, Settings};
