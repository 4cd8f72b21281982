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
    for_each_pod_term(affinity, path, |path, term| of_pods(path, term, report));
}

/// A term of affinity to pods or from pods.
#[derive(Clone, Copy)]
pub(super) enum PodTerm<'a> {
    Required(&'a PodAffinityTerm),
    Preferred(&'a WeightedPodAffinityTerm),
}

/// Calls `found` for every term of affinity to pods, and then from pods, with its path.
pub(super) fn for_each_pod_term(affinity: &Affinity, path: &str, mut found: impl FnMut(&str, PodTerm<'_>)) {
    let to = affinity.pod_affinity.as_ref().map(|to| {
        let preferred = &to.preferred_during_scheduling_ignored_during_execution;
        ("podAffinity", &to.required_during_scheduling_ignored_during_execution, preferred)
    });
    let from = affinity.pod_anti_affinity.as_ref().map(|from| {
        let preferred = &from.preferred_during_scheduling_ignored_during_execution;
        ("podAntiAffinity", &from.required_during_scheduling_ignored_during_execution, preferred)
    });
    for (kind, required, preferred) in [to, from].into_iter().flatten() {
        for (index, term) in required.iter().flatten().enumerate() {
            found(&format!("{path}.{kind}.{REQUIRED}[{index}]"), PodTerm::Required(term));
        }
        for (index, term) in preferred.iter().flatten().enumerate() {
            found(&format!("{path}.{kind}.{PREFERRED}[{index}]"), PodTerm::Preferred(term));
        }
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

fn of_pods(path: &str, found: PodTerm<'_>, report: &mut Report<'_>) {
    match found {
        PodTerm::Required(required) => term(required, path, report),
        PodTerm::Preferred(preferred) => {
            weight(preferred.weight, path, report);
            term(&preferred.pod_affinity_term, &format!("{path}.podAffinityTerm"), report);
        }
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
