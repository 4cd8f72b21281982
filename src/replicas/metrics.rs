//! Metrics of the liveness of replicas.

use prometheus_client::metrics::gauge::Gauge;

use crate::runtime::metrics::{Registrar, Subsystem};

#[derive(Debug)]
pub(crate) struct ReplicasMetrics {
    pub(super) live: Gauge,
}

impl Subsystem for ReplicasMetrics {
    fn register(registrar: &mut Registrar<'_>) -> Self {
        Self { live: registrar.metric("replicas", "Replicas that live, this one included") }
    }
}
