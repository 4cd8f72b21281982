//! The Atomix controller for Kubernetes, see the README for what it does and how it is used.

pub mod admission;
pub mod api;
pub mod app;
pub mod cache;
pub mod cli;
pub mod controller;
pub mod events;
pub mod health;
pub mod metrics;
pub mod offline;
pub mod queue;
pub mod rules;
pub mod tls;
pub mod watch;
