//! Metrics of the Atomix API.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use crate::runtime::metrics::{Histograms, ReasonLabel, Registrar, Subsystem, request_buckets};

/// Labels of a call that has ended.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub(super) struct GrpcCallLabels {
    /// Or `unknown`.
    pub(super) method: &'static str,
    /// gRPC's name of it, such as `OK`.
    pub(super) code: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub(super) struct GrpcMethodLabel {
    /// Or `unknown`.
    pub(super) method: &'static str,
}

/// Metrics of the Atomix API.
#[derive(Debug)]
pub(crate) struct GrpcMetrics {
    pub(super) requests: Family<GrpcCallLabels, Counter>,
    /// Of unary calls.
    pub(super) duration: Histograms<GrpcMethodLabel>,
    pub(super) in_flight: Family<GrpcMethodLabel, Gauge>,
    pub(super) calls_refused: Counter,
    pub(super) connections: Gauge,
    pub(super) connections_refused: Counter,
    pub(super) tls_handshake_failures: Family<ReasonLabel, Counter>,
}

impl Subsystem for GrpcMetrics {
    fn register(registrar: &mut Registrar<'_>) -> Self {
        Self {
            requests: registrar.metric("grpc_requests", "Calls of the gRPC server that have ended"),
            duration: registrar.durations(
                "grpc_duration",
                "Time from the headers of a unary call to the end of its answer",
                request_buckets,
            ),
            in_flight: registrar
                .metric("grpc_in_flight", "Calls of the gRPC server that have not ended, streams among them"),
            calls_refused: registrar.metric(
                "grpc_calls_refused",
                "Calls of the gRPC server that were refused because there were too many at a time",
            ),
            connections: registrar.metric("grpc_connections", "Open connections to the gRPC server"),
            connections_refused: registrar.metric(
                "grpc_connections_refused",
                "Connections to the gRPC server that were closed because there were too many",
            ),
            tls_handshake_failures: registrar
                .metric("grpc_tls_handshake_failures", "Failed TLS handshakes of the gRPC server"),
        }
    }
}
