//! The parts of a template that become a pod, judged as Kubernetes judges the template of a StatefulSet and the pods that
//! are made of it: its rules, its words, and its paths below the template.
//!
//! What depends on how a cluster is configured cannot be known here, and is accepted: the API server's refusal is then
//! told as `InvalidPodTemplate`.

mod affinity;
mod env;
mod resources;
mod scheduling;
mod security;
mod selectors;
mod warnings;
mod windows;

use std::collections::HashSet;

pub(super) use self::warnings::warnings;
use super::violation::{Reason, Violation};
use crate::api::TemplateSpec;

/// Reports what is wrong with the pods of a template that stands at `path`.
pub(super) fn check(spec: &TemplateSpec, path: &str, violations: &mut Vec<Violation>) {
    let mut report = Report::new(violations);
    env::check(spec.env.as_deref().unwrap_or_default(), &format!("{path}.env"), &mut report);
    if let Some(resources) = &spec.resources {
        resources::check(resources, &format!("{path}.resources"), &mut report);
    }
    let tolerations = spec.tolerations.as_deref().unwrap_or_default();
    scheduling::tolerations(tolerations, &format!("{path}.tolerations"), &mut report);
    let constraints = spec.topology_spread_constraints.as_deref().unwrap_or_default();
    scheduling::spread(constraints, &format!("{path}.topologySpreadConstraints"), &mut report);
    if let Some(affinity) = &spec.affinity {
        affinity::check(affinity, &format!("{path}.affinity"), &mut report);
    }
    security::check(spec, path, &mut report);
}

/// Collects violations.
struct Report<'a> {
    /// Fields that are missing: they read as empty, and are reported already.
    missing: HashSet<String>,
    violations: &'a mut Vec<Violation>,
}

impl<'a> Report<'a> {
    fn new(violations: &'a mut Vec<Violation>) -> Self {
        let missing = violations.iter().filter(|known| known.reason == Reason::Required);
        Self { missing: missing.map(|known| known.field.clone()).collect(), violations }
    }

    fn add(&mut self, violation: Violation) {
        if !self.missing.contains(&violation.field) {
            self.violations.push(violation);
        }
    }

    /// One violation for each thing that is wrong with a text.
    fn each(&mut self, field: &str, value: &str, wrong: Vec<String>) {
        for words in wrong {
            self.add(Violation::invalid(field, &value, words));
        }
    }

    /// The text has no NUL: no path, variable or argument of a process can, and its container would not start. The text
    /// may be secret.
    fn no_nul(&mut self, field: String, text: Option<&String>) {
        if text.is_some_and(|text| text.contains('\0')) {
            self.add(Violation::forbidden(field, "must not contain a NUL character"));
        }
    }

    /// The text is one of `supported`.
    fn supported(&mut self, field: String, value: &str, supported: &[&str]) {
        if !supported.contains(&value) {
            self.add(Violation::not_supported(field, value, supported));
        }
    }
}

/// Texts of all violations of a template in a test.
#[cfg(test)]
fn judged(template: serde_json::Value) -> Vec<String> {
    let spec: TemplateSpec = serde_json::from_value(template).unwrap();
    let mut violations = Vec::new();
    check(&spec, "t", &mut violations);
    violations.iter().map(ToString::to_string).collect()
}
