//! The Atomix controller for Kubernetes, see the README for what it does and how it is used.

pub mod api;
pub mod rules;
