//! Health for gRPC clients and probes (grpc.health.v1).
//!
//! Two services have a health. The server's own, with the empty name, is serving from the first readiness of the process
//! until the drain. The Atomix API is serving only while its reads are current: a client that needs certainty waits for
//! that, and one that can do with slightly older answers goes on calling.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tonic::server::NamedService;
use tonic_health::ServingStatus;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::server::{HealthReporter, HealthService};

use super::Service;
use super::proto::controller::controller_service_server::ControllerServiceServer;
use crate::runtime::readiness::Readiness;
use crate::store::freshness::Freshness;

/// The server as a whole, by gRPC's definition of health.
const SERVER: &str = "";
/// The Atomix API.
pub const API: &str = <ControllerServiceServer<Service> as NamedService>::NAME;
/// Interval at which it is checked whether the process has become ready: readiness has many parts, and no event.
const READY_CHECK: Duration = Duration::from_millis(200);

/// Sets what the service of [`Reporter::service`] answers.
#[derive(Debug)]
pub(crate) struct Reporter {
    reporter: HealthReporter,
}

impl Reporter {
    /// Nothing is serving.
    pub(crate) async fn new() -> Self {
        let reporter = HealthReporter::new();
        for service in [SERVER, API] {
            reporter.set_service_status(service, ServingStatus::NotServing).await;
        }
        Self { reporter }
    }

    /// The service.
    pub(crate) fn service(&self) -> HealthServer<impl Health + use<>> {
        HealthServer::new(HealthService::from_health_reporter(self.reporter.clone()))
    }

    /// Reports whether the process was ready and whether `reads` are current, until `draining` is cancelled.
    pub(crate) async fn run(
        self,
        readiness: Readiness,
        mut reads: watch::Receiver<Freshness>,
        draining: CancellationToken,
    ) {
        let report = async {
            while !readiness.report().ready {
                sleep(READY_CHECK).await;
            }
            self.set(SERVER, true).await;
            let mut known = None;
            loop {
                let current = reads.borrow_and_update().is_fresh();
                if known != Some(current) {
                    known = Some(current);
                    self.set(API, current).await;
                }
                if reads.changed().await.is_err() {
                    // The watch has ended.
                    return self.set(API, false).await;
                }
            }
        };
        draining.run_until_cancelled(report).await;
        draining.cancelled().await;
        for service in [SERVER, API] {
            self.set(service, false).await;
        }
    }

    async fn set(&self, service: &str, serving: bool) {
        let status = if serving { ServingStatus::Serving } else { ServingStatus::NotServing };
        tracing::debug!(service, %status, "gRPC health");
        self.reporter.set_service_status(service, status).await;
    }
}
