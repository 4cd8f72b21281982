//! The diagnosis, layer by layer: a function of what was observed, without I/O and clock.

mod bundle;
mod certificate;
mod reachability;
mod secret;
mod service;
#[cfg(test)]
mod tests;

use std::time::SystemTime;

use k8s_openapi::jiff::Timestamp;

use super::observation::{Lookup, Observation, Rights};
use super::report::{Diagnosis, Problem, Report};
use crate::tls::Names;

/// The remedy for objects of the manifest.
const APPLY: &str = "apply the manifest of the controller again";

/// Diagnoses each layer, in the order in which they depend on each other: the rights of the controller's own account, the
/// Secret with the CA or with the provided certificate, the Service that is called, the certificate that is served, the
/// `caBundle` of both configurations, and whether the API server gets an answer.
pub(super) fn diagnose(observed: &Observation, names: &Names, now: SystemTime) -> Report {
    let [mutating, validating] = &observed.configurations;
    Report::of([
        ("rights", rights(&observed.rights)),
        ("secret", secret::diagnose(observed, names, now)),
        ("service", service::diagnose(observed, names)),
        ("certificate", certificate::diagnose(&observed.served, names, now)),
        ("mutating-bundle", bundle::diagnose(mutating, observed, names, now)),
        ("validating-bundle", bundle::diagnose(validating, observed, names, now)),
        ("reachability", reachability::diagnose(observed)),
    ])
}

fn rights(rights: &Lookup<Rights>) -> Diagnosis {
    // Every API server that authorizes has the review.
    let Rights { user, missing } =
        rights.or_problem(|| Problem::skipped("this API server has no SubjectAccessReview"))?;
    if missing.is_empty() {
        return Ok(format!("{user} may do what a replica needs to become ready"));
    }
    Err(Problem::failed(format!("{user} may not {}", missing.join(", ")), APPLY))
}

fn time(at: SystemTime) -> String {
    Timestamp::try_from(at).map(|at| at.to_string()).unwrap_or_default()
}
