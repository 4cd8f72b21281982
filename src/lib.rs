//! The Atomix controller for Kubernetes, see the README for what it does and how it is used.

#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests wait for the tasks that they start"))]

pub mod admission;
pub mod api;
pub(crate) mod api_error;
pub mod app;
pub(crate) mod backoff;
pub(crate) mod calls;
pub mod cli;
pub mod commands;
pub mod connections;
pub mod controller;
pub(crate) mod deserialize_guard;
pub(crate) mod events;
pub mod grpc;
pub(crate) mod leader;
pub(crate) mod primary;
pub(crate) mod proxy;
pub mod queue;
pub(crate) mod replicas;
pub mod rules;
pub mod runtime;
pub(crate) mod scope;
pub(crate) mod singleflight;
pub mod store;
mod text;
mod throttle;
pub mod tls;
