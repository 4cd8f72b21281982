//! Looks at everything, with the rights of whoever asks. Nothing is changed: the canaries are dry runs.

use std::time::Duration;

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
use super::peer;
use super::rights::Account;
use super::seen::{Look, Seen, Served, Webhook, mode_of};
use crate::api::canary::EVERYWHERE;
use crate::calls::within;
use crate::tls::source::Source;
use crate::tls::{Mode, Names};

/// Longest that anything is waited for.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// Label that a namespace has with its name.
const NAME_LABEL: &str = "kubernetes.io/metadata.name";
/// Port of a webhook that names none.
const HTTPS: i32 = 443;

/// Looks. `address` and `canaries_in` are what the person said, if anything.
pub async fn gather(client: &Client, names: &Names, address: Option<&str>, canaries_in: Option<&str>) -> Seen {
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
            webhooks.map(|one| read(one.name, one.client_config, one.namespace_selector)).collect::<Vec<_>>()
        }),
        validating.map(|found| {
            let webhooks = found.webhooks.into_iter().flatten();
            webhooks.map(|one| read(one.name, one.client_config, one.namespace_selector)).collect::<Vec<_>>()
        }),
    ];
    let judged = configurations[0].found().into_iter().flatten().find_map(|webhook| webhook.namespace.as_deref());
    let account =
        Account { name: account_of(deployment.found()).unwrap_or(names.controller()), namespace: judged, mode: &mode };
    let first = canaries_in.or(judged).unwrap_or(names.namespace());
    // Where a person has named a namespace, that one is meant.
    let other = canaries_in.is_none().then_some(EVERYWHERE);
    let (rights, secret, served, (canary, exempt)) = tokio::join!(
        account.missing(client, names),
        secret(client, names, &mode),
        served(names, address, service.found(), configurations[0].found()),
        canaries(client, first, other),
    );
    Seen { rights, mode, secret, service, slices, configurations, served, canary, exempt }
}

/// What the API server says in the namespace `first`; if no webhook is asked there and those of `other` are, what it says
/// there, and of which namespace it does not ask.
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

/// The `ServiceAccount` of its pods.
fn account_of(deployment: Option<&Deployment>) -> Option<&str> {
    deployment?.spec.as_ref()?.template.spec.as_ref()?.service_account_name.as_deref()
}

async fn get<K>(client: &Client, namespace: &str, name: &str) -> Look<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + std::fmt::Debug + DeserializeOwned,
{
    within(PATIENCE, Api::<K>::namespaced(client.clone(), namespace).get_opt(name)).await.into()
}

async fn slices(client: &Client, names: &Names) -> Look<Vec<EndpointSlice>> {
    let slices: Api<EndpointSlice> = Api::namespaced(client.clone(), names.namespace());
    let of_service = ListParams::default().labels(&format!("kubernetes.io/service-name={}", names.controller()));
    within(PATIENCE, slices.list(&of_service)).await.map(|list| Some(list.items)).into()
}

async fn configuration<K>(client: &Client, names: &Names) -> Look<K>
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned,
{
    within(PATIENCE, Api::<K>::all_with(client.clone(), &()).get_opt(names.configuration())).await.into()
}

/// The Secret that the mode reads; none if it reads none.
async fn secret(client: &Client, names: &Names, mode: &Mode) -> Look<Secret> {
    match mode {
        Mode::SelfSigned => get(client, names.namespace(), &names.secret()).await,
        Mode::Provided(Source::Secret(name)) => get(client, names.namespace(), name).await,
        Mode::Provided(Source::Files(_)) => Look::Missing,
    }
}

fn read(name: String, config: WebhookClientConfig, namespaces: Option<LabelSelector>) -> Webhook {
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
    let told = address.is_some();
    let Some(address) = address.map(str::to_owned).or_else(|| address_of(service?, webhooks)) else {
        return Served::NoAddress;
    };
    match timeout(PATIENCE, peer::chain(&address, &names.server_name())).await {
        Ok(Ok(chain)) => Served::Chain(address, chain),
        Ok(Err(error)) => Served::Unreachable { address, why: error.to_string(), told },
        Err(_) => Served::Unreachable { address, why: format!("no answer in {PATIENCE:?}"), told },
    }
}

/// Where the API server would go.
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
