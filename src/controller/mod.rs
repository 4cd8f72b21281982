//! The controllers: a folder for each kind, each gather → plan (pure) → apply → status.

mod context;
mod desired;
mod manager;
mod metadata;
mod metrics;
mod partition;
mod partition_set;
mod per_object;
mod ready_timers;
mod refusals;
mod repairs;
mod services;
mod settings;
mod status_pacing;
mod status_writer;
mod trouble;
mod writer;

pub use self::manager::{Manager, Options};
pub use self::metrics::ControllerMetrics;
pub use self::settings::{FIELD_MANAGER, Settings};
