//! Tolerations and spread constraints.

use k8s_openapi::api::core::v1::{Toleration, TopologySpreadConstraint};

use super::{Report, selectors};
use crate::rules::syntax;
use crate::rules::violation::Violation;

const NO_EXECUTE: &str = "NoExecute";
const EFFECTS: [&str; 3] = ["NoSchedule", "PreferNoSchedule", NO_EXECUTE];
const OPERATORS: [&str; 2] = ["Equal", "Exists"];
const DO_NOT_SCHEDULE: &str = "DoNotSchedule";
const ACTIONS: [&str; 2] = [DO_NOT_SCHEDULE, "ScheduleAnyway"];
const POLICIES: [&str; 2] = ["Honor", "Ignore"];
const POSITIVE: &str = "must be greater than zero";

pub(super) fn tolerations(tolerations: &[Toleration], path: &str, report: &mut Report<'_>) {
    for (index, toleration) in tolerations.iter().enumerate() {
        let path = format!("{path}[{index}]");
        let text = |field: &'_ Option<String>| field.clone().unwrap_or_default();
        let (key, operator) = (text(&toleration.key), text(&toleration.operator));
        let (value, effect) = (text(&toleration.value), text(&toleration.effect));
        let field = format!("{path}.operator");
        if key.is_empty() {
            if operator != "Exists" {
                let detail =
                    "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
                report.add(Violation::invalid(&field, &operator, detail));
            }
        } else {
            report.each(&format!("{path}.key"), &key, syntax::qualified_name(&key));
        }
        if toleration.toleration_seconds.is_some() && effect != NO_EXECUTE {
            let detail = "effect must be 'NoExecute' when `tolerationSeconds` is set";
            report.add(Violation::invalid(format!("{path}.effect"), &effect, detail));
        }
        match operator.as_str() {
            "" | "Equal" => {
                let wrong = syntax::label_value(&value);
                if !wrong.is_empty() {
                    report.add(Violation::invalid(field, &value, wrong.join(";")));
                }
            }
            "Exists" if value.is_empty() => {}
            "Exists" => {
                report.add(Violation::invalid(field, &value, "value must be empty when `operator` is 'Exists'"));
            }
            _ => report.supported(field, &operator, &OPERATORS),
        }
        if !effect.is_empty() {
            report.supported(format!("{path}.effect"), &effect, &EFFECTS);
        }
    }
}

pub(super) fn spread(constraints: &[TopologySpreadConstraint], path: &str, report: &mut Report<'_>) {
    for (index, constraint) in constraints.iter().enumerate() {
        let path = format!("{path}[{index}]");
        one_spread(constraint, &path, report);
        let (key, action) = (&constraint.topology_key, &constraint.when_unsatisfiable);
        // As many as there may be are few.
        let again = constraints[index + 1..]
            .iter()
            .any(|later| later.topology_key == *key && later.when_unsatisfiable == *action);
        if again {
            let field = format!("{path}.{{topologyKey, whenUnsatisfiable}}");
            report.add(Violation::duplicate(field, &format!("{{{key}, {action}}}")));
        }
    }
}

fn one_spread(constraint: &TopologySpreadConstraint, path: &str, report: &mut Report<'_>) {
    if constraint.max_skew < 1 {
        report.add(Violation::invalid(format!("{path}.maxSkew"), &constraint.max_skew, POSITIVE));
    }
    if constraint.topology_key.is_empty() {
        report.add(Violation::required(format!("{path}.topologyKey"), "can not be empty"));
    }
    let action = constraint.when_unsatisfiable.as_str();
    report.supported(format!("{path}.whenUnsatisfiable"), action, &ACTIONS);
    if let Some(domains) = constraint.min_domains {
        let field = format!("{path}.minDomains");
        if domains < 1 {
            report.add(Violation::invalid(&field, &domains, POSITIVE));
        }
        if action != DO_NOT_SCHEDULE {
            let detail = format!("can only use minDomains if whenUnsatisfiable={DO_NOT_SCHEDULE}, not {action}");
            report.add(Violation::invalid(field, &domains, detail));
        }
    }
    let policies = [
        ("nodeAffinityPolicy", &constraint.node_affinity_policy),
        ("nodeTaintsPolicy", &constraint.node_taints_policy),
    ];
    for (field, policy) in policies {
        if let Some(policy) = policy {
            report.supported(format!("{path}.{field}"), policy, &POLICIES);
        }
    }
    let selector = constraint.label_selector.as_ref();
    let keys = constraint.match_label_keys.as_deref().unwrap_or_default();
    selectors::label_keys(keys, selector, &format!("{path}.matchLabelKeys"), report);
    selectors::wanted_once(keys, &[], selector, &format!("{path}.matchLabelKeys"), report);
    selectors::labels(selector, &format!("{path}.labelSelector"), report);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::judged;

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
            let found = judged(json!({"protocol": "raft", "tolerations": [toleration]}));
            assert_eq!(found.len(), wrong, "{found:?}");
        }
    }

    #[test]
    fn spread_constraints_are_of_one_kind_each() {
        let one = json!({"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"});
        let bad = json!({"maxSkew": 0, "topologyKey": "", "whenUnsatisfiable": "Never", "minDomains": 2,
            "nodeTaintsPolicy": "honor", "matchLabelKeys": ["a"],
            "labelSelector": {"matchExpressions": [{"key": "a", "operator": "In"}]}});
        let found = judged(json!({"protocol": "raft", "topologySpreadConstraints": [one, one, bad]}));
        assert_eq!(found.len(), 8, "{found:#?}");
        let twice = "t.topologySpreadConstraints[0].{topologyKey, whenUnsatisfiable}: Duplicate value: \"{zone, DoNotSchedule}\"";
        assert_eq!(found[0], twice);
    }
}
