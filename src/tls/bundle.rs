//! Keeps the CA bundles of one webhook configuration to the CA in use, whoever changes them.

use std::fmt::Debug;
use std::pin::pin;
use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use futures::StreamExt;
use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingWebhookConfiguration, WebhookClientConfig,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use kube::api::{Patch, PatchParams};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::backoff::{Backoff, Pace};
use super::issue::Ca;
use super::names::Names;
use super::state;
use crate::metrics::{ConfigurationLabel, Metrics};

/// A webhook configuration of either kind.
pub(super) trait Configuration:
    Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static
{
    /// `mutating` or `validating`, for logs and metrics.
    const ROLE: &'static str;

    /// Names and client configurations of its webhooks.
    fn webhooks(&self) -> Vec<(&str, &WebhookClientConfig)>;
}

impl Configuration for MutatingWebhookConfiguration {
    const ROLE: &'static str = "mutating";

    fn webhooks(&self) -> Vec<(&str, &WebhookClientConfig)> {
        self.webhooks.iter().flatten().map(|webhook| (webhook.name.as_str(), &webhook.client_config)).collect()
    }
}

impl Configuration for ValidatingWebhookConfiguration {
    const ROLE: &'static str = "validating";

    fn webhooks(&self) -> Vec<(&str, &WebhookClientConfig)> {
        self.webhooks.iter().flatten().map(|webhook| (webhook.name.as_str(), &webhook.client_config)).collect()
    }
}

/// What the API server trusts, as last seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Live {
    /// Nothing was seen yet.
    #[default]
    Unknown,
    /// There is no such configuration.
    Missing,
    /// Names and CA bundles of its webhooks.
    Bundles(Vec<(String, Vec<u8>)>),
}

impl Live {
    fn of<K: Configuration>(configuration: Option<&K>) -> Self {
        configuration.map_or(Self::Missing, |configuration| {
            let bundle = |config: &WebhookClientConfig| config.ca_bundle.clone().map(|bundle| bundle.0);
            let webhooks = configuration.webhooks().into_iter();
            Self::Bundles(
                webhooks.map(|(name, config)| (name.to_owned(), bundle(config).unwrap_or_default())).collect(),
            )
        })
    }

    fn is(&self, desired: &str) -> bool {
        matches!(self, Self::Bundles(bundles) if bundles.iter().all(|(_, bundle)| bundle == desired.as_bytes()))
    }
}

/// The task that looks after one webhook configuration.
pub(super) struct Keeper<K: Configuration> {
    pub(super) configurations: Api<K>,
    pub(super) names: Names,
    pub(super) ca: watch::Receiver<Option<Arc<Ca>>>,
    pub(super) live: Arc<ArcSwap<Live>>,
    pub(super) metrics: Arc<Metrics>,
}

/// What the task remembers from one look to the next.
struct Memory<K> {
    /// As last seen; none before that, or if it is missing.
    seen: Option<K>,
    /// Generation of the CA with which everything was right before.
    right_with: Option<u64>,
    pace: Pace,
    backoff: Backoff,
}

impl<K: Configuration> Keeper<K> {
    pub(super) fn new(
        client: Client,
        names: Names,
        ca: watch::Receiver<Option<Arc<Ca>>>,
        live: Arc<ArcSwap<Live>>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self { configurations: Api::all_with(client, &()), names, ca, live, metrics }
    }

    pub(super) async fn run(mut self, shutdown: CancellationToken) {
        let name = self.names.configuration().to_owned();
        let mut events = pin!(watcher::watch_object(self.configurations.clone(), &name).default_backoff());
        let mut memory =
            Memory { seen: None, right_with: None, pace: Pace::new(Instant::now()), backoff: Backoff::default() };
        let mut wait = None;
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                event = events.next() => match event {
                    Some(Ok(configuration)) => self.see(&mut memory, configuration),
                    Some(Err(error)) => {
                        tracing::warn!(%error, name, configuration = K::ROLE, "watching the webhook configuration");
                        continue;
                    }
                    None => return,
                },
                changed = self.ca.changed() => if changed.is_err() {
                    return;
                },
                () = sleep(wait.unwrap_or_default()), if wait.is_some() => {}
            }
            wait = self.settle(&mut memory).await;
        }
    }

    fn see(&self, memory: &mut Memory<K>, configuration: Option<K>) {
        if let (Some(new), Some(seen)) = (&configuration, &memory.seen)
            && is_older(new, seen)
        {
            return;
        }
        if configuration.is_none() && *self.live.load_full() != Live::Missing {
            let name = self.names.configuration();
            tracing::warn!(name, configuration = K::ROLE, "there is no such webhook configuration: nothing is judged");
        }
        self.live.store(Arc::new(Live::of(configuration.as_ref())));
        let uid = |configuration: &Option<K>| configuration.as_ref().and_then(|object| object.meta().uid.clone());
        if uid(&configuration) != uid(&memory.seen) {
            // Another object: that it has no bundle yet is nobody's doing.
            memory.right_with = None;
        }
        memory.seen = configuration;
    }

    /// Writes what must be written. The time to wait before another look, if there should be one by itself.
    async fn settle(&mut self, memory: &mut Memory<K>) -> Option<std::time::Duration> {
        let ca = self.ca.borrow_and_update().clone();
        let in_sync = self.metrics.bundle_in_sync.get_or_create_owned(&ConfigurationLabel { configuration: K::ROLE });
        let (Some(ca), Some(configuration)) = (ca, &memory.seen) else {
            in_sync.set(0);
            return None;
        };
        let desired = state::pem_of(ca.certificate());
        if self.live.load().is(&desired) {
            in_sync.set(1);
            memory.right_with = Some(ca.generation);
            memory.backoff.reset();
            return None;
        }
        in_sync.set(0);
        if let Err(wait) = memory.pace.take(Instant::now()) {
            return Some(wait);
        }
        let name = self.names.configuration();
        let repaired = memory.right_with == Some(ca.generation);
        let manager = self.names.field_manager();
        let managers = configuration.meta().managed_fields.as_deref().unwrap_or_default();
        let changed_by = offender(managers, &manager, configuration.webhooks().len());
        let changed_by = changed_by.unwrap_or("whoever removed it").to_owned();
        let patch = Patch::Apply(patch_of(configuration, &desired));
        match self.configurations.patch(name, &PatchParams::apply(&manager).force(), &patch).await {
            Ok(written) => {
                let generation = ca.generation;
                if repaired {
                    let label = ConfigurationLabel { configuration: K::ROLE };
                    self.metrics.bundle_repairs.get_or_create(&label).inc();
                    tracing::info!(name, configuration = K::ROLE, generation, changed_by, "repaired the CA bundle");
                } else {
                    tracing::info!(name, configuration = K::ROLE, generation, "set the CA bundle");
                }
                self.live.store(Arc::new(Live::of(Some(&written))));
                in_sync.set(i64::from(self.live.load().is(&desired)));
                memory.seen = Some(written);
                memory.right_with = Some(ca.generation);
                memory.backoff.reset();
                None
            }
            Err(error) => {
                memory.backoff.lengthen();
                tracing::warn!(%error, name, configuration = K::ROLE, "setting the CA bundle; trying again");
                memory.backoff.pause()
            }
        }
    }
}

/// Whether `new` is an event that was on its way when `seen` was written. Versions that are no numbers count as newer.
fn is_older<K: Configuration>(new: &K, seen: &K) -> bool {
    let version = |object: &K| object.meta().resource_version.as_deref().and_then(|text| text.parse::<u64>().ok());
    new.meta().uid == seen.meta().uid && matches!((version(new), version(seen)), (Some(new), Some(seen)) if new < seen)
}

/// The bundles and nothing else, so that this manager owns nothing else.
fn patch_of<K: Configuration>(configuration: &K, bundle: &str) -> Value {
    use base64::Engine;
    let bundle = base64::engine::general_purpose::STANDARD.encode(bundle);
    let webhooks: Vec<Value> = configuration
        .webhooks()
        .into_iter()
        .map(|(name, _)| json!({ "name": name, "clientConfig": { "caBundle": bundle } }))
        .collect();
    json!({
        "apiVersion": K::api_version(&()),
        "kind": K::kind(&()),
        "metadata": { "name": configuration.meta().name },
        "webhooks": webhooks,
    })
}

/// Who changed one of the bundles of so many `webhooks`: another manager than `own` that owns one, or `own`, that is,
/// another replica, if it owns them all. Who removed a bundle leaves no trace.
fn offender<'a>(managers: &'a [ManagedFieldsEntry], own: &str, webhooks: usize) -> Option<&'a str> {
    let is_own = |entry: &&ManagedFieldsEntry| entry.manager.as_deref() == Some(own);
    let other = managers.iter().find(|entry| !is_own(entry) && owned_bundles(entry) > 0);
    let replica = || managers.iter().filter(is_own).find(|entry| owned_bundles(entry) >= webhooks);
    other.or_else(replica)?.manager.as_deref()
}

fn owned_bundles(entry: &ManagedFieldsEntry) -> usize {
    let webhooks = entry.fields_v1.as_ref().and_then(|fields| fields.0.get("f:webhooks")?.as_object());
    let owned = |webhook: &&Value| webhook.pointer("/f:clientConfig/f:caBundle").is_some();
    webhooks.map_or(0, |webhooks| webhooks.values().filter(owned).count())
}

#[cfg(test)]
#[path = "bundle_tests.rs"]
mod tests;
