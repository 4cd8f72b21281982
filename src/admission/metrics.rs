//! Metrics of the webhooks.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use crate::runtime::metrics::{Histograms, ReasonLabel, Registrar, Subsystem, request_buckets};

/// Labels of an answered admission request.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub(super) struct AdmissionLabels {
    /// `mutate`, `validate` or `restricted`.
    pub(super) webhook: &'static str,
    /// `PartitionSet`, `Partition`, `Scale` or `other`.
    pub(super) kind: &'static str,
    /// `CREATE`, `UPDATE`, `DELETE`, `CONNECT` or `other`.
    pub(super) operation: &'static str,
    /// `allowed`, `patched`, `denied`, `throttled` or `error`.
    pub(super) outcome: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub(super) struct WebhookLabel {
    /// `mutate`, `validate` or `restricted`.
    pub(super) webhook: &'static str,
}

#[derive(Debug)]
pub(crate) struct AdmissionMetrics {
    pub(super) requests: Family<AdmissionLabels, Counter>,
    pub(super) duration: Histograms<WebhookLabel>,
    pub(super) rejected: Family<ReasonLabel, Counter>,
    pub(super) in_flight: Gauge,
    pub(super) panics: Counter,
    pub(super) connections: Gauge,
    pub(super) tls_handshake_failures: Family<ReasonLabel, Counter>,
}

impl Subsystem for AdmissionMetrics {
    fn register(registrar: &mut Registrar<'_>) -> Self {
        let requests: Family<AdmissionLabels, Counter> =
            registrar.metric("admission_requests", "Answered admission reviews");
        let rejected: Family<ReasonLabel, Counter> = registrar
            .metric("admission_rejected", "Requests to the webhooks refused by HTTP status, before any review");
        // The series begin at zero, so that the first failure is an increase.
        for webhook in ["mutate", "validate", "restricted"] {
            for outcome in ["throttled", "error"] {
                let labels = AdmissionLabels { webhook, kind: "other", operation: "other", outcome };
                drop(requests.get_or_create(&labels));
            }
        }
        for reason in ["overload", "timeout", "render"] {
            drop(rejected.get_or_create(&ReasonLabel { reason }));
        }
        Self {
            requests,
            duration: registrar.durations(
                "admission_duration",
                "Time from the whole request read to the answer made",
                request_buckets,
            ),
            rejected,
            in_flight: registrar.metric("admission_in_flight", "Requests to the webhooks whose answer is not made yet"),
            panics: registrar.metric("admission_panics", "Panics while a review was answered"),
            connections: registrar.metric("webhook_connections", "Open connections to the webhook server"),
            tls_handshake_failures: registrar.metric("tls_handshake_failures", "Failed TLS handshakes"),
        }
    }
}

/// Adds one to a gauge until it is dropped.
#[derive(Debug)]
pub(super) struct Counted(Gauge);

impl Counted {
    pub(super) fn new(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}
