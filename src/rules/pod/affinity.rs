//! Affinity to nodes and to pods.

use k8s_openapi::api::core::v1::{Affinity, NodeAffinity, PodAffinityTerm};

use super::selectors::{self, Expressions};
use crate::rules::report::Report;
use crate::rules::syntax;

pub(super) const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
pub(super) const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";

pub(super) fn check(affinity: &Affinity, report: &mut Report<'_>) {
    if let Some(nodes) = &affinity.node_affinity {
        of_nodes(nodes, &mut report.field("nodeAffinity"));
    }
    for (path, weight, term) in pod_terms(affinity) {
        let mut report = report.field(path);
        match weight {
            Some(weight) => {
                check_weight(weight, &mut report);
                of_pods(term, &mut report.field("podAffinityTerm"));
            }
            None => of_pods(term, &mut report),
        }
    }
}

/// Every term of affinity to pods and of anti-affinity, with its path, and with its weight if it is only preferred.
pub(super) fn pod_terms(affinity: &Affinity) -> impl Iterator<Item = (String, Option<i32>, &PodAffinityTerm)> {
    let to = affinity.pod_affinity.iter().map(|to| {
        let preferred = &to.preferred_during_scheduling_ignored_during_execution;
        ("podAffinity", &to.required_during_scheduling_ignored_during_execution, preferred)
    });
    let from = affinity.pod_anti_affinity.iter().map(|from| {
        let preferred = &from.preferred_during_scheduling_ignored_during_execution;
        ("podAntiAffinity", &from.required_during_scheduling_ignored_during_execution, preferred)
    });
    to.chain(from).flat_map(|(kind, required, preferred)| {
        let required = required.iter().flatten().enumerate();
        let required = required.map(move |(index, term)| (format!("{kind}.{REQUIRED}[{index}]"), None, term));
        let preferred = preferred.iter().flatten().enumerate().map(move |(index, term)| {
            (format!("{kind}.{PREFERRED}[{index}]"), Some(term.weight), &term.pod_affinity_term)
        });
        required.chain(preferred)
    })
}

fn of_nodes(affinity: &NodeAffinity, report: &mut Report<'_>) {
    if let Some(required) = &affinity.required_during_scheduling_ignored_during_execution {
        let mut report = report.field(format_args!("{REQUIRED}.nodeSelectorTerms"));
        if required.node_selector_terms.is_empty() {
            report.required("must have at least one node selector term");
        }
        for (index, term) in required.node_selector_terms.iter().enumerate() {
            selectors::nodes(term, Expressions::RequiredNodes, &mut report.item(index));
        }
    }
    let preferred = affinity.preferred_during_scheduling_ignored_during_execution.iter().flatten();
    for (index, term) in preferred.enumerate() {
        let mut report = report.field(format_args!("{PREFERRED}[{index}]"));
        check_weight(term.weight, &mut report);
        selectors::nodes(&term.preference, Expressions::PreferredNodes, &mut report.field("preference"));
    }
}

fn check_weight(weight: i32, report: &mut Report<'_>) {
    if !(1..=100).contains(&weight) {
        report.field("weight").invalid(&weight, "must be in the range 1-100");
    }
}

fn of_pods(term: &PodAffinityTerm, report: &mut Report<'_>) {
    let selector = term.label_selector.as_ref();
    selectors::labels(selector, &mut report.field("labelSelector"));
    selectors::labels(term.namespace_selector.as_ref(), &mut report.field("namespaceSelector"));
    for name in term.namespaces.iter().flatten() {
        report.field("namespace").each(name, syntax::dns_1123_label(name));
    }
    let matched = term.match_label_keys.as_deref().unwrap_or_default();
    let mismatched = term.mismatch_label_keys.as_deref().unwrap_or_default();
    selectors::label_keys(matched, selector, &mut report.field("matchLabelKeys"));
    selectors::label_keys(mismatched, selector, &mut report.field("mismatchLabelKeys"));
    selectors::matched_once(matched, mismatched, selector, &mut report.field("matchLabelKeys"));
    let mut report = report.field("topologyKey");
    if term.topology_key.is_empty() {
        report.required("can not be empty");
    } else {
        report.each(&term.topology_key, syntax::qualified_name(&term.topology_key));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::messages;

    fn of(affinity: &Value) -> Vec<String> {
        messages(json!({"protocol": "raft", "affinity": affinity}))
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
