//! What it means, layer by layer. No I/O, no clock.

use std::time::SystemTime;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{Secret, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::jiff::Timestamp;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use webpki::EndEntityCert;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::canary::Canary;
use super::report::{Finding, Layer, Report};
use super::seen::{Look, Rights, Seen, Served, Webhook};
use crate::tls::authority::{Authority, Phase};
use crate::tls::source::{Found, Material, Pair, Source};
use crate::tls::stored::{self, Damage};
use crate::tls::{Mode, Names, verify};

/// What puts the objects of the manifest right.
const APPLY: &str = "apply the manifest of the controller again";
/// How kube-apiserver says that a user lacks a right.
const NO_RIGHT: &str = "cannot create resource";

/// Judges each layer.
#[must_use]
pub fn judge(seen: &Seen, names: &Names, now: SystemTime) -> Report {
    let chain = match &seen.served {
        Served::Chain(_, chain) => Some(chain.as_slice()),
        Served::Unreachable { .. } | Served::NoAddress => None,
    };
    let stored = authority(seen, names).filter(|authority| authority.is_valid_at(now));
    let bundle = |layer: Layer, configuration: &Look<Vec<Webhook>>| match configuration {
        Look::Found(webhooks) => bundles(layer, webhooks, (chain, stored.as_ref()), &seen.mode, names, now),
        Look::Missing => {
            let message = format!("there is no webhook configuration {}: no set is judged", names.configuration());
            Finding::failed(layer, message, APPLY)
        }
        Look::Forbidden(why) => forbidden(layer, why),
        Look::Failed(why) => unanswered(layer, why),
    };
    Report::of(vec![
        rights(&seen.rights),
        secret(seen, names, now),
        service(seen, names),
        certificate(&seen.served, names, now),
        bundle(Layer::MutatingBundle, &seen.configurations[0]),
        bundle(Layer::ValidatingBundle, &seen.configurations[1]),
        reachability(&seen.canary, seen.exempt.as_deref()),
    ])
}

fn forbidden(layer: Layer, why: &str) -> Finding {
    Finding::skipped(layer, format!("forbidden: {why}"))
}

fn unanswered(layer: Layer, why: &str) -> Finding {
    Finding::failed(layer, format!("the API server did not answer: {why}"), "see whether kubectl reaches it")
}

/// What the Secret of self-signed certificates holds, if that was to be seen.
fn authority(seen: &Seen, names: &Names) -> Option<Authority> {
    let secret = seen.secret.found().filter(|_| seen.mode == Mode::SelfSigned)?;
    stored::diagnose(secret.data.as_ref()?, names).authority
}

fn rights(rights: &Look<Rights>) -> Finding {
    let layer = Layer::Rights;
    match rights {
        Look::Found(Rights { user, missing }) if missing.is_empty() => {
            Finding::ok(layer, format!("{user} may do what a replica needs to become ready"))
        }
        Look::Found(Rights { user, missing }) => {
            Finding::failed(layer, format!("{user} may not {}", missing.join(", ")), APPLY)
        }
        // Every API server that authorizes has it.
        Look::Missing => Finding::skipped(layer, "this API server does not review access"),
        Look::Forbidden(why) => forbidden(layer, why),
        Look::Failed(why) => unanswered(layer, why),
    }
}

fn secret(seen: &Seen, names: &Names, now: SystemTime) -> Finding {
    let layer = Layer::Secret;
    let namespace = names.namespace();
    match (&seen.mode, &seen.secret) {
        (Mode::Provided(Source::Files(directory)), _) => {
            let message = format!("certificates are in files of the pods, in {}", directory.display());
            Finding::skipped(layer, message)
        }
        (_, Look::Forbidden(why)) => forbidden(layer, why),
        (_, Look::Failed(why)) => unanswered(layer, why),
        (Mode::SelfSigned, Look::Missing) => {
            let name = names.secret();
            let remedy = format!(
                "put it back, empty, and the controller fills it: kubectl -n {namespace} create secret generic {name}"
            );
            Finding::failed(layer, format!("there is no Secret {name} in {namespace}"), remedy)
        }
        (Mode::Provided(source), Look::Missing) => {
            let remedy = "look at whoever is to make it; with cert-manager: kubectl describe certificate";
            Finding::failed(layer, format!("there is no {source} in {namespace}"), remedy)
        }
        (Mode::SelfSigned, Look::Found(secret)) => own_secret(secret, names, now),
        (Mode::Provided(_), Look::Found(secret)) => provided_secret(secret, now),
    }
}

fn own_secret(secret: &Secret, names: &Names, now: SystemTime) -> Finding {
    let layer = Layer::Secret;
    let found = stored::diagnose(secret.data.as_ref().unwrap_or(&stored::Data::new()), names);
    let remedy = "a controller that runs writes a good CA to it within seconds: see whether a pod does, and its log";
    let name = names.secret();
    match (found.damage, found.authority) {
        (Some(Damage::Empty), _) => Finding::failed(layer, format!("{name} is empty"), remedy),
        (Some(damage), _) => Finding::failed(layer, format!("{name} is damaged: {damage}"), remedy),
        (None, Some(authority)) if authority.is_valid_at(now) => {
            let phase = match authority.phase {
                Phase::Stable => "stable",
                Phase::Published { .. } => "the next one is published",
                Phase::Promoted { .. } => "the one before it is still trusted",
            };
            let (generation, until) = (authority.current.generation, time(authority.current.not_after));
            Finding::ok(layer, format!("{name} holds CA {generation}, {phase}, valid until {until}"))
        }
        (None, authority) => {
            let until = authority.map(|authority| time(authority.current.not_after)).unwrap_or_default();
            Finding::failed(layer, format!("the CA in {name} is not valid now; it was until {until}"), remedy)
        }
    }
}

fn provided_secret(secret: &Secret, now: SystemTime) -> Finding {
    let layer = Layer::Secret;
    let part = |key: &str| secret.data.as_ref()?.get(key).map(|ByteString(value)| value.clone());
    let found = Found { certificate: part("tls.crt"), key: part("tls.key"), ca: part("ca.crt") };
    let name = secret.metadata.name.as_deref().unwrap_or_default();
    match Pair::of(&found, now, &rustls::crypto::ring::default_provider()) {
        Ok(pair) => Finding::ok(layer, format!("{name} holds a pair that is valid until {}", time(pair.not_after()))),
        Err(error) => Finding::failed(
            layer,
            format!("{name} cannot be used: {error}"),
            "look at whoever makes it; with cert-manager: kubectl describe certificate",
        ),
    }
}

fn service(seen: &Seen, names: &Names) -> Finding {
    let layer = Layer::Service;
    let (name, namespace) = (names.controller(), names.namespace());
    let service = match &seen.service {
        Look::Found(service) => service,
        Look::Missing => {
            let message = format!("there is no Service {name} in {namespace}");
            return Finding::failed(layer, message, APPLY);
        }
        Look::Forbidden(why) => return forbidden(layer, why),
        Look::Failed(why) => return unanswered(layer, why),
    };
    let webhooks = seen.configurations.iter().filter_map(Look::found).flatten();
    let mut called = webhooks.filter_map(|webhook| Some((webhook, webhook.service.as_ref()?)));
    let stray = called.clone().find(|(_, (ns, other, _))| (ns.as_str(), other.as_str()) != (namespace, name));
    if let Some((webhook, (other_namespace, other, _))) = stray {
        let message = format!("webhook {} calls the Service {other} in {other_namespace}", webhook.name);
        return Finding::failed(layer, message, APPLY);
    }
    let spec = service.spec.as_ref();
    if let Some(alias) = spec.and_then(|spec| spec.external_name.as_deref()) {
        return Finding::ok(layer, format!("{name} is another name of {alias}"));
    }
    let has = |port: i32| spec.is_some_and(|spec| spec.ports.iter().flatten().any(|known| known.port == port));
    if let Some((webhook, (.., port))) = called.find(|(_, (.., port))| !has(*port)) {
        let message = format!("webhook {} calls port {port}, which {name} does not have", webhook.name);
        return Finding::failed(layer, message, APPLY);
    }
    match &seen.slices {
        Look::Found(slices) => endpoints(slices, service, names),
        Look::Forbidden(why) => Finding::skipped(layer, format!("{name} is there; its endpoints are forbidden: {why}")),
        Look::Failed(why) => unanswered(layer, why),
        Look::Missing => Finding::skipped(layer, format!("{name} is there; this cluster has no EndpointSlices")),
    }
}

fn endpoints(slices: &[EndpointSlice], service: &Service, names: &Names) -> Finding {
    let endpoints = || slices.iter().flat_map(|slice| &slice.endpoints);
    let is_ready = |ready: Option<bool>| ready.unwrap_or(true);
    let ready = endpoints()
        .filter(|endpoint| is_ready(endpoint.conditions.as_ref().and_then(|conditions| conditions.ready)))
        .map(|endpoint| endpoint.addresses.len())
        .sum::<usize>();
    let name = names.controller();
    if ready > 0 {
        return Finding::ok(Layer::Service, format!("{name} has {ready} ready endpoints"));
    }
    let selector = service.spec.as_ref().and_then(|spec| spec.selector.as_ref());
    let labels: Vec<_> = selector.into_iter().flatten().map(|(key, value)| format!("{key}={value}")).collect();
    let remedy = format!(
        "see why no pod of the controller is ready: kubectl -n {} describe pods -l {}",
        names.namespace(),
        labels.join(",")
    );
    let message = format!("{name} has no ready endpoint, of {}", endpoints().count());
    Finding::failed(Layer::Service, message, remedy)
}

fn certificate(served: &Served, names: &Names, now: SystemTime) -> Finding {
    let layer = Layer::Certificate;
    let forward = format!(
        "kubectl -n {} port-forward service/{} 9443:443, and give --address=localhost:9443",
        names.namespace(),
        names.controller()
    );
    let (address, chain) = match served {
        Served::Chain(address, chain) => (address, chain),
        Served::NoAddress => return Finding::skipped(layer, format!("it is not known where it is served; {forward}")),
        Served::Unreachable { address, why, told: true } => {
            let remedy = "see whether a pod of the controller is ready, and whether something keeps you from its port";
            return Finding::failed(layer, format!("{address}: {why}"), remedy);
        }
        Served::Unreachable { address, why, told: false } => {
            let message =
                format!("{address} cannot be reached from here ({why}). From outside of the cluster: {forward}");
            return Finding::skipped(layer, message);
        }
    };
    let remedy = "the log of the replica says why it has no other; deleting its pod makes one";
    let Some(leaf) = chain.first() else {
        return Finding::failed(layer, format!("{address} serves no certificate"), remedy);
    };
    let Ok((_, x509)) = X509Certificate::from_der(leaf) else {
        return Finding::failed(layer, format!("what {address} serves cannot be read"), remedy);
    };
    let validity = x509.validity();
    let (from, until) = (seconds(validity.not_before.timestamp()), seconds(validity.not_after.timestamp()));
    let seconds_now = Timestamp::try_from(now).map_or(0, Timestamp::as_second);
    if !(validity.not_before.timestamp()..validity.not_after.timestamp()).contains(&seconds_now) {
        let message = format!("what {address} serves is valid from {from} until {until}, not now");
        return Finding::failed(layer, message, remedy);
    }
    let name = names.server_name();
    if !is_for(leaf, &name) {
        let message = format!("what {address} serves is not for {name}");
        return Finding::failed(layer, message, "see what else answers there, and --controller-name");
    }
    Finding::ok(layer, format!("{address} serves one for {name}, valid until {until}, signed by {}", x509.issuer()))
}

fn is_for(leaf: &CertificateDer<'_>, name: &str) -> bool {
    let Ok(name) = ServerName::try_from(name) else { return false };
    EndEntityCert::try_from(leaf).is_ok_and(|leaf| leaf.verify_is_valid_for_subject_name(&name).is_ok())
}

/// By what is served, or if that is not to be seen, by what the Secret says.
fn bundles(
    layer: Layer,
    webhooks: &[Webhook],
    (chain, stored): (Option<&[CertificateDer<'_>]>, Option<&Authority>),
    mode: &Mode,
    names: &Names,
    now: SystemTime,
) -> Finding {
    let remedy = match mode {
        Mode::SelfSigned => {
            "a controller that runs sets it within two seconds: see whether a pod does, and the event CABundleRepaired, which names who changes it"
        }
        Mode::Provided(Source::Secret(_)) => {
            "see whether the configuration has the annotation cert-manager.io/inject-ca-from and cainjector runs; or write the CA into caBundle"
        }
        Mode::Provided(Source::Files(_)) => "write the CA that has signed the certificate into caBundle",
    };
    if webhooks.is_empty() {
        let message = format!("the configuration {} has no webhooks", names.configuration());
        return Finding::failed(layer, message, APPLY);
    }
    for webhook in webhooks {
        let name = &webhook.name;
        let wrong = match (chain, stored) {
            _ if !has_certificate(&webhook.bundle) => Some(verify::Error::EmptyBundle.to_string()),
            (Some(chain), _) => verify::verify(chain, &webhook.bundle, &names.server_name(), now)
                .err()
                .map(|error| format!("it does not lead to what is served: {error}")),
            (None, Some(stored)) if webhook.bundle != stored.bundle().as_bytes() => {
                Some("it is not the CA of the Secret".to_owned())
            }
            (None, _) => None,
        };
        if let Some(wrong) = wrong {
            return Finding::failed(layer, format!("caBundle of {name}: {wrong}"), remedy);
        }
    }
    let all = webhooks.len();
    match (chain, stored) {
        (Some(_), _) => Finding::ok(layer, format!("what is served verifies ({all} of {all} webhooks)")),
        (None, Some(_)) => Finding::ok(layer, format!("the CA of the Secret is trusted ({all} of {all} webhooks)")),
        (None, None) => Finding::skipped(layer, "neither certificate nor Secret could be seen to compare it with"),
    }
}

fn has_certificate(bundle: &[u8]) -> bool {
    CertificateDer::pem_slice_iter(bundle)
        .any(|certificate| certificate.is_ok_and(|certificate| webpki::anchor_from_trusted_cert(&certificate).is_ok()))
}

fn reachability((canary, why): &(Canary, Option<String>), exempt: Option<&str>) -> Finding {
    let layer = Layer::Reachability;
    let why = why.as_deref().unwrap_or_default();
    match canary {
        Canary::Proven => {
            let exempt = exempt.map_or_else(String::new, |exempt| {
                format!("; about {exempt} it does not ask them, by their namespaceSelector or an exemption of its own: sets there are judged by their schema alone")
            });
            Finding::ok(layer, format!("the API server reaches both webhooks and trusts them{exempt}"))
        }
        Canary::NotAsked if why.contains(NO_RIGHT) => forbidden(layer, why),
        Canary::NotAsked => Finding::failed(
            layer,
            format!("no webhook was asked: {why}"),
            "see that both kinds are installed, that the webhooks judge that namespace (--namespace), and what else refuses",
        ),
        Canary::Refused => Finding::failed(layer, why, hint(why)),
        Canary::Unknown => unanswered(layer, why),
    }
}

/// What to do about a webhook that kube-apiserver could not call, by its words.
fn hint(why: &str) -> &'static str {
    if why.contains("x509") {
        "see the lines about certificate and bundles"
    } else if ["no endpoints", "connection refused", "not found", "cannot route"]
        .iter()
        .any(|words| why.contains(words))
    {
        "see the line about the service, and whether a pod of the controller is ready"
    } else if why.contains("deadline exceeded") || why.contains("timeout") {
        "let the API server reach port 9443 of the pods: private clusters often need a rule of the firewall"
    } else {
        "see the log of the controller, and that of the API server"
    }
}

fn time(at: SystemTime) -> String {
    Timestamp::try_from(at).map(|at| at.to_string()).unwrap_or_default()
}

fn seconds(at: i64) -> String {
    Timestamp::from_second(at).map(|at| at.to_string()).unwrap_or_default()
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
