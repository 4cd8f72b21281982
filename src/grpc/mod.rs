//! The Atomix API: partition groups and elections over gRPC, for Atomix clients and nodes, which do not use Kubernetes.

mod access;
mod auth;
mod deadline;
mod elections;
pub(crate) mod groups;
pub mod health;
mod ids;
mod limit;
mod metrics;
pub mod proto;
pub(crate) mod routes;
pub(crate) mod server;
mod service;
mod status;
pub(crate) mod tls;

pub(crate) use access::Access;
pub(crate) use elections::Elections;
pub(crate) use groups::Groups;
pub(crate) use service::Service;
