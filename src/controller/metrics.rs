//! Metrics of the controllers.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;

use crate::runtime::metrics::{Histograms, Registrar, Subsystem, reconcile_buckets};

/// Labels of a finished reconciliation.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct ReconcileLabels {
    /// `partition_set` or `partition`.
    controller: &'static str,
    /// `ok` or `error`.
    outcome: &'static str,
}

/// One label that says which controller.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct ControllerLabel {
    /// `partition_set` or `partition`.
    controller: &'static str,
}

/// Labels of a write to the API server.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct WriteLabels {
    /// Kind of the object, one that the code names.
    kind: &'static str,
    /// `create`, `update`, `patch`, `delete`, ...
    verb: &'static str,
}

/// Metrics of the controllers.
#[derive(Debug)]
pub struct ControllerMetrics {
    reconciles: Family<ReconcileLabels, Counter>,
    duration: Histograms<ControllerLabel>,
    api_writes: Family<WriteLabels, Counter>,
}

impl Subsystem for ControllerMetrics {
    fn register(registrar: &mut Registrar<'_>) -> Self {
        let reconciles: Family<ReconcileLabels, Counter> = registrar.metric("reconciles", "Finished reconciliations");
        // The series begin at zero, so that the first error is an increase.
        for controller in ["partition_set", "partition"] {
            drop(reconciles.get_or_create(&ReconcileLabels { controller, outcome: "error" }));
        }
        Self {
            reconciles,
            duration: registrar.durations("reconcile_duration", "Time that a reconciliation took", reconcile_buckets),
            api_writes: registrar.metric("api_writes", "Writes to the API server"),
        }
    }
}

impl ControllerMetrics {
    /// Counts a finished reconciliation of `controller`, `partition_set` or `partition`.
    pub(super) fn reconciled(&self, controller: &'static str, ok: bool, took: Duration) {
        let outcome = if ok { "ok" } else { "error" };
        self.reconciles.get_or_create(&ReconcileLabels { controller, outcome }).inc();
        self.duration.get_or_create(&ControllerLabel { controller }).observe(took.as_secs_f64());
    }

    /// Counts a write to the API server.
    pub(super) fn api_write(&self, kind: &'static str, verb: &'static str) {
        self.api_writes.get_or_create(&WriteLabels { kind, verb }).inc();
    }
}
