//! The Atomix API: partition groups and elections over gRPC, for clients and nodes that know nothing of Kubernetes.

pub mod access;
pub mod auth;
pub mod deadline;
pub mod elections;
pub mod groups;
pub mod health;
pub mod ids;
mod metrics;
pub mod proto;
pub mod routes;
pub mod server;
pub mod service;
pub mod status;
pub mod tls;

pub use access::Access;
pub use elections::Elections;
pub use groups::Groups;
pub use metrics::GrpcMetrics;
pub use service::Service;
