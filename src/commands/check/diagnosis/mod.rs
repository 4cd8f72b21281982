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
use super::report::{Diagnosis, Layer, Problem, Report};
use crate::tls::Names;

/// The remedy for objects of the manifest.
const APPLY: &str = "apply the manifest of the controller again";

/// Diagnoses each layer.
pub(super) fn diagnose(observed: &Observation, names: &Names, now: SystemTime) -> Report {
    let [mutating, validating] = &observed.configurations;
    Report::of([
        (Layer::Rights, rights(&observed.rights)),
        (Layer::Secret, secret::diagnose(observed, names, now)),
        (Layer::Service, service::diagnose(observed, names)),
        (Layer::Certificate, certificate::diagnose(&observed.served, names, now)),
        (Layer::MutatingBundle, bundle::diagnose(mutating, observed, names, now)),
        (Layer::ValidatingBundle, bundle::diagnose(validating, observed, names, now)),
        (Layer::Reachability, reachability::diagnose(observed)),
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
