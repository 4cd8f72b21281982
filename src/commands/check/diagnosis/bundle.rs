//! `caBundle` of the webhooks, which has to verify what is served.

use std::time::SystemTime;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::super::observation::{Lookup, Observation, Served, Webhook};
use super::super::report::{Diagnosis, Problem};
use super::{APPLY, secret};
use crate::tls::source::Source;
use crate::tls::{Mode, Names, verify};

/// Diagnoses the webhooks of a configuration: by the served chain, or if that is not known, by the CA of the Secret.
pub(super) fn diagnose(
    configuration: &Lookup<Vec<Webhook>>,
    observed: &Observation,
    names: &Names,
    now: SystemTime,
) -> Diagnosis {
    let webhooks = configuration.or_problem(|| {
        let message =
            format!("there is no webhook configuration {}: no set is validated by a webhook", names.configuration());
        Problem::failed(message, APPLY)
    })?;
    if webhooks.is_empty() {
        let message = format!("the configuration {} has no webhooks", names.configuration());
        return Err(Problem::failed(message, APPLY));
    }
    let chain = match &observed.served {
        Served::Chain(_, chain) => Some(chain.as_slice()),
        Served::Unreachable { .. } | Served::NoAddress => None,
    };
    let stored = secret::authority(observed, names).filter(|authority| authority.is_valid_at(now));
    for Webhook { name, bundle, .. } in webhooks {
        let wrong = match (chain, &stored) {
            _ if !has_certificate(bundle) => Some(verify::Error::EmptyBundle.to_string()),
            (Some(chain), _) => verify::verify(chain, bundle, &names.server_name(), now)
                .err()
                .map(|error| format!("it does not lead to what is served: {error}")),
            (None, Some(stored)) if bundle != stored.bundle().as_bytes() => {
                Some("it is not the CA of the Secret".to_owned())
            }
            (None, _) => None,
        };
        if let Some(wrong) = wrong {
            return Err(Problem::failed(format!("caBundle of {name}: {wrong}"), remedy(&observed.mode)));
        }
    }
    let all = webhooks.len();
    match (chain, stored) {
        (Some(_), _) => Ok(format!("what is served verifies ({all} of {all} webhooks)")),
        (None, Some(_)) => Ok(format!("the CA of the Secret is trusted ({all} of {all} webhooks)")),
        (None, None) => Err(Problem::skipped("neither certificate nor Secret could be read to compare it with")),
    }
}

fn remedy(mode: &Mode) -> &'static str {
    match mode {
        Mode::SelfSigned => {
            "a controller that runs sets it within two seconds: see whether a pod does, and the event CABundleRepaired, which names who changes it"
        }
        Mode::Provided(Source::Secret(_)) => {
            "see whether the configuration has the annotation cert-manager.io/inject-ca-from and cainjector runs; or write the CA into caBundle"
        }
        Mode::Provided(Source::Files(_)) => "write the CA that has signed the certificate into caBundle",
    }
}

fn has_certificate(bundle: &[u8]) -> bool {
    CertificateDer::pem_slice_iter(bundle)
        .any(|certificate| certificate.is_ok_and(|certificate| webpki::anchor_from_trusted_cert(&certificate).is_ok()))
}
