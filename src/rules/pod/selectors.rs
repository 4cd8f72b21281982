//! Selectors of pods and of nodes.

use k8s_openapi::api::core::v1::{NodeSelectorRequirement, NodeSelectorTerm};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use crate::rules::report::Report;
use crate::rules::syntax;

const OPERATOR: &str = "not a valid selector operator";

/// What expressions over labels select.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Expressions {
    Pods,
    RequiredNodes,
    /// The values may be such that no label has.
    PreferredNodes,
}

/// A selector of pods, or of namespaces, by their labels.
pub(super) fn labels(selector: Option<&LabelSelector>, report: &mut Report<'_>) {
    let Some(selector) = selector else { return };
    for (key, value) in selector.match_labels.iter().flatten() {
        let mut report = report.field("matchLabels");
        report.each(key, syntax::qualified_name(key));
        report.each(value, syntax::label_value(value));
    }
    for (index, requirement) in selector.match_expressions.iter().flatten().enumerate() {
        let values = requirement.values.as_deref().unwrap_or_default();
        let mut report = report.field(format_args!("matchExpressions[{index}]"));
        by_label((&requirement.key, &requirement.operator, values), Expressions::Pods, &mut report);
    }
}

/// A term of a selector of nodes.
pub(super) fn nodes(term: &NodeSelectorTerm, of: Expressions, report: &mut Report<'_>) {
    for (index, requirement) in term.match_expressions.iter().flatten().enumerate() {
        let values = requirement.values.as_deref().unwrap_or_default();
        let mut report = report.field(format_args!("matchExpressions[{index}]"));
        by_label((&requirement.key, &requirement.operator, values), of, &mut report);
    }
    for (index, requirement) in term.match_fields.iter().flatten().enumerate() {
        by_field(requirement, &mut report.field(format_args!("matchFields[{index}]")));
    }
}

fn by_label((key, operator, values): (&str, &str, &[String]), of: Expressions, report: &mut Report<'_>) {
    let compares = of != Expressions::Pods;
    match operator {
        "In" | "NotIn" if values.is_empty() => {
            report.field("values").required("must be specified when `operator` is 'In' or 'NotIn'");
        }
        "Exists" | "DoesNotExist" if !values.is_empty() => {
            report.field("values").forbidden("may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
        }
        "Gt" | "Lt" if compares && values.len() != 1 => {
            report.field("values").required("must be specified single value when `operator` is 'Lt' or 'Gt'");
        }
        "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
        "Gt" | "Lt" if compares => {}
        other => report.field("operator").invalid(&other, OPERATOR),
    }
    report.field("key").each(key, syntax::qualified_name(key));
    if of != Expressions::PreferredNodes {
        for (index, value) in values.iter().enumerate() {
            report.field(format_args!("values[{index}]")).each(value, syntax::label_value(value));
        }
    }
}

fn by_field(requirement: &NodeSelectorRequirement, report: &mut Report<'_>) {
    let values = requirement.values.as_deref().unwrap_or_default();
    match requirement.operator.as_str() {
        "In" | "NotIn" if values.len() != 1 => {
            let detail = "must be only one value when `operator` is 'In' or 'NotIn' for node field selector";
            report.field("values").required(detail);
        }
        "In" | "NotIn" => {}
        other => report.field("operator").invalid(&other, OPERATOR),
    }
    if requirement.key != "metadata.name" {
        report.field("key").invalid(&requirement.key, "not a valid field selector key");
        return;
    }
    for (index, value) in values.iter().enumerate() {
        report.field(format_args!("values[{index}]")).each(value, syntax::dns_1123_subdomain(value));
    }
}

/// Keys of the pod's own labels whose values are added to a selector of pods.
pub(super) fn label_keys(keys: &[String], selector: Option<&LabelSelector>, report: &mut Report<'_>) {
    if !keys.is_empty() && selector.is_none() {
        report.forbidden("must not be specified when labelSelector is not set");
        return;
    }
    for (index, key) in keys.iter().enumerate() {
        report.item(index).each(key, syntax::qualified_name(key));
    }
}

/// Keys that are matched may occur nowhere else.
pub(super) fn matched_once(
    keys: &[String],
    unwanted: &[String],
    selector: Option<&LabelSelector>,
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
        report.item(index).invalid(key, format!("exists in both matchLabelKeys and {other}"));
    }
}
