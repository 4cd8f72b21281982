//! Tolerations and spread constraints.

use k8s_openapi::api::core::v1::{Toleration, TopologySpreadConstraint};

use super::selectors;
use crate::rules::report::Report;
use crate::rules::syntax;

const NO_EXECUTE: &str = "NoExecute";
const EFFECTS: [&str; 3] = ["NoSchedule", "PreferNoSchedule", NO_EXECUTE];
const OPERATORS: [&str; 2] = ["Equal", "Exists"];
const DO_NOT_SCHEDULE: &str = "DoNotSchedule";
const ACTIONS: [&str; 2] = [DO_NOT_SCHEDULE, "ScheduleAnyway"];
const POLICIES: [&str; 2] = ["Honor", "Ignore"];
const POSITIVE: &str = "must be greater than zero";

pub(super) fn tolerations(tolerations: &[Toleration], report: &mut Report<'_>) {
    for (index, toleration) in tolerations.iter().enumerate() {
        let mut report = report.item(index);
        let text = |field: &'_ Option<String>| field.clone().unwrap_or_default();
        let (key, operator) = (text(&toleration.key), text(&toleration.operator));
        let (value, effect) = (text(&toleration.value), text(&toleration.effect));
        if !key.is_empty() {
            report.field("key").each(&key, syntax::qualified_name(&key));
        } else if operator != "Exists" {
            let detail = "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
            report.field("operator").invalid(&operator, detail);
        }
        if toleration.toleration_seconds.is_some() && effect != NO_EXECUTE {
            let detail = "effect must be 'NoExecute' when `tolerationSeconds` is set";
            report.field("effect").invalid(&effect, detail);
        }
        let mut of_operator = report.field("operator");
        match operator.as_str() {
            "" | "Equal" => {
                let wrong = syntax::label_value(&value);
                if !wrong.is_empty() {
                    of_operator.invalid(&value, wrong.join(";"));
                }
            }
            "Exists" if value.is_empty() => {}
            "Exists" => of_operator.invalid(&value, "value must be empty when `operator` is 'Exists'"),
            _ => of_operator.supported(&operator, &OPERATORS),
        }
        if !effect.is_empty() {
            report.field("effect").supported(&effect, &EFFECTS);
        }
    }
}

pub(super) fn spread(constraints: &[TopologySpreadConstraint], report: &mut Report<'_>) {
    for (index, constraint) in constraints.iter().enumerate() {
        let mut report = report.item(index);
        one_spread(constraint, &mut report);
        let (key, action) = (&constraint.topology_key, &constraint.when_unsatisfiable);
        // The list is short.
        let again = constraints[index + 1..]
            .iter()
            .any(|later| later.topology_key == *key && later.when_unsatisfiable == *action);
        if again {
            report.field("{topologyKey, whenUnsatisfiable}").duplicate(&format!("{{{key}, {action}}}"));
        }
    }
}

fn one_spread(constraint: &TopologySpreadConstraint, report: &mut Report<'_>) {
    if constraint.max_skew < 1 {
        report.field("maxSkew").invalid(&constraint.max_skew, POSITIVE);
    }
    if constraint.topology_key.is_empty() {
        report.field("topologyKey").required("can not be empty");
    }
    let action = constraint.when_unsatisfiable.as_str();
    report.field("whenUnsatisfiable").supported(action, &ACTIONS);
    if let Some(domains) = constraint.min_domains {
        let mut report = report.field("minDomains");
        if domains < 1 {
            report.invalid(&domains, POSITIVE);
        }
        if action != DO_NOT_SCHEDULE {
            let detail = format!("can only use minDomains if whenUnsatisfiable={DO_NOT_SCHEDULE}, not {action}");
            report.invalid(&domains, detail);
        }
    }
    report.field("nodeAffinityPolicy").supported_if_given(constraint.node_affinity_policy.as_deref(), &POLICIES);
    report.field("nodeTaintsPolicy").supported_if_given(constraint.node_taints_policy.as_deref(), &POLICIES);
    let selector = constraint.label_selector.as_ref();
    let keys = constraint.match_label_keys.as_deref().unwrap_or_default();
    selectors::label_keys(keys, selector, &mut report.field("matchLabelKeys"));
    selectors::matched_once(keys, &[], selector, &mut report.field("matchLabelKeys"));
    selectors::labels(selector, &mut report.field("labelSelector"));
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::messages;

    #[test]
    fn tolerations_are_judged_by_operator_key_effect_and_seconds() {
        for (toleration, wrong) in [
            (json!({"operator": "Exists"}), 0),
            (json!({"key": "a", "value": "b", "effect": "NoExecute", "tolerationSeconds": -1}), 0),
            (json!({}), 1),
            (json!({"key": "a", "operator": "exists"}), 1),
            (json!({"key": "a", "operator": "Exists", "value": "b"}), 1),
            (json!({"key": "a b", "operator": "Exists"}), 1),
            (json!({"key": "a", "value": "b c"}), 1),
            (json!({"key": "a", "effect": "NoRun"}), 1),
            (json!({"key": "a", "effect": "NoSchedule", "tolerationSeconds": 5}), 1),
        ] {
            let found = messages(json!({"protocol": "raft", "tolerations": [toleration]}));
            assert_eq!(found.len(), wrong, "{found:?}");
        }
    }

    #[test]
    fn spread_constraints_are_of_one_kind_each() {
        let one = json!({"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"});
        let bad = json!({"maxSkew": 0, "topologyKey": "", "whenUnsatisfiable": "Never", "minDomains": 2,
            "nodeTaintsPolicy": "honor", "matchLabelKeys": ["a"],
            "labelSelector": {"matchExpressions": [{"key": "a", "operator": "In"}]}});
        let found = messages(json!({"protocol": "raft", "topologySpreadConstraints": [one, one, bad]}));
        assert_eq!(found.len(), 8, "{found:#?}");
        let twice = "t.topologySpreadConstraints[0].{topologyKey, whenUnsatisfiable}: Duplicate value: \"{zone, DoNotSchedule}\"";
        assert_eq!(found[0], twice);
    }
}
