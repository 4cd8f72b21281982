//! Counters, gauges and histograms of the process, in the `OpenMetrics` text format.
//!
//! Every label takes its values from a fixed list, so that nothing that a user or a stranger sends can add a series.

use std::fmt;
use std::panic;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

/// Media type of [`Metrics::render`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Labels of an answered admission request.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub struct AdmissionLabels {
    /// `mutate` or `validate`.
    pub webhook: &'static str,
    /// `PartitionSet`, `Partition`, `Scale` or `other`.
    pub kind: &'static str,
    /// `CREATE`, `UPDATE`, `DELETE`, `CONNECT` or `other`.
    pub operation: &'static str,
    /// `allowed`, `patched`, `denied`, `throttled` or `error`.
    pub outcome: &'static str,
}

/// One label that says which webhook.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub struct WebhookLabel {
    /// `mutate` or `validate`.
    pub webhook: &'static str,
}

/// One label that says why something failed.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub struct ReasonLabel {
    /// One of a few words that the code names.
    pub reason: &'static str,
}

/// One label that says which certificate.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub struct RoleLabel {
    /// `ca`, `leaf` or `webhook_client_ca` of the webhooks, `grpc` or `grpc_client_ca`.
    pub role: &'static str,
}

/// Labels of certificates that others made and that were found new.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub struct CertificateLoadLabels {
    /// `leaf` or `webhook_client_ca` of the webhooks, `grpc` or `grpc_client_ca`.
    pub role: &'static str,
    /// `used`, `waiting` until API servers trust it, or `refused`.
    pub outcome: &'static str,
}

/// One label that says which webhook configuration.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub struct ConfigurationLabel {
    /// `mutating` or `validating`.
    pub configuration: &'static str,
}

/// Labels of a CA bundle that was put right.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub struct RepairLabels {
    /// `mutating` or `validating`.
    pub configuration: &'static str,
    /// Who had changed it: one of a few well-known programs, `replica`, `other`, or `unknown` if that left no trace.
    pub manager: &'static str,
}

/// One label that says how far the rotation of the CA is.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub struct PhaseLabel {
    /// `stable`, `published` or `promoted`.
    pub phase: &'static str,
}

/// One label that says what was written to the CA's Secret.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub struct ChangeLabel {
    /// `published`, `promoted` and `retired` are the steps of a rotation, `revoked`, `new`, `written_back` and `salvaged`
    /// what happens out of turn, `failed` what could not be written.
    pub change: &'static str,
}

/// Labels of a finished reconciliation.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub struct ReconcileLabels {
    /// `partition_set` or `partition`.
    pub controller: &'static str,
    /// `ok` or `error`.
    pub outcome: &'static str,
}

/// One label that says what came of something.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub struct ResultLabel {
    /// One of a few words that the code names.
    pub result: &'static str,
}

/// One label that says which controller.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub struct ControllerLabel {
    /// `partition_set` or `partition`.
    pub controller: &'static str,
}

/// Labels of a write to the API server.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub struct WriteLabels {
    /// Kind of the object, one that the code names.
    pub kind: &'static str,
    /// `create`, `update`, `patch`, `delete`, ...
    pub verb: &'static str,
}

/// One label that says which task.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub struct TaskLabel {
    /// Name of a task, one that the code names.
    pub task: &'static str,
}

/// Labels of a call of the gRPC server that has ended.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub struct GrpcCallLabels {
    /// Name of the method, or `unknown`.
    pub method: &'static str,
    /// gRPC's code such as `OK`, or `none` for what was no call of gRPC's.
    pub code: &'static str,
}

/// One label that says which method of the gRPC server.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub struct GrpcMethodLabel {
    /// Name of the method, or `unknown`.
    pub method: &'static str,
}

type Histograms<L> = Family<L, Histogram, fn() -> Histogram>;

/// All metrics of the process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// Answered admission reviews.
    pub admission_requests: Family<AdmissionLabels, Counter>,
    /// Seconds from the whole body read to the answer made.
    pub admission_duration: Histograms<WebhookLabel>,
    /// Requests to the webhooks that were refused by HTTP status, before any review.
    pub admission_rejected: Family<ReasonLabel, Counter>,
    /// Requests to the webhooks whose answer is not made yet.
    pub admission_in_flight: Gauge,
    /// Panics while a review was answered.
    pub admission_panics: Counter,
    /// Connections to the webhook server that are open.
    pub webhook_connections: Gauge,
    /// TLS handshakes that failed.
    pub tls_handshake_failures: Family<ReasonLabel, Counter>,
    /// When the certificate in use expires, in seconds since 1970.
    pub certificate_not_after: Family<RoleLabel, Gauge>,
    /// Certificates that others made, each time that they are found new.
    pub certificate_loads: Family<CertificateLoadLabels, Counter>,
    /// 1 for the phase that the rotation of the CA is in.
    pub ca_phase: Family<PhaseLabel, Gauge>,
    /// Writes of a CA to the Secret.
    pub ca_changes: Family<ChangeLabel, Counter>,
    /// 1 while the Secret that holds the CA is missing.
    pub ca_secret_missing: Gauge,
    /// 1 while a webhook configuration trusts what it should and nothing else.
    pub bundle_in_sync: Family<ConfigurationLabel, Gauge>,
    /// How often a CA bundle that somebody else had changed was put right.
    pub bundle_repairs: Family<RepairLabels, Counter>,
    /// 1 while this replica holds the Lease and reconciles.
    pub leader: Gauge,
    /// Replicas that have announced themselves and live, this one included.
    pub replicas: Gauge,
    /// Candidates of elections whose streams this replica has.
    pub election_candidates: Gauge,
    /// Writes of the record of an election.
    pub election_writes: Family<ResultLabel, Counter>,
    /// Finished reconciliations.
    pub reconciles: Family<ReconcileLabels, Counter>,
    /// Seconds that a reconciliation took.
    pub reconcile_duration: Histograms<ControllerLabel>,
    /// Writes to the API server.
    pub api_writes: Family<WriteLabels, Counter>,
    /// Calls of the gRPC server that have ended.
    pub grpc_requests: Family<GrpcCallLabels, Counter>,
    /// Seconds from the head of a call that has one answer to that answer handed over.
    pub grpc_duration: Histograms<GrpcMethodLabel>,
    /// Calls of the gRPC server that have not ended: streams, for the most part.
    pub grpc_in_flight: Family<GrpcMethodLabel, Gauge>,
    /// Connections to the gRPC server that are open.
    pub grpc_connections: Gauge,
    /// TLS handshakes of the gRPC server that failed.
    pub grpc_tls_handshake_failures: Family<ReasonLabel, Counter>,
    /// Panics anywhere in the process.
    pub panics: Counter,
    /// Tasks that have panicked, or ended before they were told to.
    pub task_failures: Family<TaskLabel, Counter>,
    /// When the process began, in seconds since 1970.
    pub process_start: Gauge,
}

impl Metrics {
    /// New metrics, all zero.
    #[must_use]
    pub fn new() -> Arc<Self> {
        // 50 µs to 1.6 s: a decision takes microseconds, a stalled machine up to the API server's deadline.
        let admission_duration: Histograms<WebhookLabel> =
            Family::new_with_constructor(|| Histogram::new(exponential_buckets(0.000_05, 2.0, 16)));
        // 1 ms to 33 s: a reconciliation is some API calls.
        let reconcile_duration: Histograms<ControllerLabel> =
            Family::new_with_constructor(|| Histogram::new(exponential_buckets(0.001, 2.0, 16)));
        // 50 µs to 1.6 s as well: reads are answered from memory, writes by the API server.
        let grpc_duration: Histograms<GrpcMethodLabel> =
            Family::new_with_constructor(|| Histogram::new(exponential_buckets(0.000_05, 2.0, 16)));
        let mut metrics = Self {
            registry: Registry::default(),
            admission_requests: Family::default(),
            admission_duration,
            admission_rejected: Family::default(),
            admission_in_flight: Gauge::default(),
            admission_panics: Counter::default(),
            webhook_connections: Gauge::default(),
            tls_handshake_failures: Family::default(),
            certificate_not_after: Family::default(),
            certificate_loads: Family::default(),
            ca_phase: Family::default(),
            ca_changes: Family::default(),
            ca_secret_missing: Gauge::default(),
            bundle_in_sync: Family::default(),
            bundle_repairs: Family::default(),
            leader: Gauge::default(),
            replicas: Gauge::default(),
            election_candidates: Gauge::default(),
            election_writes: Family::default(),
            reconciles: Family::default(),
            reconcile_duration,
            api_writes: Family::default(),
            grpc_requests: Family::default(),
            grpc_duration,
            grpc_in_flight: Family::default(),
            grpc_connections: Gauge::default(),
            grpc_tls_handshake_failures: Family::default(),
            panics: Counter::default(),
            task_failures: Family::default(),
            process_start: Gauge::default(),
        };
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        metrics.process_start.set(i64::try_from(now).unwrap_or(i64::MAX));
        metrics.register();
        Arc::new(metrics)
    }

    fn register(&mut self) {
        let registry = self.registry.sub_registry_with_prefix("atomix");
        registry.register("admission_requests", "Answered admission reviews", self.admission_requests.clone());
        registry.register_with_unit(
            "admission_duration",
            "Time from the whole request read to the answer made",
            Unit::Seconds,
            self.admission_duration.clone(),
        );
        registry.register(
            "admission_rejected",
            "Requests to the webhooks refused by HTTP status, before any review",
            self.admission_rejected.clone(),
        );
        registry.register(
            "admission_in_flight",
            "Requests to the webhooks whose answer is not made yet",
            self.admission_in_flight.clone(),
        );
        registry.register("admission_panics", "Panics while a review was answered", self.admission_panics.clone());
        registry.register(
            "webhook_connections",
            "Open connections to the webhook server",
            self.webhook_connections.clone(),
        );
        registry.register("tls_handshake_failures", "Failed TLS handshakes", self.tls_handshake_failures.clone());
        registry.register_with_unit(
            "certificate_not_after_timestamp",
            "When the certificate in use expires",
            Unit::Seconds,
            self.certificate_not_after.clone(),
        );
        registry.register(
            "certificate_loads",
            "Certificates from a Secret or files that were found new, and whether they are used",
            self.certificate_loads.clone(),
        );
        registry.register("ca_phase", "1 for the phase that the rotation of the CA is in", self.ca_phase.clone());
        registry.register("ca_changes", "Writes of a CA to its Secret", self.ca_changes.clone());
        registry.register(
            "ca_secret_missing",
            "1 while the Secret that holds the CA is missing",
            self.ca_secret_missing.clone(),
        );
        registry.register(
            "webhook_bundle_in_sync",
            "1 while the webhook configuration trusts the CA in use",
            self.bundle_in_sync.clone(),
        );
        registry.register(
            "webhook_bundle_repairs",
            "CA bundles put right after somebody else changed them",
            self.bundle_repairs.clone(),
        );
        registry.register("leader", "1 while this replica reconciles", self.leader.clone());
        registry.register("replicas", "Replicas that live, this one included", self.replicas.clone());
        registry.register(
            "election_candidates",
            "Candidates of elections whose streams this replica has",
            self.election_candidates.clone(),
        );
        registry.register("election_writes", "Writes of the record of an election", self.election_writes.clone());
        registry.register("reconciles", "Finished reconciliations", self.reconciles.clone());
        registry.register_with_unit(
            "reconcile_duration",
            "Time that a reconciliation took",
            Unit::Seconds,
            self.reconcile_duration.clone(),
        );
        registry.register("api_writes", "Writes to the API server", self.api_writes.clone());
        registry.register("grpc_requests", "Calls of the gRPC server that have ended", self.grpc_requests.clone());
        registry.register_with_unit(
            "grpc_duration",
            "Time from the head of a call to its one answer handed over",
            Unit::Seconds,
            self.grpc_duration.clone(),
        );
        registry.register(
            "grpc_in_flight",
            "Calls of the gRPC server that have not ended, streams among them",
            self.grpc_in_flight.clone(),
        );
        registry.register("grpc_connections", "Open connections to the gRPC server", self.grpc_connections.clone());
        registry.register(
            "grpc_tls_handshake_failures",
            "Failed TLS handshakes of the gRPC server",
            self.grpc_tls_handshake_failures.clone(),
        );
        registry.register("panics", "Panics anywhere in the process", self.panics.clone());
        registry.register(
            "task_failures",
            "Background tasks that have panicked or ended early, which ends the process",
            self.task_failures.clone(),
        );
        registry.register_with_unit(
            "process_start_time",
            "When the process began",
            Unit::Seconds,
            self.process_start.clone(),
        );
    }

    /// Counts a finished reconciliation of `controller`, `partition_set` or `partition`.
    pub fn reconciled(&self, controller: &'static str, ok: bool, took: Duration) {
        let outcome = if ok { "ok" } else { "error" };
        self.reconciles.get_or_create(&ReconcileLabels { controller, outcome }).inc();
        self.reconcile_duration.get_or_create(&ControllerLabel { controller }).observe(took.as_secs_f64());
    }

    /// Counts a write to the API server.
    pub fn api_write(&self, kind: &'static str, verb: &'static str) {
        self.api_writes.get_or_create(&WriteLabels { kind, verb }).inc();
    }

    /// Counts a write of the record of an election: `written`, `conflict` or `error`.
    pub fn election_written(&self, result: &'static str) {
        self.election_writes.get_or_create(&ResultLabel { result }).inc();
    }

    /// Everything in the `OpenMetrics` text format.
    ///
    /// # Errors
    /// Only if a metric cannot be written as text.
    pub fn render(&self) -> Result<String, fmt::Error> {
        let mut buffer = String::new();
        text::encode(&mut buffer, &self.registry)?;
        Ok(buffer)
    }

    /// Counts every panic of the process from now on, before the hook that is installed already reports it.
    pub fn count_panics(&self) {
        let panics = self.panics.clone();
        let report = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            panics.inc();
            report(info);
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_family_appears_under_its_name() {
        let metrics = Metrics::new();
        metrics.reconciled("partition_set", true, Duration::from_millis(3));
        metrics.reconciled("partition_set", false, Duration::from_millis(3));
        metrics.api_write("Service", "create");
        metrics.certificate_not_after.get_or_create(&RoleLabel { role: "leaf" }).set(1);
        metrics.panics.inc();
        let text = metrics.render().unwrap();
        for line in [
            r#"atomix_reconciles_total{controller="partition_set",outcome="ok"} 1"#,
            r#"atomix_reconciles_total{controller="partition_set",outcome="error"} 1"#,
            r#"atomix_reconcile_duration_seconds_count{controller="partition_set"} 2"#,
            r#"atomix_api_writes_total{kind="Service",verb="create"} 1"#,
            r#"atomix_certificate_not_after_timestamp_seconds{role="leaf"} 1"#,
            "atomix_panics_total 1",
            "# EOF",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
    }
}
