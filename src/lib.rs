//! The Atomix controller for Kubernetes, see the README for what it does and how it is used.

#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests wait for the tasks that they start"))]

pub mod admission;
pub mod api;
pub(crate) mod api_error;
pub mod app;
pub(crate) mod calls;
pub(crate) mod certificates;
pub mod cli;
pub mod commands;
pub(crate) mod connections;
pub mod controller;
pub(crate) mod deserialize_guard;
pub(crate) mod events;
pub mod grpc;
pub mod leader;
pub mod primary;
pub(crate) mod proxy;
pub(crate) mod queue;
pub mod replicas;
pub mod rules;
pub mod runtime;
pub(crate) mod scope;
pub(crate) mod singleflight;
pub(crate) mod store;
mod text;
pub mod tls;
