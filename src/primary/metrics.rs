//! Metrics of the elections of primaries.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use crate::runtime::metrics::{Registrar, Subsystem};

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct ResultLabel {
    /// `written`, `conflict` or `error`.
    result: &'static str,
}

#[derive(Debug)]
pub(crate) struct PrimaryMetrics {
    pub(super) candidates: Gauge,
    writes: Family<ResultLabel, Counter>,
}

impl Subsystem for PrimaryMetrics {
    fn register(registrar: &mut Registrar<'_>) -> Self {
        let writes: Family<ResultLabel, Counter> =
            registrar.metric("election_writes", "Writes of the record of an election");
        // The series begin at zero, so that the first error is an increase.
        for result in ["written", "conflict", "error"] {
            drop(writes.get_or_create(&ResultLabel { result }));
        }
        Self {
            candidates: registrar
                .metric("election_candidates", "Candidates of elections whose streams this replica has"),
            writes,
        }
    }
}

impl PrimaryMetrics {
    /// Counts a write of the record of an election: `written`, `conflict` or `error`.
    pub(super) fn written(&self, result: &'static str) {
        self.writes.get_or_create(&ResultLabel { result }).inc();
    }
}
