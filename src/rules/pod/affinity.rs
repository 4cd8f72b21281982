//! Affinity to nodes and to pods.

use k8s_openapi::api::core::v1::{Affinity, NodeAffinity, PodAffinityTerm, WeightedPodAffinityTerm};

use super::{Report, selectors};
use crate::rules::syntax;
use crate::rules::violation::Violation;

pub(super) const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
pub(super) const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";

pub(super) fn check(affinity: &Affinity, path: &str, report: &mut Report<'_>) {
    if let Some(nodes) = &affinity.node_affinity {
        of_nodes(nodes, &format!("{path}.nodeAffinity"), report);
    }
    if let Some(pods) = &affinity.pod_affinity {
        let required = pods.required_during_scheduling_ignored_during_execution.as_deref();
        let preferred = pods.preferred_during_scheduling_ignored_during_execution.as_deref();
        of_pods(required, preferred, &format!("{path}.podAffinity"), report);
    }
    if let Some(pods) = &affinity.pod_anti_affinity {
        let required = pods.required_during_scheduling_ignored_during_execution.as_deref();
        let preferred = pods.preferred_during_scheduling_ignored_during_execution.as_deref();
        of_pods(required, preferred, &format!("{path}.podAntiAffinity"), report);
    }
}

fn of_nodes(affinity: &NodeAffinity, path: &str, report: &mut Report<'_>) {
    if let Some(required) = &affinity.required_during_scheduling_ignored_during_execution {
        let path = format!("{path}.{REQUIRED}.nodeSelectorTerms");
        if required.node_selector_terms.is_empty() {
            report.add(Violation::required(&path, "must have at least one node selector term"));
        }
        for (index, term) in required.node_selector_terms.iter().enumerate() {
            selectors::nodes(term, false, &format!("{path}[{index}]"), report);
        }
    }
    let preferred = affinity.preferred_during_scheduling_ignored_during_execution.iter().flatten();
    for (index, term) in preferred.enumerate() {
        let path = format!("{path}.{PREFERRED}[{index}]");
        weight(term.weight, &path, report);
        selectors::nodes(&term.preference, true, &format!("{path}.preference"), report);
    }
}

fn of_pods(
    required: Option<&[PodAffinityTerm]>,
    preferred: Option<&[WeightedPodAffinityTerm]>,
    path: &str,
    report: &mut Report<'_>,
) {
    for (index, required) in required.unwrap_or_default().iter().enumerate() {
        term(required, &format!("{path}.{REQUIRED}[{index}]"), report);
    }
    for (index, preferred) in preferred.unwrap_or_default().iter().enumerate() {
        let path = format!("{path}.{PREFERRED}[{index}]");
        weight(preferred.weight, &path, report);
        term(&preferred.pod_affinity_term, &format!("{path}.podAffinityTerm"), report);
    }
}

fn weight(weight: i32, path: &str, report: &mut Report<'_>) {
    if !(1..=100).contains(&weight) {
        report.add(Violation::invalid(format!("{path}.weight"), &weight, "must be in the range 1-100"));
    }
}

fn term(term: &PodAffinityTerm, path: &str, report: &mut Report<'_>) {
    let selector = term.label_selector.as_ref();
    selectors::labels(selector, &format!("{path}.labelSelector"), report);
    selectors::labels(term.namespace_selector.as_ref(), &format!("{path}.namespaceSelector"), report);
    for name in term.namespaces.iter().flatten() {
        report.each(&format!("{path}.namespace"), name, syntax::dns_1123_label(name));
    }
    let wanted = term.match_label_keys.as_deref().unwrap_or_default();
    let unwanted = term.mismatch_label_keys.as_deref().unwrap_or_default();
    selectors::label_keys(wanted, selector, &format!("{path}.matchLabelKeys"), report);
    selectors::label_keys(unwanted, selector, &format!("{path}.mismatchLabelKeys"), report);
    selectors::wanted_once(wanted, unwanted, selector, &format!("{path}.matchLabelKeys"), report);
    let (key, field) = (term.topology_key.as_str(), format!("{path}.topologyKey"));
    if key.is_empty() {
        report.add(Violation::required(field, "can not be empty"));
    } else {
        report.each(&field, key, syntax::qualified_name(key));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::judged;

    fn of(affinity: &Value) -> Vec<String> {
        judged(json!({"protocol": "raft", "affinity": affinity}))
    }

    #[test]
    fn terms_are_judged_by_weight_operator_and_key() {
        let nodes = |requirement: Value| {
            json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution":
                {"nodeSelectorTerms": [{"matchExpressions": [requirement]}]}}})
        };
        assert!(of(&nodes(json!({"key": "zone", "operator": "In", "values": ["a"]}))).is_empty());
        for (requirement, words) in [
            (json!({"key": "zone", "operator": "In"}), "values: Required value: must be specified when"),
            (json!({"key": "zone", "operator": "Near"}), "operator: Invalid value: \"Near\": not a valid selector"),
            (json!({"key": "zone", "operator": "Exists", "values": ["a"]}), "values: Forbidden: may not be specified"),
            (
                json!({"key": "zone", "operator": "Gt", "values": ["1", "2"]}),
                "values: Required value: must be specified single",
            ),
            (json!({"key": "a b", "operator": "Exists"}), "key: Invalid value: \"a b\": name part"),
        ] {
            let found = of(&nodes(requirement));
            assert!(found.len() == 1 && found[0].contains(words), "{found:?}");
        }
        let pods = json!({"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
            {"weight": 101, "podAffinityTerm": {"topologyKey": "", "matchLabelKeys": ["a"]}}]}});
        let path = "t.affinity.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution[0]";
        assert_eq!(
            of(&pods),
            [
                format!("{path}.weight: Invalid value: 101: must be in the range 1-100"),
                format!(
                    "{path}.podAffinityTerm.matchLabelKeys: Forbidden: must not be specified when labelSelector is not set"
                ),
                format!("{path}.podAffinityTerm.topologyKey: Required value: can not be empty"),
            ]
        );
    }
}
