//! Keeps the CA bundles of one webhook configuration as the CA in use wants them, and repairs them when another client
//! changes them.
//!
//! Every replica does so, without a leader. Before each write the replica reads the Secret, and the write names the version
//! of the configuration that was seen: a replica that has not seen the latest step of a rotation yet does not undo it.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::authority::Authority;
use super::managers::{label_of, last_writer};
use super::secret_events::SecretEvents;
use super::stored;
use crate::api_error::{Class, classify};
use crate::backoff::Backoff;
use crate::calls::within;
use crate::events::Severity;
use crate::throttle::Throttle;
use crate::tls::context::{Context, RETRY, WRITES};
use crate::tls::metrics::RepairLabels;
use crate::tls::trust::{self, Bundles, Configuration, Trust};

/// Longest that one call may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// Wait for the event of a later state of the Secret than is in memory.
const CATCH_UP: Duration = Duration::from_millis(200);

/// The task that looks after one webhook configuration.
pub(super) struct Keeper<K: Configuration> {
    context: Arc<Context>,
    configurations: Api<K>,
    authority: watch::Receiver<Option<Arc<Authority>>>,
    trust: watch::Sender<Trust>,
    events: SecretEvents,
    /// The configuration as last seen; none before that, or if it is missing.
    seen: Option<K>,
    /// The bundle that the configuration had when it was last in sync.
    last_in_sync: Option<String>,
    writes: Throttle,
    backoff: Backoff,
}

impl<K: Configuration> Keeper<K> {
    pub(super) fn new(
        context: Arc<Context>,
        authority: watch::Receiver<Option<Arc<Authority>>>,
        trust: watch::Sender<Trust>,
        events: SecretEvents,
    ) -> Self {
        Self {
            configurations: Api::all_with(context.client.clone(), &()),
            context,
            authority,
            trust,
            events,
            seen: None,
            last_in_sync: None,
            writes: Throttle::new(WRITES.0, WRITES.1, Instant::now()),
            backoff: Backoff::new(RETRY.0, RETRY.1),
        }
    }

    pub(super) async fn run(mut self) {
        let mut states = trust::watch(&self.context);
        let mut wait = None;
        self.context.metrics.set_in_sync(K::ROLE, false);
        loop {
            tokio::select! {
                Some(configuration) = states.next() => self.see(configuration),
                changed = self.authority.changed() => if changed.is_err() {
                    return;
                },
                () = sleep(wait.unwrap_or_default()), if wait.is_some() => {}
            }
            wait = self.settle().await;
        }
    }

    fn see(&mut self, configuration: Option<K>) {
        if configuration.is_none() && *self.trust.borrow().live() != Bundles::Missing {
            let name = self.context.names.configuration();
            tracing::warn!(
                name,
                configuration = K::ROLE,
                "there is no such webhook configuration: nothing is validated"
            );
        }
        let live = Bundles::of(configuration.as_ref());
        self.trust.send_modify(|trust| trust.see(live, Instant::now(), self.context.periods.hold_down));
        let uid = |configuration: &Option<K>| configuration.as_ref().and_then(|object| object.meta().uid.clone());
        if uid(&configuration) != uid(&self.seen) {
            // Another object: that it has no bundle yet is no change by another client.
            self.last_in_sync = None;
        }
        self.seen = configuration;
    }

    /// Writes the bundles if they are not what they should be. Returns the time to wait before the next attempt, if there
    /// is to be one without an event.
    ///
    /// An event that was on its way when this replica wrote makes it write once in vain: the conflict makes it read.
    async fn settle(&mut self) -> Option<Duration> {
        let authority = self.authority.borrow_and_update().clone()?;
        let desired = authority.bundle();
        if self.record_sync(&desired) {
            return None;
        }
        let configuration = self.seen.clone()?;
        if let Err(wait) = self.writes.try_record(Instant::now()) {
            return Some(wait);
        }
        if self.is_outdated(&authority).await {
            return Some(CATCH_UP);
        }
        let context = Arc::clone(&self.context);
        let name = context.names.configuration();
        let patch = Patch::Apply(patch_of(&configuration, &desired));
        let parameters = PatchParams::apply(&context.names.field_manager()).force();
        match within(CALL_TIMEOUT, self.configurations.patch(name, &parameters, &patch)).await {
            Ok(written) => {
                self.report(&configuration, self.last_in_sync.as_ref() == Some(&desired), &authority);
                self.see(Some(written));
                self.record_sync(&desired);
                None
            }
            Err(error) if classify(&error) == Class::Conflict => {
                match within(CALL_TIMEOUT, trust::read(&self.configurations, name)).await {
                    Ok(read) => self.see(read),
                    Err(error) => {
                        tracing::warn!(%error, name, configuration = K::ROLE, "reading the webhook configuration");
                    }
                }
                Some(CATCH_UP)
            }
            Err(error) => {
                tracing::warn!(%error, name, configuration = K::ROLE, "setting the CA bundle; trying again");
                Some(self.backoff.pause())
            }
        }
    }

    /// Records whether the bundles are `desired`, and returns it.
    fn record_sync(&mut self, desired: &str) -> bool {
        let in_sync = self.trust.borrow().live().are(desired);
        self.context.metrics.set_in_sync(K::ROLE, in_sync);
        if in_sync {
            self.last_in_sync = Some(desired.to_owned());
            self.backoff.reset();
        }
        in_sync
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
