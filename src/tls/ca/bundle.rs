//! Keeps the CA bundles of one webhook configuration as the CA in use wants them, and repairs them when another client
//! changes them.
//!
//! Every replica does so, without a leader. Before each write the replica reads the Secret, and the write names the version
//! of the configuration that was seen: a replica that has not seen the latest step of a rotation yet does not undo it.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, ArcSwapOption};
use futures::StreamExt;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::{Patch, PatchParams};
use kube::runtime::{WatchStreamExt, watcher};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::authority::Authority;
use super::managers::{label_of, last_writer};
use super::secret_events::SecretEvents;
use super::stored;
use crate::api_error::{Class, classify};
use crate::backoff::Backoff;
use crate::calls::within;
use crate::events::Severity;
use crate::throttle::Throttle;
use crate::tls::Context;
use crate::tls::metrics::RepairLabels;
use crate::tls::trust::{self, Bundles, Configuration};
use crate::tls::{RETRY, WRITES};

/// Longest that one call may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// Wait for the event of a later state of the Secret than is in memory.
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

/// What is known of a configuration, for other tasks.
#[derive(Debug, Default)]
pub(super) struct Known {
    pub(super) live: ArcSwap<Bundles>,
    pub(super) in_sync: ArcSwapOption<InSync>,
}

/// The task that looks after one webhook configuration.
pub(super) struct Keeper<K: Configuration> {
    pub(super) context: Arc<Context>,
    pub(super) configurations: Api<K>,
    pub(super) authority: watch::Receiver<Option<Arc<Authority>>>,
    pub(super) known: Arc<Known>,
    pub(super) events: SecretEvents,
}

/// What the task remembers between two events.
struct Memory<K> {
    /// As last seen; none before that, or if it is missing.
    seen: Option<K>,
    /// The bundle that the configuration had when it was last in sync.
    last_in_sync: Option<String>,
    writes: Throttle,
    backoff: Backoff,
}

impl<K> Memory<K> {
    fn new(now: Instant) -> Self {
        Self {
            seen: None,
            last_in_sync: None,
            writes: Throttle::new(WRITES.0, WRITES.1, now.into()),
            backoff: Backoff::new(RETRY.0, RETRY.1),
        }
    }
}

impl<K: Configuration> Keeper<K> {
    pub(super) async fn run(mut self, shutdown: CancellationToken) {
        let name = self.context.names.configuration().to_owned();
        let mut events = pin!(watcher::watch_object(self.configurations.clone(), &name).default_backoff());
        let (mut memory, mut wait) = (Memory::new(Instant::now()), None);
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
                changed = self.authority.changed() => if changed.is_err() {
                    return;
                },
                () = sleep(wait.unwrap_or_default()), if wait.is_some() => {}
            }
            wait = self.settle(&mut memory).await;
        }
    }

    fn see(&self, memory: &mut Memory<K>, configuration: Option<K>) {
        if configuration.is_none() && **self.known.live.load() != Bundles::Missing {
            let name = self.context.names.configuration();
            tracing::warn!(
                name,
                configuration = K::ROLE,
                "there is no such webhook configuration: nothing is validated"
            );
        }
        self.known.live.store(Arc::new(Bundles::of(configuration.as_ref())));
        let uid = |configuration: &Option<K>| configuration.as_ref().and_then(|object| object.meta().uid.clone());
        if uid(&configuration) != uid(&memory.seen) {
            // Another object: that it has no bundle yet is no change by another client.
            memory.last_in_sync = None;
        }
        memory.seen = configuration;
    }

    /// Writes the bundles if they are not what they should be. Returns the time to wait before the next attempt, if there
    /// is to be one without an event.
    ///
    /// An event that was on its way when this replica wrote makes it write once in vain: the conflict makes it read.
    async fn settle(&mut self, memory: &mut Memory<K>) -> Option<Duration> {
        let authority = self.authority.borrow_and_update().clone();
        let desired = authority.as_ref().map(|authority| authority.bundle());
        self.record_sync(memory, desired.as_deref());
        let (Some(authority), Some(desired), Some(configuration)) = (authority, desired, &memory.seen) else {
            return None;
        };
        if self.known.live.load().are(&desired) {
            return None;
        }
        if let Err(wait) = memory.writes.try_record(Instant::now().into()) {
            return Some(wait);
        }
        if self.is_outdated(&authority).await {
            return Some(CATCH_UP);
        }
        let name = self.context.names.configuration();
        let manager = self.context.names.field_manager();
        let patch = Patch::Apply(patch_of(configuration, &desired));
        let parameters = PatchParams::apply(&manager).force();
        match within(CALL_TIMEOUT, self.configurations.patch(name, &parameters, &patch)).await {
            Ok(written) => {
                self.report(configuration, memory.last_in_sync.as_deref() == Some(&*desired), &authority);
                self.known.live.store(Arc::new(Bundles::of(Some(&written))));
                memory.seen = Some(written);
                self.record_sync(memory, Some(&desired));
                None
            }
            Err(error) if classify(&error) == Class::Conflict => {
                match within(CALL_TIMEOUT, trust::read(&self.configurations, name)).await {
                    Ok(read) => self.see(memory, read),
                    Err(error) => {
                        tracing::warn!(%error, name, configuration = K::ROLE, "reading the webhook configuration");
                    }
                }
                Some(CATCH_UP)
            }
            Err(error) => {
                tracing::warn!(%error, name, configuration = K::ROLE, "setting the CA bundle; trying again");
                Some(memory.backoff.pause())
            }
        }
    }

    /// Records whether the bundles are `desired`, and since when.
    fn record_sync(&self, memory: &mut Memory<K>, desired: Option<&str>) {
        let desired = desired.filter(|desired| self.known.live.load().are(desired));
        self.context.metrics.set_in_sync(K::ROLE, desired.is_some());
        let Some(desired) = desired else {
            self.known.in_sync.store(None);
            return;
        };
        memory.last_in_sync = Some(desired.to_owned());
        memory.backoff.reset();
        if self.known.in_sync.load().as_ref().is_none_or(|known| known.bundle != desired) {
            let in_sync = InSync { bundle: desired.to_owned(), since: Instant::now() };
            self.known.in_sync.store(Some(Arc::new(in_sync)));
        }
    }

    /// Whether the Secret holds a later state of a rotation than `held`. One that cannot be read does not.
    async fn is_outdated(&self, held: &Authority) -> bool {
        let Context { client, names, .. } = &*self.context;
        let secrets: Api<Secret> = Api::namespaced(client.clone(), names.namespace());
        let Ok(Some(secret)) = within(CALL_TIMEOUT, secrets.get_opt(&names.secret())).await else { return false };
        let found = stored::diagnose(&secret.data.unwrap_or_default(), names);
        found.damage.is_none() && found.authority.is_some_and(|found| found.rank() > held.rank())
    }

    /// Reports that the bundles were written, and which manager had changed them if that was a repair.
    fn report(&self, found: &K, repaired: bool, authority: &Authority) {
        let (names, generation) = (&self.context.names, authority.current.generation);
        let name = names.configuration();
        if !repaired {
            tracing::info!(name, configuration = K::ROLE, generation, "set the CA bundle");
            return;
        }
        let own = names.field_manager();
        let managers = found.meta().managed_fields.as_deref().unwrap_or_default();
        let changed_by = last_writer(managers, &own, found.webhooks().len());
        let manager = label_of(changed_by, &own);
        self.context.metrics.bundle_repairs.get_or_create(&RepairLabels { configuration: K::ROLE, manager }).inc();
        let changed_by = changed_by.unwrap_or("a client that removed it");
        tracing::info!(name, configuration = K::ROLE, generation, changed_by, "repaired the CA bundle");
        let note = format!("the {} webhook configuration had another CA bundle, by {changed_by}", K::ROLE);
        self.events.publish(Severity::Warning, "CABundleRepaired", note);
    }
}

/// The bundles and nothing else, so that this manager owns nothing else.
fn patch_of<K: Configuration>(configuration: &K, bundle: &str) -> Value {
    let bundle = ByteString(bundle.as_bytes().to_vec());
    let webhooks: Vec<Value> = configuration
        .webhooks()
        .into_iter()
        .map(|(name, _)| json!({ "name": name, "clientConfig": { "caBundle": bundle } }))
        .collect();
    json!({
        "apiVersion": K::api_version(&()),
        "kind": K::kind(&()),
        // With the version, so that no change is overwritten that this replica has not seen.
        "metadata": { "name": configuration.meta().name, "resourceVersion": configuration.meta().resource_version },
        "webhooks": webhooks,
    })
}

#[cfg(test)]
#[path = "bundle_tests.rs"]
mod tests;
