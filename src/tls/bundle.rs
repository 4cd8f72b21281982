//! Keeps the CA bundles of one webhook configuration as the CA in use wants them, whoever changes them.
//!
//! Every replica does it, so that it takes no leader. Before each write the Secret is looked at, and the write names the
//! version of the configuration that was judged: a replica that has not heard of the latest step of a rotation yet does
//! not undo it.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, ArcSwapOption};
use futures::StreamExt;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use kube::Api;
use kube::api::{Patch, PatchParams};
use kube::runtime::{WatchStreamExt, watcher};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::authority::Authority;
use super::backoff::{Backoff, Pace};
use super::live::{self, Configuration, Live};
use super::names::Names;
use super::news::News;
use super::stored;
use crate::api_error::{Class, classify};
use crate::calls::within;
use crate::events::Severity;
use crate::tls::metrics::{ConfigurationLabel, RepairLabels, TlsMetrics};

/// Longest that one call may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// Wait for the news that the Secret holds a later state than is in memory.
const CATCH_UP: Duration = Duration::from_millis(200);

/// Since when all bundles of a configuration are what they should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct InSync {
    bundle: String,
    since: Instant,
}

impl InSync {
    /// For how long they have been `bundle`, if they are.
    pub(super) fn time(&self, bundle: &str, now: Instant) -> Option<Duration> {
        (self.bundle == bundle).then(|| now.saturating_duration_since(self.since))
    }
}

/// What is known of a configuration, for whoever asks.
#[derive(Debug, Default)]
pub(super) struct Known {
    pub(super) live: ArcSwap<Live>,
    pub(super) in_sync: ArcSwapOption<InSync>,
}

/// The task that looks after one webhook configuration.
pub(super) struct Keeper<K: Configuration> {
    pub(super) configurations: Api<K>,
    pub(super) secrets: Api<Secret>,
    pub(super) names: Names,
    pub(super) authority: watch::Receiver<Option<Arc<Authority>>>,
    pub(super) known: Arc<Known>,
    pub(super) news: News,
    pub(super) metrics: Arc<TlsMetrics>,
}

/// What the task remembers from one look to the next.
struct Memory<K> {
    /// As last seen; none before that, or if it is missing.
    seen: Option<K>,
    /// Bundle with which everything was right before.
    right_with: Option<String>,
    pace: Pace,
    backoff: Backoff,
}

impl<K: Configuration> Keeper<K> {
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
                    Some(Ok(configuration)) => self.look(&mut memory, configuration).await,
                    Some(Err(error)) => {
                        tracing::warn!(%error, name, configuration = K::ROLE, "watching the webhook configuration");
                        continue;
                    }
                    None => return,
                },
                changed = self.authority.changed() => if changed.is_err() {
                    return;
                },
                () = sleep(wait.unwrap_or_default()), if wait.is_some() => {}
            }
            wait = self.settle(&mut memory).await;
        }
    }

    /// Takes in what the watch says. What is older than what is known was on its way when this replica wrote, or somebody
    /// has restored a backup: what the API server itself says counts.
    async fn look(&self, memory: &mut Memory<K>, configuration: Option<K>) {
        if matches!((&configuration, &memory.seen), (Some(new), Some(seen)) if is_older(new, seen)) {
            self.read(memory).await;
        } else {
            self.see(memory, configuration);
        }
    }

    /// Asks the API server itself.
    async fn read(&self, memory: &mut Memory<K>) {
        let name = self.names.configuration();
        match within(CALL_TIMEOUT, live::read(&self.configurations, name)).await {
            Ok(read) => self.see(memory, read),
            Err(error) => {
                tracing::warn!(%error, name, configuration = K::ROLE, "reading the webhook configuration");
            }
        }
    }

    fn see(&self, memory: &mut Memory<K>, configuration: Option<K>) {
        if configuration.is_none() && **self.known.live.load() != Live::Missing {
            let name = self.names.configuration();
            tracing::warn!(name, configuration = K::ROLE, "there is no such webhook configuration: nothing is judged");
        }
        self.known.live.store(Arc::new(Live::of(configuration.as_ref())));
        let uid = |configuration: &Option<K>| configuration.as_ref().and_then(|object| object.meta().uid.clone());
        if uid(&configuration) != uid(&memory.seen) {
            // Another object: that it has no bundle yet is nobody's doing.
            memory.right_with = None;
        }
        memory.seen = configuration;
    }

    /// Writes what must be written. The time to wait before another look, if there should be one by itself.
    async fn settle(&mut self, memory: &mut Memory<K>) -> Option<Duration> {
        let authority = self.authority.borrow_and_update().clone();
        let desired = authority.as_ref().map(|authority| authority.bundle());
        self.judge(memory, desired.as_deref());
        let (Some(authority), Some(desired), Some(configuration)) = (authority, desired, &memory.seen) else {
            return None;
        };
        if self.known.live.load().is(&desired) {
            return None;
        }
        if let Err(wait) = memory.pace.take(Instant::now()) {
            return Some(wait);
        }
        if self.is_outdated(&authority).await {
            return Some(CATCH_UP);
        }
        let name = self.names.configuration();
        let manager = self.names.field_manager();
        let patch = Patch::Apply(patch_of(configuration, &desired));
        let parameters = PatchParams::apply(&manager).force();
        match within(CALL_TIMEOUT, self.configurations.patch(name, &parameters, &patch)).await {
            Ok(written) => {
                self.told(configuration, memory.right_with.as_deref() == Some(&*desired), &authority);
                self.known.live.store(Arc::new(Live::of(Some(&written))));
                memory.seen = Some(written);
                self.judge(memory, Some(&desired));
                None
            }
            // Somebody has changed it meanwhile.
            Err(error) if classify(&error) == Class::Conflict => {
                self.read(memory).await;
                Some(CATCH_UP)
            }
            Err(error) => {
                tracing::warn!(%error, name, configuration = K::ROLE, "setting the CA bundle; trying again");
                Some(memory.backoff.lengthen())
            }
        }
    }

    /// Takes note of whether everything is as it should be.
    fn judge(&self, memory: &mut Memory<K>, desired: Option<&str>) {
        let desired = desired.filter(|desired| self.known.live.load().is(desired));
        let label = ConfigurationLabel { configuration: K::ROLE };
        self.metrics.bundle_in_sync.get_or_create_owned(&label).set(i64::from(desired.is_some()));
        let Some(desired) = desired else {
            self.known.in_sync.store(None);
            return;
        };
        memory.right_with = Some(desired.to_owned());
        memory.backoff.reset();
        if self.known.in_sync.load().as_ref().is_none_or(|known| known.bundle != desired) {
            let in_sync = InSync { bundle: desired.to_owned(), since: Instant::now() };
            self.known.in_sync.store(Some(Arc::new(in_sync)));
        }
    }

    /// Whether the Secret says that a rotation is further than is known here. What cannot be read says nothing.
    async fn is_outdated(&self, held: &Authority) -> bool {
        let Ok(Some(secret)) = within(CALL_TIMEOUT, self.secrets.get_opt(&self.names.secret())).await else {
            return false;
        };
        let found = stored::diagnose(&secret.data.unwrap_or_default(), &self.names);
        found.damage.is_none() && found.authority.is_some_and(|found| found.rank() > held.rank())
    }

    /// Says that the bundles were written, and who made that necessary.
    fn told(&self, found: &K, repaired: bool, authority: &Authority) {
        let (name, generation) = (self.names.configuration(), authority.current.generation);
        if !repaired {
            tracing::info!(name, configuration = K::ROLE, generation, "set the CA bundle");
            return;
        }
        let own = self.names.field_manager();
        let managers = found.meta().managed_fields.as_deref().unwrap_or_default();
        let changed_by = offender(managers, &own, found.webhooks().len());
        let manager = label_of(changed_by, &own);
        self.metrics.bundle_repairs.get_or_create(&RepairLabels { configuration: K::ROLE, manager }).inc();
        let changed_by = changed_by.unwrap_or("whoever removed it");
        tracing::info!(name, configuration = K::ROLE, generation, changed_by, "repaired the CA bundle");
        let note = format!("the {} webhook configuration had another CA bundle, by {changed_by}", K::ROLE);
        self.news.publish(Severity::Warning, "CABundleRepaired", note);
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
        // With the version, so that nothing is written over what nobody here has seen.
        "metadata": { "name": configuration.meta().name, "resourceVersion": configuration.meta().resource_version },
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

/// The manager as a label that takes few values: those that are often at work on webhook configurations have their own.
fn label_of(manager: Option<&str>, own: &str) -> &'static str {
    const KNOWN: [(&str, &str); 7] = [
        ("kubectl", "kubectl"),
        ("argocd", "argocd"),
        ("kustomize-controller", "flux"),
        ("helm-controller", "flux"),
        ("helm", "helm"),
        ("cert-manager", "cert-manager"),
        ("terraform", "terraform"),
    ];
    match manager {
        None => "unknown",
        Some(manager) if manager == own => "replica",
        Some(manager) => {
            let known = KNOWN.iter().find(|(start, _)| manager.to_ascii_lowercase().starts_with(start));
            known.map_or("other", |(_, label)| label)
        }
    }
}

fn owned_bundles(entry: &ManagedFieldsEntry) -> usize {
    let webhooks = entry.fields_v1.as_ref().and_then(|fields| fields.0.get("f:webhooks")?.as_object());
    let owned = |webhook: &&Value| webhook.pointer("/f:clientConfig/f:caBundle").is_some();
    webhooks.map_or(0, |webhooks| webhooks.values().filter(owned).count())
}

#[cfg(test)]
#[path = "bundle_tests.rs"]
mod tests;
