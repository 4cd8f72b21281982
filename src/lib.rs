//! The Atomix controller for Kubernetes, see the README for what it does and how it is used.

#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests wait for the tasks that they start"))]

pub mod admission;
pub mod api;
mod api_error;
pub mod app;
mod backoff;
mod calls;
pub mod cli;
mod client;
pub mod commands;
pub mod controller;
mod deserialize_guard;
mod events;
pub mod grpc;
mod leader;
mod listener;
mod primary;
mod proxy;
mod queue;
mod replicas;
pub mod rules;
pub mod runtime;
mod scope;
mod singleflight;
mod store;
mod text;
mod throttle;
pub mod tls;
mod watch_object;
