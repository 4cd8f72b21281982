//! The Service that the webhook configurations call, and its endpoints.

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;

use super::super::observation::{Lookup, Observation};
use super::super::report::{Diagnosis, Problem};
use super::APPLY;
use crate::tls::Names;

pub(super) fn diagnose(observed: &Observation, names: &Names) -> Diagnosis {
    let (name, namespace) = (names.controller(), names.namespace());
    let missing = || Problem::failed(format!("there is no Service {name} in {namespace}"), APPLY);
    let service = observed.service.or_problem(missing)?;
    let webhooks = observed.configurations.iter().filter_map(Lookup::found).flatten();
    let mut called = webhooks.filter_map(|webhook| Some((&webhook.name, webhook.service.as_ref()?)));
    let stray = called.clone().find(|(_, (ns, other, _))| (ns.as_str(), other.as_str()) != (namespace, name));
    if let Some((webhook, (other_namespace, other, _))) = stray {
        let message = format!("webhook {webhook} calls the Service {other} in {other_namespace}");
        return Err(Problem::failed(message, APPLY));
    }
    let spec = service.spec.as_ref();
    if let Some(alias) = spec.and_then(|spec| spec.external_name.as_deref()) {
        return Ok(format!("{name} is another name of {alias}"));
    }
    let has = |port: i32| spec.is_some_and(|spec| spec.ports.iter().flatten().any(|known| known.port == port));
    if let Some((webhook, (.., port))) = called.find(|(_, (.., port))| !has(*port)) {
        let message = format!("webhook {webhook} calls port {port}, which {name} does not have");
        return Err(Problem::failed(message, APPLY));
    }
    if let Lookup::Forbidden(why) = &observed.slices {
        return Err(Problem::skipped(format!("{name} is there; its endpoints are forbidden: {why}")));
    }
    let missing = || Problem::skipped(format!("{name} is there; this cluster has no EndpointSlices"));
    endpoints(observed.slices.or_problem(missing)?, service, names)
}

fn endpoints(slices: &[EndpointSlice], service: &Service, names: &Names) -> Diagnosis {
    let endpoints = || slices.iter().flat_map(|slice| &slice.endpoints);
    let is_ready = |ready: Option<bool>| ready.unwrap_or(true);
    let ready: usize = endpoints()
        .filter(|endpoint| is_ready(endpoint.conditions.as_ref().and_then(|conditions| conditions.ready)))
        .map(|endpoint| endpoint.addresses.len())
        .sum();
    let name = names.controller();
    if ready > 0 {
        return Ok(format!("{name} has {ready} ready endpoints"));
    }
    let selector = service.spec.as_ref().and_then(|spec| spec.selector.as_ref());
    let labels: Vec<_> = selector.into_iter().flatten().map(|(key, value)| format!("{key}={value}")).collect();
    let remedy = format!(
        "see why no pod of the controller is ready: kubectl -n {} describe pods -l {}",
        names.namespace(),
        labels.join(",")
    );
    Err(Problem::failed(format!("{name} has no ready endpoint, of {}", endpoints().count()), remedy))
}
