//! Serving certificates of the webhooks.

pub mod issue;
mod names;
pub mod state;
pub mod verify;

pub use names::Names;
