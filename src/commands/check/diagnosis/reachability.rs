//! Whether the API server gets an answer of both webhooks.

use super::super::observation::Observation;
use super::super::report::{Diagnosis, Problem};
use crate::commands::check::canary::Canary;

/// Words of kube-apiserver about a user without the right to create canaries.
const NO_RIGHT: &str = "cannot create resource";

pub(super) fn diagnose(observed: &Observation) -> Diagnosis {
    let (canary, why) = &observed.canary;
    let why = why.as_deref().unwrap_or_default();
    match canary {
        Canary::Proven => {
            let exempt = observed.exempt.as_ref().map_or_else(String::new, |exempt| {
                format!("; it does not call them for objects of {exempt}, by their namespaceSelector or an exemption of its own: the schema alone validates sets there")
            });
            Ok(format!("the API server reaches both webhooks and trusts them{exempt}"))
        }
        Canary::NotAsked if why.contains(NO_RIGHT) => Err(Problem::forbidden(why)),
        Canary::NotAsked => Err(Problem::failed(
            format!("no webhook was called: {why}"),
            "see that both kinds are installed, that the webhooks select that namespace (--namespace), and what else refuses",
        )),
        Canary::Refused => Err(Problem::failed(why, remedy(why))),
        Canary::Unknown => Err(Problem::unanswered(why)),
    }
}

/// What to do about a webhook that kube-apiserver could not call, by its message.
fn remedy(why: &str) -> &'static str {
    let has = |words: &[&str]| words.iter().any(|words| why.contains(words));
    if has(&["x509"]) {
        "see the lines about certificate and bundles"
    } else if has(&["no endpoints", "connection refused", "not found", "cannot route"]) {
        "see the line about the service, and whether a pod of the controller is ready"
    } else if has(&["deadline exceeded", "timeout"]) {
        "let the API server reach port 9443 of the pods: private clusters often need a rule of the firewall"
    } else {
        "see the log of the controller, and that of the API server"
    }
}
