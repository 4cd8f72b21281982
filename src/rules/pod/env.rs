//! Environment variables. Their values never appear in a message: they may be secret.

use k8s_openapi::api::core::v1::{EnvVar, EnvVarSource, ObjectFieldSelector, ResourceFieldSelector};

use crate::rules::quantity::{Quantity, TOO_LARGE};
use crate::rules::report::Report;
use crate::rules::syntax;

/// What a variable can be of the pod's own fields, in the order in which messages have them.
const FIELDS: [&str; 9] = [
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];
/// Fields of a pod that can be named, and not be the source of a variable.
const OTHER_FIELDS: [&str; 5] =
    ["metadata.annotations", "metadata.labels", "spec.restartPolicy", "spec.schedulerName", "status.phase"];
/// What a variable can be of the container's own resources.
const RESOURCES: [&str; 6] = [
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
];
const CPU_DIVISORS: &[&str] = &["1m", "1"];
const BYTE_DIVISORS: &[&str] = &["1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei"];

pub(super) fn check(env: &[EnvVar], report: &mut Report<'_>) {
    for (index, variable) in env.iter().enumerate() {
        let mut report = report.item(index);
        report.field("value").no_nul(variable.value.as_ref());
        if let Some(source) = &variable.value_from {
            let has_value = variable.value.as_deref().is_some_and(|value| !value.is_empty());
            check_source(source, has_value, &mut report.field("valueFrom"));
        }
    }
}

fn check_source(source: &EnvVarSource, has_value: bool, report: &mut Report<'_>) {
    if let Some(field) = &source.field_ref {
        field_ref(field, &mut report.field("fieldRef"));
    }
    if let Some(resource) = &source.resource_field_ref {
        resource_ref(resource, &mut report.field("resourceFieldRef"));
    }
    if let Some(entry) = &source.config_map_key_ref {
        key_ref(&entry.name, &entry.key, &mut report.field("configMapKeyRef"));
    }
    if let Some(entry) = &source.secret_key_ref {
        key_ref(&entry.name, &entry.key, &mut report.field("secretKeyRef"));
    }
    let given = [
        source.field_ref.is_some(),
        source.resource_field_ref.is_some(),
        source.config_map_key_ref.is_some(),
        source.secret_key_ref.is_some(),
    ];
    let wrong = match given.into_iter().filter(|given| *given).count() {
        0 => "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`",
        _ if has_value => "may not be specified when `value` is not empty",
        1 => return,
        _ => "may not have more than one field specified at a time",
    };
    report.invalid(&"", wrong);
}

fn key_ref(name: &str, key: &str, report: &mut Report<'_>) {
    report.field("name").each(name, syntax::dns_1123_subdomain(name));
    let mut report = report.field("key");
    if key.is_empty() {
        report.required("");
    } else {
        report.each(key, syntax::config_map_key(key));
    }
}

fn field_ref(reference: &ObjectFieldSelector, report: &mut Report<'_>) {
    let given = reference.field_path.as_str();
    let version = reference.api_version.as_deref().filter(|version| !version.is_empty()).unwrap_or("v1");
    if given.is_empty() {
        report.field("fieldPath").required("");
        return;
    }
    let mut unconvertible =
        |detail: String| report.field("fieldPath").invalid(&given, format!("error converting fieldPath: {detail}"));
    if version != "v1" {
        return unconvertible(format!("unsupported pod version: {version}"));
    }
    match subscripted(given) {
        Some(("metadata.annotations", key)) => {
            let key = key.to_lowercase();
            report.each(&key, syntax::qualified_name(&key));
        }
        Some(("metadata.labels", key)) => report.each(key, syntax::qualified_name(key)),
        Some(_) => unconvertible(format!("field label does not support subscript: {given}")),
        // An old name of the field.
        None if given == "spec.host" => {}
        None if OTHER_FIELDS.contains(&given) => report.field("fieldPath").supported(given, &FIELDS),
        None if !FIELDS.contains(&given) => unconvertible(format!("field label not supported: {given}")),
        None => {}
    }
}

/// The parts of a path such as `metadata.labels['key']`.
fn subscripted(path: &str) -> Option<(&str, &str)> {
    path.strip_suffix("']")?.split_once("['").filter(|(path, _)| !path.is_empty())
}

fn resource_ref(reference: &ResourceFieldSelector, report: &mut Report<'_>) {
    let resource = reference.resource.as_str();
    let huge = ["limits.hugepages-", "requests.hugepages-"].iter().any(|prefix| resource.starts_with(prefix));
    if resource.is_empty() {
        report.field("resource").required("");
    } else if !huge {
        report.field("resource").supported(resource, &RESOURCES);
    }
    let Some(divisor) = &reference.divisor else { return };
    let mut report = report.field("divisor");
    let divisor = match Quantity::read(&divisor.0) {
        Ok(divisor) => divisor,
        Err(why) => {
            return report.invalid(&divisor.0, why.select("must be a quantity, for instance 1m or 1Mi", TOO_LARGE));
        }
    };
    let kind = ["limits.", "requests."].iter().find_map(|prefix| resource.strip_prefix(prefix)).unwrap_or_default();
    let (supported, detail) = match kind {
        _ if divisor.nanos() == 0 => return,
        "cpu" => (CPU_DIVISORS, "only divisor's values 1m and 1 are supported with the cpu resource".to_owned()),
        "memory" => (BYTE_DIVISORS, of_bytes("memory")),
        "ephemeral-storage" => (BYTE_DIVISORS, of_bytes("local ephemeral storage")),
        _ if huge => (BYTE_DIVISORS, of_bytes("hugepages")),
        _ => return,
    };
    if !supported.contains(&divisor.canonical().as_str()) {
        report.invalid(&resource, detail);
    }
}

fn of_bytes(resource: &str) -> String {
    format!("only divisor's values {} are supported with the {resource} resource", BYTE_DIVISORS.join(", "))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::messages;

    #[test]
    fn a_variable_has_one_source_that_exists() {
        let of = |value: &serde_json::Value| messages(json!({"protocol": "raft", "env": [value]}));
        let field = |path: &str| json!({"name": "A", "valueFrom": {"fieldRef": {"fieldPath": path}}});
        for path in ["metadata.name", "metadata.labels['a/b']", "spec.host", "status.podIPs"] {
            assert!(of(&field(path)).is_empty(), "{path}");
        }
        for (path, words) in [
            ("spec.nope", "field label not supported: spec.nope"),
            ("status.phase", "Unsupported value: \"status.phase\""),
            ("metadata.name['a']", "does not support subscript"),
            ("metadata.labels['a b']", "name part must consist"),
        ] {
            assert!(of(&field(path))[0].contains(words), "{:?}", of(&field(path)));
        }
        let both = json!({"name": "A", "value": "secret", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}});
        assert_eq!(
            of(&both),
            ["t.env[0].valueFrom: Invalid value: \"\": may not be specified when `value` is not empty"]
        );
        let divided =
            json!({"name": "A", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu", "divisor": "2"}}});
        assert_eq!(of(&divided).len(), 1);
    }
}
