//! Metrics of the Atomix API.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use crate::runtime::metrics::{Histograms, ReasonLabel, Registrar, Subsystem, request_buckets};

/// Labels of a call that has ended.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub(super) struct GrpcCallLabels {
    /// Name of the method, or `unknown`.
    pub(super) method: &'static str,
    /// gRPC's code such as `OK`, or `none` for a request that was no gRPC call.
    pub(super) code: &'static str,
}

/// One label that says which method.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub(super) struct GrpcMethodLabel {
    /// Name of the method, or `unknown`.
    pub(super) method: &'static str,
}

/// Metrics of the Atomix API.
#[derive(Debug)]
pub struct GrpcMetrics {
    pub(super) requests: Family<GrpcCallLabels, Counter>,
    /// Of calls that have one answer.
    pub(super) duration: Histograms<GrpcMethodLabel>,
    pub(super) in_flight: Family<GrpcMethodLabel, Gauge>,
    pub(super) connections: Gauge,
    pub(super) tls_handshake_failures: Family<ReasonLabel, Counter>,
}

impl Subsystem for GrpcMetrics {
    fn register(registrar: &mut Registrar<'_>) -> Self {
        Self {
            requests: registrar.metric("grpc_requests", "Calls of the gRPC server that have ended"),
            duration: registrar.durations(
                "grpc_duration",
                "Time from the head of a call to its one answer handed over",
                request_buckets,
            ),
            in_flight: registrar
                .metric("grpc_in_flight", "Calls of the gRPC server that have not ended, streams among them"),
            connections: registrar.metric("grpc_connections", "Open connections to the gRPC server"),
            tls_handshake_failures: registrar
                .metric("grpc_tls_handshake_failures", "Failed TLS handshakes of the gRPC server"),
        }
    }
}
