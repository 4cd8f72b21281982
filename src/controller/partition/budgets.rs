//! The disruption budgets of a pod: with more than one, the API server evicts it never.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::api::ListParams;
use kube::core::{Selector, SelectorExt};
use kube::{Api, ResourceExt};

use crate::controller::context::Context;
use crate::controller::writer::answer;

/// Names of the budgets that select a pod, in their order; none if they cannot be read.
pub(super) async fn of_pod(context: &Context, namespace: &str, pod: &str) -> Vec<String> {
    answer("which disruption budgets a pod has", read(context, namespace, pod)).await.unwrap_or_default()
}

async fn read(context: &Context, namespace: &str, pod: &str) -> kube::Result<Vec<String>> {
    let pods: Api<Pod> = Api::namespaced(context.client.clone(), namespace);
    let budgets: Api<PodDisruptionBudget> = Api::namespaced(context.client.clone(), namespace);
    // A pod cannot be read by its name with the rights that there are, but found.
    let this_pod = ListParams::default().fields(&format!("metadata.name={pod}"));
    let pods = pods.list_metadata(&this_pod).await?;
    let labels = pods.items.into_iter().next().and_then(|pod| pod.metadata.labels).unwrap_or_default();
    let budgets = budgets.list(&ListParams::default()).await?;
    let selecting = budgets.items.iter().filter(|budget| selects(budget, &labels));
    let mut names: Vec<String> = selecting.map(ResourceExt::name_any).collect();
    names.sort();
    Ok(names)
}

/// An empty selector selects all pods, one that is missing or malformed none: `policy/v1`.
fn selects(budget: &PodDisruptionBudget, labels: &BTreeMap<String, String>) -> bool {
    let selector = budget.spec.as_ref().and_then(|spec| spec.selector.clone());
    selector.and_then(|selector| Selector::try_from(selector).ok()).is_some_and(|selector| selector.matches(labels))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_budget_selects_as_the_api_server_says() {
        let labels = BTreeMap::from([("app".to_owned(), "atomix".to_owned())]);
        let selects = |spec: Value| {
            let budget = json!({"metadata": {"name": "b"}, "spec": spec});
            selects(&serde_json::from_value(budget).unwrap(), &labels)
        };
        assert!(selects(json!({"selector": {}})));
        assert!(selects(json!({"selector": {"matchLabels": {"app": "atomix"}}})));
        assert!(selects(json!({"selector": {"matchExpressions": [{"key": "tier", "operator": "DoesNotExist"}]}})));
        assert!(!selects(json!({"selector": {"matchLabels": {"app": "other"}}})));
        assert!(!selects(json!({"selector": {"matchExpressions": [{"key": "app", "operator": "Near"}]}})));
        assert!(!selects(json!({})));
    }
}
