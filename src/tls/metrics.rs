//! Metrics of the certificates.

use std::time::SystemTime;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use crate::runtime::metrics::{Registrar, Subsystem};

/// One label that says which certificate.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub(super) struct RoleLabel {
    /// `ca`, `leaf` or `webhook_client_ca` of the webhooks, `grpc` or `grpc_client_ca`.
    pub(super) role: &'static str,
}

/// Labels of certificates that others made and that were found new.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub(super) struct CertificateLoadLabels {
    /// `leaf` or `webhook_client_ca` of the webhooks, `grpc` or `grpc_client_ca`.
    pub(super) role: &'static str,
    /// `used`, `waiting` until API servers trust it, or `refused`.
    pub(super) outcome: &'static str,
}

/// One label that says which webhook configuration.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub(super) struct ConfigurationLabel {
    /// `mutating` or `validating`.
    pub(super) configuration: &'static str,
}

/// Labels of a CA bundle that was put right.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub(super) struct RepairLabels {
    /// `mutating` or `validating`.
    pub(super) configuration: &'static str,
    /// Who had changed it: one of a few well-known programs, `replica`, `other`, or `unknown` if that left no trace.
    pub(super) manager: &'static str,
}

/// One label that says how far the rotation of the CA is.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub(super) struct PhaseLabel {
    /// `stable`, `published` or `promoted`.
    pub(super) phase: &'static str,
}

/// One label that says what was written to the CA's Secret.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub(super) struct ChangeLabel {
    /// `published`, `promoted` and `retired` are the steps of a rotation, `revoked`, `new`, `written_back` and `salvaged`
    /// what happens out of turn, `failed` what could not be written.
    pub(super) change: &'static str,
}

/// Metrics of the certificates of the webhooks and of the Atomix API.
#[derive(Debug)]
pub struct TlsMetrics {
    pub(super) certificate_not_after: Family<RoleLabel, Gauge>,
    pub(super) certificate_loads: Family<CertificateLoadLabels, Counter>,
    pub(super) ca_phase: Family<PhaseLabel, Gauge>,
    pub(super) ca_changes: Family<ChangeLabel, Counter>,
    pub(super) ca_secret_missing: Gauge,
    pub(super) bundle_in_sync: Family<ConfigurationLabel, Gauge>,
    pub(super) bundle_repairs: Family<RepairLabels, Counter>,
}

impl TlsMetrics {
    /// Records when the certificate in use expires; as seconds since 1970, for the log.
    pub(super) fn set_not_after(&self, role: &'static str, not_after: SystemTime) -> i64 {
        let seconds = not_after.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
        self.certificate_not_after.get_or_create_owned(&RoleLabel { role }).set(seconds);
        seconds
    }

    pub(super) fn count_load(&self, role: &'static str, outcome: &'static str) {
        self.certificate_loads.get_or_create(&CertificateLoadLabels { role, outcome }).inc();
    }

    pub(super) fn set_in_sync(&self, configuration: &'static str, is_in_sync: bool) {
        self.bundle_in_sync.get_or_create_owned(&ConfigurationLabel { configuration }).set(i64::from(is_in_sync));
    }

    pub(super) fn add_changes(&self, change: &'static str, count: u64) {
        self.ca_changes.get_or_create(&ChangeLabel { change }).inc_by(count);
    }
}

impl Subsystem for TlsMetrics {
    fn register(registrar: &mut Registrar<'_>) -> Self {
        Self {
            certificate_not_after: registrar
                .timestamp("certificate_not_after_timestamp", "When the certificate in use expires"),
            certificate_loads: registrar.metric(
                "certificate_loads",
                "Certificates from a Secret or files that were found new, and whether they are used",
            ),
            ca_phase: registrar.metric("ca_phase", "1 for the phase that the rotation of the CA is in"),
            ca_changes: registrar.metric("ca_changes", "Writes of a CA to its Secret"),
            ca_secret_missing: registrar.metric("ca_secret_missing", "1 while the Secret that holds the CA is missing"),
            bundle_in_sync: registrar
                .metric("webhook_bundle_in_sync", "1 while the webhook configuration trusts the CA in use"),
            bundle_repairs: registrar
                .metric("webhook_bundle_repairs", "CA bundles put right after another client changed them"),
        }
    }
}
