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
mod routes;
pub(crate) mod server;
mod service;
mod status;
pub(crate) mod tls;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tonic_reflection::server::Error;

use crate::runtime::Runtime;
use crate::runtime::shutdown::Stage;
use crate::store::freshness::Freshness;

pub(crate) use access::Access;
pub(crate) use elections::Elections;
pub(crate) use groups::Groups;
pub(crate) use service::Service;

/// Starts the server of the Atomix API; the health service reports whether `reads` are current.
///
/// # Errors
/// If the compiled descriptors cannot be read.
pub(crate) async fn start(
    runtime: &Runtime,
    (listener, tls): (TcpListener, server::Tls),
    service: Service,
    reads: watch::Receiver<Freshness>,
    limits: server::Limits,
) -> Result<(), Error> {
    let (tasks, readiness) = (runtime.tasks(Stage::Drain), &runtime.readiness);
    let stop = tasks.stopping();
    service.access.report(tls.is_some());
    let reporter = health::Reporter::new().await;
    let routes = routes::routes(service, reporter.service())?;
    tasks.spawn("gRPC health", reporter.run(readiness.clone(), reads, stop.clone()));
    let metrics = runtime.registry.register();
    tasks.spawn("gRPC server", server::serve(listener, tls, routes, metrics, limits, stop.clone()));
    Ok(())
}
