//! The Atomix API over gRPC, as its clients see it.

mod auth;
mod command;
mod deleting;
mod examples;
mod families;
mod groups;
mod groups_faults;
mod hostile;
mod server;
mod support;
mod tls;
mod wire;
