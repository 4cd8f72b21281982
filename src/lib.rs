//! The Atomix controller for Kubernetes, see the README for what it does and how it is used.

#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests wait for the tasks that they start"))]

pub(crate) mod admission;
pub mod api;
pub mod api_error;
pub mod app;
pub mod calls;
pub mod certificates;
pub mod cli;
pub mod commands;
pub mod connections;
pub mod controller;
pub mod deserialize_guard;
pub mod events;
pub mod grpc;
pub mod leader;
pub mod primary;
pub mod proxy;
pub mod queue;
pub mod replicas;
pub mod rules;
pub mod runtime;
pub mod scope;
pub mod singleflight;
pub mod store;
mod text;
pub mod tls;
