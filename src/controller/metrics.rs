//! Metrics of the controllers.

use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;

use crate::runtime::metrics::{Histograms, Registrar, Subsystem, reconcile_buckets};

/// A label and its value, one that the code names.
type Label = (&'static str, &'static str);

/// Metrics of the controllers.
#[derive(Debug)]
pub struct ControllerMetrics {
    /// By `controller`, and by `outcome`: `ok` or `error`.
    reconciles: Family<[Label; 2], Counter>,
    /// By `controller`.
    duration: Histograms<[Label; 1]>,
    /// By `kind` of the object and `verb`: `create`, `update`, `patch`, `delete`, ...
    api_writes: Family<[Label; 2], Counter>,
}

impl Subsystem for ControllerMetrics {
    fn register(registrar: &mut Registrar<'_>) -> Self {
        let reconciles: Family<[Label; 2], Counter> = registrar.metric("reconciles", "Finished reconciliations");
        // The series begin at zero, so that the first error is an increase.
        for controller in ["partition_set", "partition"] {
            drop(reconciles.get_or_create(&[("controller", controller), ("outcome", "error")]));
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
        self.reconciles.get_or_create(&[("controller", controller), ("outcome", outcome)]).inc();
        self.duration.get_or_create(&[("controller", controller)]).observe(took.as_secs_f64());
    }

    /// Counts a write to the API server.
    pub(super) fn api_write(&self, kind: &'static str, verb: &'static str) {
        self.api_writes.get_or_create(&[("kind", kind), ("verb", verb)]).inc();
    }
}
