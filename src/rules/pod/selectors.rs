//! Selectors of pods and of nodes.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{NodeSelectorRequirement, NodeSelectorTerm};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use super::Report;
use crate::rules::syntax;
use crate::rules::violation::Violation;

const OPERATOR: &str = "not a valid selector operator";
const SOME: &str = "must be specified when `operator` is 'In' or 'NotIn'";
const NONE: &str = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";

/// A selector of pods, or of namespaces, by their labels.
pub(super) fn labels(selector: Option<&LabelSelector>, path: &str, report: &mut Report<'_>) {
    let Some(selector) = selector else { return };
    if let Some(labels) = &selector.match_labels {
        match_labels(labels, &format!("{path}.matchLabels"), report);
    }
    for (index, requirement) in selector.match_expressions.iter().flatten().enumerate() {
        let path = format!("{path}.matchExpressions[{index}]");
        let values = requirement.values.as_deref().unwrap_or_default();
        let field = format!("{path}.values");
        match requirement.operator.as_str() {
            "In" | "NotIn" if values.is_empty() => report.add(Violation::required(field, SOME)),
            "Exists" | "DoesNotExist" if !values.is_empty() => report.add(Violation::forbidden(field, NONE)),
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            other => report.add(Violation::invalid(format!("{path}.operator"), &other, OPERATOR)),
        }
        key_and_values(&requirement.key, values, &path, report);
    }
}

fn match_labels(labels: &BTreeMap<String, String>, path: &str, report: &mut Report<'_>) {
    for (key, value) in labels {
        report.each(path, key, syntax::qualified_name(key));
        report.each(path, value, syntax::label_value(value));
    }
}

fn key_and_values(key: &str, values: &[String], path: &str, report: &mut Report<'_>) {
    report.each(&format!("{path}.key"), key, syntax::qualified_name(key));
    for (index, value) in values.iter().enumerate() {
        report.each(&format!("{path}.values[{index}]"), value, syntax::label_value(value));
    }
}

/// A term of a selector of nodes. What is only preferred may have values that no label has.
pub(super) fn nodes(term: &NodeSelectorTerm, preferred: bool, path: &str, report: &mut Report<'_>) {
    for (index, requirement) in term.match_expressions.iter().flatten().enumerate() {
        by_label(requirement, preferred, &format!("{path}.matchExpressions[{index}]"), report);
    }
    for (index, requirement) in term.match_fields.iter().flatten().enumerate() {
        by_field(requirement, &format!("{path}.matchFields[{index}]"), report);
    }
}

fn by_label(requirement: &NodeSelectorRequirement, preferred: bool, path: &str, report: &mut Report<'_>) {
    let values = requirement.values.as_deref().unwrap_or_default();
    let field = format!("{path}.values");
    match requirement.operator.as_str() {
        "In" | "NotIn" if values.is_empty() => report.add(Violation::required(field, SOME)),
        "Exists" | "DoesNotExist" if !values.is_empty() => report.add(Violation::forbidden(field, NONE)),
        "Gt" | "Lt" if values.len() != 1 => {
            let detail = "must be specified single value when `operator` is 'Lt' or 'Gt'";
            report.add(Violation::required(field, detail));
        }
        "In" | "NotIn" | "Exists" | "DoesNotExist" | "Gt" | "Lt" => {}
        other => report.add(Violation::invalid(format!("{path}.operator"), &other, OPERATOR)),
    }
    let judged = if preferred { &[] } else { values };
    key_and_values(&requirement.key, judged, path, report);
}

fn by_field(requirement: &NodeSelectorRequirement, path: &str, report: &mut Report<'_>) {
    let values = requirement.values.as_deref().unwrap_or_default();
    match requirement.operator.as_str() {
        "In" | "NotIn" if values.len() != 1 => {
            let detail = "must be only one value when `operator` is 'In' or 'NotIn' for node field selector";
            report.add(Violation::required(format!("{path}.values"), detail));
        }
        "In" | "NotIn" => {}
        other => report.add(Violation::invalid(format!("{path}.operator"), &other, OPERATOR)),
    }
    if requirement.key != "metadata.name" {
        let detail = "not a valid field selector key";
        report.add(Violation::invalid(format!("{path}.key"), &requirement.key, detail));
        return;
    }
    for (index, value) in values.iter().enumerate() {
        report.each(&format!("{path}.values[{index}]"), value, syntax::dns_1123_subdomain(value));
    }
}

/// Keys of the pod's own labels whose values are added to a selector of pods.
pub(super) fn label_keys(keys: &[String], selector: Option<&LabelSelector>, path: &str, report: &mut Report<'_>) {
    if keys.is_empty() {
        return;
    }
    if selector.is_none() {
        report.add(Violation::forbidden(path, "must not be specified when labelSelector is not set"));
        return;
    }
    for (index, key) in keys.iter().enumerate() {
        report.each(&format!("{path}[{index}]"), key, syntax::qualified_name(key));
    }
}

/// Keys whose values are wanted may stand nowhere else.
pub(super) fn wanted_once(
    keys: &[String],
    unwanted: &[String],
    selector: Option<&LabelSelector>,
    path: &str,
    report: &mut Report<'_>,
) {
    let selects = |key: &String| {
        selector.is_some_and(|selector| {
            selector.match_labels.as_ref().is_some_and(|labels| labels.contains_key(key))
                || selector.match_expressions.iter().flatten().any(|requirement| requirement.key == *key)
        })
    };
    for (index, key) in keys.iter().enumerate() {
        let other = match () {
            () if selects(key) => "labelSelector",
            () if unwanted.contains(key) => "mismatchLabelKeys",
            () => continue,
        };
        let detail = format!("exists in both matchLabelKeys and {other}");
        report.add(Violation::invalid(format!("{path}[{index}]"), key, detail));
    }
}
