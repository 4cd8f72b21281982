//! The PodDisruptionBudget of a partition: how many of its pods may be evicted at once.

use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::context::BuildContext;
use crate::api::names;

impl BuildContext<'_> {
    pub(super) fn disruption_budget(&self) -> Option<PodDisruptionBudget> {
        if self.size <= 1 {
            return None;
        }
        let unavailable = i32::try_from(self.protocol.tolerated_failures(self.size)).unwrap_or(1).max(1);
        Some(PodDisruptionBudget {
            metadata: self.metadata(names::disruption_budget(&self.identity.name)),
            spec: Some(PodDisruptionBudgetSpec {
                max_unavailable: Some(IntOrString::Int(unavailable)),
                selector: Some(LabelSelector { match_labels: Some(self.selector.clone()), ..LabelSelector::default() }),
                unhealthy_pod_eviction_policy: Some("AlwaysAllow".to_owned()),
                ..PodDisruptionBudgetSpec::default()
            }),
            status: None,
        })
    }
}
