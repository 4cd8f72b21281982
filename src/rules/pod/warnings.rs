//! Kubernetes' own warnings about the template of a StatefulSet.

use k8s_openapi::api::core::v1::{Affinity, LocalObjectReference, NodeSelectorTerm};

use super::affinity::{PREFERRED, REQUIRED, pod_terms};
use crate::api::TemplateSpec;
use crate::rules::quantity::Quantity;
use crate::rules::syntax;

/// Deprecated labels of nodes.
const DEPRECATED: [(&str, &str); 8] = [
    ("beta.kubernetes.io/arch", "deprecated since v1.14; use \"kubernetes.io/arch\" instead"),
    ("beta.kubernetes.io/os", "deprecated since v1.14; use \"kubernetes.io/os\" instead"),
    (
        "failure-domain.beta.kubernetes.io/region",
        "deprecated since v1.17; use \"topology.kubernetes.io/region\" instead",
    ),
    ("failure-domain.beta.kubernetes.io/zone", "deprecated since v1.17; use \"topology.kubernetes.io/zone\" instead"),
    ("beta.kubernetes.io/instance-type", "deprecated since v1.17; use \"node.kubernetes.io/instance-type\" instead"),
    ("app.kubernetes.io/created-by", "deprecated since v1.9"),
    ("scheduler.alpha.kubernetes.io/preferAvoidPods", "deprecated since v1.22; use Taints and Tolerations instead"),
    ("node-role.kubernetes.io/master", "use \"node-role.kubernetes.io/control-plane\" instead"),
];
/// Resources that are counted in bytes.
const BYTES: [&str; 2] = ["memory", "ephemeral-storage"];
const NO_SELECTOR: &str = "labelSelector: a null labelSelector results in matching no pod";

/// Warnings about the pods of a template at `path`.
pub(in crate::rules) fn warnings(spec: &TemplateSpec, path: &str) -> Vec<String> {
    let mut found = Vec::new();
    for key in spec.node_selector.iter().flat_map(|selector| selector.keys()) {
        found.extend(deprecated(key).map(|words| format!("{path}.nodeSelector[{key}]: {words}")));
    }
    if let Some(affinity) = &spec.affinity {
        of_affinity(affinity, &format!("{path}.affinity"), &mut found);
    }
    for (index, constraint) in spec.topology_spread_constraints.iter().flatten().enumerate() {
        let (path, key) = (format!("{path}.topologySpreadConstraints[{index}]"), &constraint.topology_key);
        found.extend(deprecated(key).map(|words| format!("{path}.topologyKey: {key} is {words}")));
        if constraint.label_selector.is_none() {
            found.push(format!("{path}.{NO_SELECTOR}"));
        }
    }
    pull_secrets(spec.image_pull_secrets.as_deref().unwrap_or_default(), path, &mut found);
    bytes(spec, path, &mut found);
    if spec.termination_grace_period_seconds.is_some_and(|seconds| seconds < 0) {
        found.push(format!(
            "{path}.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will be treated as 1"
        ));
    }
    found
}

fn deprecated(label: &str) -> Option<&'static str> {
    DEPRECATED.iter().find(|(old, _)| *old == label).map(|(_, words)| *words)
}

fn of_affinity(affinity: &Affinity, path: &str, found: &mut Vec<String>) {
    if let Some(nodes) = &affinity.node_affinity {
        let required = nodes.required_during_scheduling_ignored_during_execution.iter();
        for (index, term) in required.flat_map(|selector| &selector.node_selector_terms).enumerate() {
            of_nodes(term, false, &format!("{path}.nodeAffinity.{REQUIRED}.nodeSelectorTerms[{index}]"), found);
        }
        let preferred = nodes.preferred_during_scheduling_ignored_during_execution.iter().flatten();
        for (index, term) in preferred.enumerate() {
            of_nodes(&term.preference, true, &format!("{path}.nodeAffinity.{PREFERRED}[{index}].preference"), found);
        }
    }
    for (term_path, weight, _) in pod_terms(affinity).filter(|(.., term)| term.label_selector.is_none()) {
        let inner = if weight.is_some() { ".podAffinityTerm" } else { "" };
        found.push(format!("{path}.{term_path}{inner}.{NO_SELECTOR}"));
    }
}

fn of_nodes(term: &NodeSelectorTerm, with_values: bool, path: &str, found: &mut Vec<String>) {
    for (index, expression) in term.match_expressions.iter().flatten().enumerate() {
        let (path, key) = (format!("{path}.matchExpressions[{index}]"), &expression.key);
        found.extend(deprecated(key).map(|words| format!("{path}.key: {key} is {words}")));
        let values = expression.values.iter().flatten().enumerate().filter(|_| with_values);
        for (index, value) in values {
            let wrong = syntax::label_value(value).into_iter();
            found.extend(wrong.map(|words| format!("{path}.values[{index}]: {value} is invalid, {words}")));
        }
    }
}

fn pull_secrets(secrets: &[LocalObjectReference], path: &str, found: &mut Vec<String>) {
    let path = |index: usize| format!("{path}.imagePullSecrets[{index}].name");
    for (index, secret) in secrets.iter().enumerate() {
        if secrets[..index].iter().any(|earlier| earlier.name == secret.name) {
            found.push(format!("{}: duplicate name {:?}", path(index), secret.name));
        }
    }
    for (index, _) in secrets.iter().enumerate().filter(|(_, secret)| secret.name.is_empty()) {
        found.push(format!("{}: invalid empty name \"\"", path(index)));
    }
}

/// Amounts of bytes with a fraction.
fn bytes(spec: &TemplateSpec, path: &str, found: &mut Vec<String>) {
    let mut check = |field: String, amount: &str| {
        let amount = Quantity::parse(amount).map(Quantity::rounded_to_milli).filter(|amount| !amount.is_whole());
        found.extend(amount.map(|amount| {
            format!("{field}: fractional byte value {:?} is invalid, must be an integer", amount.canonical())
        }));
    };
    if let Some(resources) = &spec.resources {
        for name in BYTES {
            for (field, amounts) in [("limits", &resources.limits), ("requests", &resources.requests)] {
                if let Some(amount) = amounts.as_ref().and_then(|amounts| amounts.get(name)) {
                    check(format!("{path}.resources.{field}[{name}]"), &amount.0);
                }
            }
        }
    }
    if let Some(size) = &spec.storage_size {
        check(format!("{path}.storageSize"), &size.0);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn of(template: Value) -> Vec<String> {
        warnings(&serde_json::from_value(template).unwrap(), "t")
    }

    #[test]
    fn what_kubernetes_takes_and_warns_of_is_said() {
        assert_eq!(
            of(json!({
                "protocol": "raft",
                "imagePullSecrets": [{}, {"name": "a"}, {"name": "a"}],
                "terminationGracePeriodSeconds": -1,
                "resources": {"limits": {"memory": "1500m", "cpu": "1500m"}, "requests": {"ephemeral-storage": "0.5"}},
                "storageSize": "1.5",
            })),
            [
                "t.imagePullSecrets[2].name: duplicate name \"a\"",
                "t.imagePullSecrets[0].name: invalid empty name \"\"",
                "t.resources.limits[memory]: fractional byte value \"1500m\" is invalid, must be an integer",
                "t.resources.requests[ephemeral-storage]: fractional byte value \"500m\" is invalid, must be an integer",
                "t.storageSize: fractional byte value \"1500m\" is invalid, must be an integer",
                "t.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will be treated as 1",
            ]
        );
        assert!(of(json!({"protocol": "raft", "terminationGracePeriodSeconds": 0, "storageSize": "1Gi"})).is_empty());
    }
}
