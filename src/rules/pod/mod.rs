//! The parts of a template that become a pod, validated as Kubernetes validates the template of a StatefulSet and its pods:
//! with its rules, its messages, and its paths below the template.
//!
//! `validate/template.rs` has the rest of a template: size, protocol and options, image, names of environment variables,
//! storage, IP families, names of classes and of the account, the node selector, and how long lists may be.
//!
//! What depends on the configuration of a cluster is accepted here: a refusal of the API server is reported as
//! `InvalidPodTemplate`.

mod affinity;
mod env;
mod resources;
mod scheduling;
mod security;
mod selectors;
mod warnings;
mod windows;

pub(super) use self::warnings::warnings;
use super::report::Report;
use crate::api::TemplateSpec;

/// Reports what is wrong with the pods of a template.
pub(super) fn check(spec: &TemplateSpec, report: &mut Report<'_>) {
    env::check(spec.env.as_deref().unwrap_or_default(), &mut report.field("env"));
    if let Some(resources) = &spec.resources {
        resources::check(resources, &mut report.field("resources"));
    }
    scheduling::tolerations(spec.tolerations.as_deref().unwrap_or_default(), &mut report.field("tolerations"));
    let constraints = spec.topology_spread_constraints.as_deref().unwrap_or_default();
    scheduling::spread(constraints, &mut report.field("topologySpreadConstraints"));
    if let Some(affinity) = &spec.affinity {
        affinity::check(affinity, &mut report.field("affinity"));
    }
    security::check(spec, report);
}

/// Messages of all violations of a template in a test.
#[cfg(test)]
fn messages(template: serde_json::Value) -> Vec<String> {
    let spec: TemplateSpec = serde_json::from_value(template).unwrap();
    let (missing, mut violations) = (std::collections::HashSet::default(), Vec::new());
    check(&spec, &mut Report::new("t", &missing, &mut violations));
    violations.iter().map(ToString::to_string).collect()
}
