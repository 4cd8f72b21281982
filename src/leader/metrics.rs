//! Metrics of the leader election among replicas.

use prometheus_client::metrics::gauge::Gauge;

use crate::runtime::metrics::{Registrar, Subsystem};

#[derive(Debug)]
pub(crate) struct LeaderMetrics {
    pub(super) leader: Gauge,
}

impl Subsystem for LeaderMetrics {
    fn register(registrar: &mut Registrar<'_>) -> Self {
        Self { leader: registrar.metric("leader", "1 while this replica reconciles") }
    }
}
