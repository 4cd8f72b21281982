//! Reads the state of an installation, with the rights of the kubeconfig's user. Nothing is changed: the canaries are dry
//! runs.

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingWebhookConfiguration, WebhookClientConfig,
};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Secret, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::api::ListParams;
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::canary::{self, Canary};
use super::mode::mode_of;
use super::observation::{Lookup, Observation, Served, TIMEOUT, Webhook};
use super::peer;
use super::rights::Account;
use crate::api::canary::EVERYWHERE;
use crate::calls::within;
use crate::tls::source::Source;
use crate::tls::{Mode, Names};

/// Label of a namespace with its name.
const NAME_LABEL: &str = "kubernetes.io/metadata.name";
/// Default port of a webhook.
const HTTPS: i32 = 443;

/// Reads everything. `address` and `canaries_in` are the options of the command.
pub(super) async fn inspect(
    client: &Client,
    names: &Names,
    address: Option<&str>,
    canaries_in: Option<&str>,
) -> Observation {
    let (deployment, service, slices, mutating, validating) = tokio::join!(
        get::<Deployment>(client, names.namespace(), names.controller()),
        get::<Service>(client, names.namespace(), names.controller()),
        slices(client, names),
        configuration::<MutatingWebhookConfiguration>(client, names),
        configuration::<ValidatingWebhookConfiguration>(client, names),
    );
    let mode = mode_of(deployment.found());
    let configurations = [
        mutating.map(|found| {
            let webhooks = found.webhooks.into_iter().flatten();
            webhooks.map(|one| webhook(one.name, one.client_config, one.namespace_selector)).collect::<Vec<_>>()
        }),
        validating.map(|found| {
            let webhooks = found.webhooks.into_iter().flatten();
            webhooks.map(|one| webhook(one.name, one.client_config, one.namespace_selector)).collect::<Vec<_>>()
        }),
    ];
    let selected = configurations[0].found().into_iter().flatten().find_map(|webhook| webhook.namespace.as_deref());
    let account = Account {
        name: account_of(deployment.found()).unwrap_or(names.controller()),
        namespace: selected,
        mode: &mode,
    };
    let first = canaries_in.or(selected).unwrap_or(names.namespace());
    let other = canaries_in.is_none().then_some(EVERYWHERE);
    let (rights, secret, served, (canary, exempt)) = tokio::join!(
        account.missing(client, names),
        secret(client, names, &mode),
        served(names, address, service.found(), configurations[0].found()),
        canaries(client, first, other),
    );
    Observation { rights, mode, secret, service, slices, configurations, served, canary, exempt }
}

/// Result of the canaries in the namespace `first`. If the API server calls no webhook there and does in `other`: the
/// result there, and the exempt namespace.
async fn canaries(client: &Client, first: &str, other: Option<&str>) -> (canary::Verdict, Option<String>) {
    let verdict = canary::send(client, first).await;
    let Some(other) = other.filter(|other| verdict.0 == Canary::NotAsked && *other != first) else {
        return (verdict, None);
    };
    match canary::send(client, other).await {
        (Canary::NotAsked, _) => (verdict, None),
        asked => (asked, Some(first.to_owned())),
    }
}

/// The `ServiceAccount` of the Deployment's pods.
fn account_of(deployment: Option<&Deployment>) -> Option<&str> {
    deployment?.spec.as_ref()?.template.spec.as_ref()?.service_account_name.as_deref()
}

async fn get<K>(client: &Client, namespace: &str, name: &str) -> Lookup<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + std::fmt::Debug + DeserializeOwned,
{
    within(TIMEOUT, Api::<K>::namespaced(client.clone(), namespace).get_opt(name)).await.into()
}

async fn slices(client: &Client, names: &Names) -> Lookup<Vec<EndpointSlice>> {
    let slices: Api<EndpointSlice> = Api::namespaced(client.clone(), names.namespace());
    let of_service = ListParams::default().labels(&format!("kubernetes.io/service-name={}", names.controller()));
    within(TIMEOUT, slices.list(&of_service)).await.map(|list| Some(list.items)).into()
}

async fn configuration<K>(client: &Client, names: &Names) -> Lookup<K>
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned,
{
    within(TIMEOUT, Api::<K>::all_with(client.clone(), &()).get_opt(names.configuration())).await.into()
}

/// The Secret that the mode reads, if it reads one.
async fn secret(client: &Client, names: &Names, mode: &Mode) -> Lookup<Secret> {
    match mode {
        Mode::SelfSigned => get(client, names.namespace(), &names.secret()).await,
        Mode::Provided(Source::Secret(name)) => get(client, names.namespace(), name).await,
        Mode::Provided(Source::Files(_)) => Lookup::Missing,
    }
}

fn webhook(name: String, config: WebhookClientConfig, namespaces: Option<LabelSelector>) -> Webhook {
    let bundle = config.ca_bundle.map(|bundle| bundle.0).unwrap_or_default();
    let service = config.service.map(|service| (service.namespace, service.name, service.port.unwrap_or(HTTPS)));
    let wanted = namespaces.and_then(|selector| selector.match_expressions).into_iter().flatten();
    let namespace = wanted
        .filter(|expression| expression.key == NAME_LABEL && expression.operator == "In")
        .find_map(|expression| expression.values?.into_iter().next());
    Webhook { name, bundle, service, namespace }
}

async fn served(
    names: &Names,
    address: Option<&str>,
    service: Option<&Service>,
    webhooks: Option<&Vec<Webhook>>,
) -> Served {
    let is_given = address.is_some();
    let Some(address) = address.map(str::to_owned).or_else(|| address_of(service?, webhooks)) else {
        return Served::NoAddress;
    };
    match timeout(TIMEOUT, peer::chain(&address, &names.server_name())).await {
        Ok(Ok(chain)) => Served::Chain(address, chain),
        Ok(Err(error)) => Served::Unreachable { address, why: error.to_string(), is_given },
        Err(_) => Served::Unreachable { address, why: format!("no answer in {TIMEOUT:?}"), is_given },
    }
}

/// The address that the API server connects to.
fn address_of(service: &Service, webhooks: Option<&Vec<Webhook>>) -> Option<String> {
    let named = webhooks.into_iter().flatten().find_map(|webhook| webhook.service.as_ref());
    let port = named.map_or(HTTPS, |(.., port)| *port);
    let spec = service.spec.as_ref()?;
    let host = match spec.type_.as_deref() {
        Some("ExternalName") => spec.external_name.clone()?,
        _ => spec.cluster_ip.clone().filter(|address| !address.is_empty() && address != "None")?,
    };
    Some(if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") })
}
