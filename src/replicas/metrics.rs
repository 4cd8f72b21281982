//! Metrics of the presence of replicas.

use prometheus_client::metrics::gauge::Gauge;

use crate::runtime::metrics::{Registrar, Subsystem};

/// Metrics of the presence of replicas.
#[derive(Debug)]
pub struct ReplicasMetrics {
    pub(super) live: Gauge,
}

impl Subsystem for ReplicasMetrics {
    fn register(registrar: &mut Registrar<'_>) -> Self {
        Self { live: registrar.metric("replicas", "Replicas that live, this one included") }
    }
}
