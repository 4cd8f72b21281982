//! The Secret with the CA, or with the provided certificate.

use std::time::SystemTime;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;

use super::super::observation::Observation;
use super::super::report::{Diagnosis, Problem};
use super::time;
use crate::tls::authority::{Authority, Phase};
use crate::tls::source::{Found, Material, Pair, Source};
use crate::tls::stored::{self, Damage};
use crate::tls::{Mode, Names};

/// The authority in the Secret of self-signed certificates.
pub(super) fn authority(observed: &Observation, names: &Names) -> Option<Authority> {
    let secret = observed.secret.found().filter(|_| observed.mode == Mode::SelfSigned)?;
    stored::diagnose(secret.data.as_ref()?, names).authority
}

pub(super) fn diagnose(observed: &Observation, names: &Names, now: SystemTime) -> Diagnosis {
    let namespace = names.namespace();
    match &observed.mode {
        Mode::SelfSigned => {
            let name = names.secret();
            let secret = observed.secret.or_problem(|| {
                let remedy = format!(
                    "put it back, empty, and the controller fills it: kubectl -n {namespace} create secret generic {name}"
                );
                Problem::failed(format!("there is no Secret {name} in {namespace}"), remedy)
            })?;
            self_signed(secret, names, now)
        }
        Mode::Provided(Source::Files(directory)) => {
            Err(Problem::skipped(format!("certificates are in files of the pods, in {}", directory.display())))
        }
        Mode::Provided(source) => {
            let secret = observed.secret.or_problem(|| {
                let remedy = "see what is to make it; with cert-manager: kubectl describe certificate";
                Problem::failed(format!("there is no {source} in {namespace}"), remedy)
            })?;
            provided(secret, now)
        }
    }
}

fn self_signed(secret: &Secret, names: &Names, now: SystemTime) -> Diagnosis {
    let found = stored::diagnose(secret.data.as_ref().unwrap_or(&stored::Data::new()), names);
    let name = names.secret();
    let message = match (found.damage, found.authority) {
        (Some(Damage::Empty), _) => format!("{name} is empty"),
        (Some(damage), _) => format!("{name} is damaged: {damage}"),
        (None, Some(authority)) if authority.is_valid_at(now) => {
            let phase = match authority.phase {
                Phase::Stable => "stable",
                Phase::Published { .. } => "the next one is published",
                Phase::Promoted { .. } => "the one before it is still trusted",
            };
            let (generation, until) = (authority.current.generation, time(authority.current.not_after));
            return Ok(format!("{name} holds CA {generation}, {phase}, valid until {until}"));
        }
        (None, authority) => {
            let until = authority.map(|authority| time(authority.current.not_after)).unwrap_or_default();
            format!("the CA in {name} is not valid now; it was until {until}")
        }
    };
    let remedy = "a controller that runs writes a good CA to it within seconds: see whether a pod does, and its log";
    Err(Problem::failed(message, remedy))
}

fn provided(secret: &Secret, now: SystemTime) -> Diagnosis {
    let part = |key: &str| secret.data.as_ref()?.get(key).map(|ByteString(value)| value.clone());
    let found = Found { certificate: part("tls.crt"), key: part("tls.key"), ca: part("ca.crt") };
    let name = secret.metadata.name.as_deref().unwrap_or_default();
    let pair = Pair::of(&found, now).map_err(|error| {
        let remedy = "see what makes it; with cert-manager: kubectl describe certificate";
        Problem::failed(format!("{name} cannot be used: {error}"), remedy)
    })?;
    Ok(format!("{name} holds a pair that is valid until {}", time(pair.not_after())))
}
