//! The Atomix controller for Kubernetes, see the README for what it does and how it is used.

#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests wait for the tasks that they start"))]

pub mod admission;
pub mod api;
pub mod api_error;
pub mod app;
pub mod cache;
pub mod calls;
pub mod certificates;
pub mod check;
pub mod cli;
pub mod client;
pub mod connections;
pub mod controller;
pub mod election;
pub mod events;
pub mod flights;
pub mod grpc;
pub mod health;
pub mod leader;
pub mod lenient;
pub mod metrics;
pub mod offline;
pub mod proxy;
pub mod queue;
pub mod repeats;
pub mod replicas;
pub mod rules;
pub mod scope;
pub mod sets;
pub mod tasks;
mod text;
pub mod tls;
pub mod watch;
