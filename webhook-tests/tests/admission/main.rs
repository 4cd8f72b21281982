//! What the admission webhooks promise, by the real kubectl on a real API server with the real controller.
//!
//! One file for each promise. All share one control plane; those that need sets which no webhook has seen share a
//! second one: see [`bare`].

mod agreement;
mod bare;
mod consent;
mod defaults;
mod deletion;
mod hostile;
mod manifests;
mod names;
mod normal;
mod offline;
mod options;
mod partitions;
mod ratcheting;
mod rejections;
mod scale;
mod updates;
mod verdicts;
mod warnings;
mod wire;
mod writing;

/// Longer than anything here takes, on any machine.
const SOON: std::time::Duration = std::time::Duration::from_secs(60);
