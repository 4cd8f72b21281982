//! A real control plane for tests: etcd, the API server, the controller
//! manager, the scheduler and a stand-in for the kubelet, with the built
//! controller and the shipped manifests on it.
//!
//! Most tests need no more than this:
//!
//! ```no_run
//! use webhook_tests::{Namespace, harness};
//!
//! let harness = harness();
//! let namespace = Namespace::new(harness.kubectl(), "example");
//! harness.kubectl().ok(&["get", "pods", "-n", namespace.name()]);
//! ```
//!
//! Nothing here outlives the process that started it, however that process
//! ends: see [`Guarded`] and [`ControlPlane`].

pub mod arguments;
pub mod binaries;
pub mod documents;
pub mod process;
pub mod reference;

mod audit;
mod balancer;
mod cert_manager;
mod control_plane;
mod controller;
mod etcd;
mod guarded;
mod harness;
mod http;
mod installation;
mod kubectl;
mod kustomization;
mod link;
mod namespace;
mod objects;
mod replicas;
mod selection;
mod unique;
mod watch;

pub use audit::AuditEntry;
pub use balancer::Balancer;
pub use cert_manager::CertManager;
pub use control_plane::ControlPlane;
pub use controller::{Controller, StartOptions};
pub use documents::commands_of;
pub use guarded::{Guarded, Signal};
pub use harness::{Harness, harness};
pub use http::{Response, get};
pub use installation::{Installation, MANIFEST};
pub use kubectl::{Kubectl, Output};
pub use kustomization::Kustomization;
pub use link::Link;
pub use namespace::Namespace;
pub use objects::{condition, is_ready, items, live, removal_consent, text};
pub use replicas::Replicas;
pub use unique::{free_port, loopback_address, suffix};
pub use watch::{Event, EventKind, Watch};
