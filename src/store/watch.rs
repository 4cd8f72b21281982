//! Feeds a cache from a watch, and calls its sink with what has changed.

use std::collections::HashSet;
use std::fmt::Debug;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use futures::future::{self, select_all};
use futures::{StreamExt, TryStreamExt};
use kube::core::NamespaceResourceScope;
use kube::runtime::WatchStreamExt;
use kube::runtime::utils::Backoff;
use kube::runtime::watcher::{self, DefaultBackoff, Event, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use prometheus_client::metrics::counter::Counter;
use serde::de::DeserializeOwned;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::api::names::ObjectKey;
use crate::api_error::message;
use crate::deserialize_guard::{DeserializeGuard, Unreadable};
use crate::runtime::readiness::Gate;
use crate::scope::Scope;
use crate::store::OLDER_STORE;
use crate::store::cache::{Cache, ListAge};

/// Objects of one page of the first list: bounds the memory that a start takes.
const PAGE_SIZE: u32 = 100;
/// Longest wait before a failed watch is restarted: the usual one, and that of a watch whose cache serves clients. Until
/// then, changes of these objects go unnoticed. Other controllers wait for up to a minute, and have many more watches.
const RETRY: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(1));
/// Server-side timeout, in seconds, of a watch whose cache serves clients; kube reconnects 5 s after it if the connection
/// is dead.
const SERVING_TIMEOUT: u32 = 30;
/// An interruption is logged as a warning again after so long without one.
const WARN_AGAIN: Duration = Duration::from_secs(60);

fn backoff(serves_clients: bool) -> impl Backoff {
    AtMost(DefaultBackoff::default(), if serves_clients { RETRY.1 } else { RETRY.0 })
}

fn config(serves_clients: bool) -> watcher::Config {
    let config = watcher::Config::default().page_size(PAGE_SIZE);
    if serves_clients { config.timeout(SERVING_TIMEOUT) } else { config }
}

/// Waits of which none is longer than that.
struct AtMost(DefaultBackoff, Duration);

impl Iterator for AtMost {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        self.0.next().map(|wait| wait.min(self.1))
    }
}

impl Backoff for AtMost {
    fn reset(&mut self) {
        self.0.reset();
    }
}

/// What is kept of a watched kind, and what follows from a change.
pub(crate) trait Sink<K>: Send {
    /// What the cache keeps.
    type Kept: PartialEq + Send + Sync;

    /// Whether gRPC calls or webhooks are answered from this cache: then a broken watch is noticed and restarted sooner.
    const SERVES_CLIENTS: bool = false;

    /// Reduces an object to what is kept of it.
    fn keep(&self, object: K) -> Self::Kept;

    /// Called after the cache has taken in that an object is there, or is gone, or that what is kept of it has changed.
    fn changed(&self, key: &ObjectKey, kept: &Self::Kept);

    /// Called in its place where something was kept of the object before.
    fn replaced(&self, key: &ObjectKey, _before: &Self::Kept, kept: &Self::Kept) {
        self.changed(key, kept);
    }

    /// Called when the watch brings a state that the cache has already, or has a later one than: an own write, as a rule.
    fn known(&self, _key: &ObjectKey) {}

    /// Called when the watch of a namespace, or of all if that is none, has failed: something may be missed.
    fn interrupted(&self, _namespace: Option<&str>) {}

    /// Called when a full list of a namespace, or of all if that is none, is in.
    fn listed(&self, _namespace: Option<&str>) {}

    /// Called once, when the first list of every namespace is in.
    fn synced(&self) {}
}

/// Key of an object.
pub(crate) fn key_of(object: &impl ResourceExt) -> ObjectKey {
    ObjectKey::new(object.namespace().unwrap_or_default(), object.name_any())
}

/// Version of an object as a number: Kubernetes defines resource versions of one resource to be comparable so.
pub(crate) fn version_of(object: &impl ResourceExt) -> u64 {
    version_in(object.meta().resource_version.as_deref())
}

/// A resource version as a number; 0, older than all, if there is none.
pub(crate) fn version_in(text: Option<&str>) -> u64 {
    text.and_then(|version| version.parse().ok()).unwrap_or_default()
}

/// What waits for the first list of every namespace. The gate says why there is none yet.
pub(crate) struct FirstLists {
    pub(crate) gate: Gate,
    /// Cancelled when they are in.
    pub(crate) listed: CancellationToken,
}

/// Watches the objects of `scope` that `labels` selects and keeps `cache` equal to them. Errors are logged and retried
/// with back-off, and counted in `errors`; an object that cannot be read is logged and left out, and never stops the others.
///
/// Returns only if the store was restored from a backup. Caches that are filled anew one by one would have children go
/// and come while their owners are still those of before; a new process lists everything.
pub(crate) async fn run<K, S>(
    (client, scope): (&Client, &Scope),
    labels: &str,
    (cache, errors): (&Cache<S::Kept>, &Counter),
    sink: S,
    first: FirstLists,
) where
    K: Resource<Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug + Send + 'static,
    K::DynamicType: Default + Clone + Eq + std::hash::Hash + Send,
    S: Sink<K> + Sync,
{
    let apis = scope.apis(client);
    let missing = AtomicUsize::new(apis.len());
    let (sink, first, missing) = (&sink, &first, &missing);
    let first_list = |result: Result<(), &str>| match result {
        Err(why) => first.gate.explain(&why),
        Ok(()) if missing.fetch_sub(1, Ordering::Relaxed) == 1 => {
            sink.synced();
            first.gate.open();
            first.listed.cancel();
        }
        Ok(()) => {}
    };
    let follow = |(namespace, api)| Box::pin(follow(api, namespace, labels, (cache, errors), sink, first_list));
    select_all(apis.into_iter().map(follow)).await;
}

/// The same for one namespace, or for all if that is none. `first_list` is called with each error until the first list
/// is in, and then once more.
async fn follow<K, S>(
    api: Api<DeserializeGuard<K>>,
    namespace: Option<String>,
    labels: &str,
    (cache, errors): (&Cache<S::Kept>, &Counter),
    sink: &S,
    first_list: impl Fn(Result<(), &str>) + Send,
) where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
    K::DynamicType: Default + Clone + Eq + std::hash::Hash + Send,
    S: Sink<K>,
{
    let kind = K::kind(&K::DynamicType::default()).into_owned();
    let namespace = namespace.as_deref();
    let config = config(S::SERVES_CLIENTS).labels(labels);
    // That a list begins is no success: counted as one, a list that fails would be tried again without a pause.
    let highest = &AtomicU64::new(0);
    let goes_on = |event: &watcher::Result<Event<_>>| {
        if matches!(event, Ok(Event::Init)) {
            highest.store(cache.highest_version(), Ordering::Relaxed);
            return future::ready(false);
        }
        future::ready(true)
    };
    let events = watcher(api, config).filter(goes_on);
    let mut events = events.backoff(backoff(S::SERVES_CLIENTS)).boxed();
    let mut listed = HashSet::new();
    let mut synced = false;
    let mut failed = None;
    loop {
        let event = match events.try_next().await {
            Ok(Some(event)) => event,
            Ok(None) => return,
            Err(error) => {
                errors.inc();
                if failed.is_none_or(|at: Instant| at.elapsed() >= WARN_AGAIN) {
                    tracing::warn!(kind, namespace, %error, "watch interrupted, retrying");
                } else {
                    tracing::debug!(kind, namespace, %error, "watch still interrupted");
                }
                failed = Some(Instant::now());
                if !synced {
                    first_list(Err(&cause_of(&error)));
                }
                listed.clear();
                sink.interrupted(namespace);
                continue;
            }
        };
        match event {
            Event::Init => {}
            Event::InitApply(object) => {
                let highest = highest.load(Ordering::Relaxed);
                if cache.is_contradicted(&key_of(&object), version_of(&object), highest) {
                    tracing::error!(kind, namespace, "{OLDER_STORE}");
                    return;
                }
                if let Some(key) = take(object, cache, sink, &kind) {
                    listed.insert(key);
                }
            }
            Event::InitDone => {
                for (key, gone) in cache.retain(&listed, namespace, ListAge::BegunAt(highest.load(Ordering::Relaxed))) {
                    sink.changed(&key, &gone);
                }
                listed = HashSet::new();
                cache.shown_whole(namespace);
                sink.listed(namespace);
                if !synced {
                    tracing::debug!(kind, namespace, "watch synced");
                    synced = true;
                    first_list(Ok(()));
                }
            }
            Event::Apply(object) => {
                let shown = object.0.as_ref().ok().map(version_of);
                if let (Some(key), Some(version)) = (take(object, cache, sink, &kind), shown) {
                    cache.shown(&key.namespace, version);
                }
            }
            Event::Delete(DeserializeGuard(Ok(object))) => {
                let (key, version) = (key_of(&object), version_of(&object));
                cache.forget(&key, version);
                cache.shown(&key.namespace, version);
                sink.changed(&key, &sink.keep(object));
            }
            Event::Delete(DeserializeGuard(Err(Unreadable { metadata, .. }))) => {
                let version = version_in(metadata.resource_version.as_deref());
                let key = ObjectKey::new(metadata.namespace.unwrap_or_default(), metadata.name.unwrap_or_default());
                let known = cache.get(&key);
                cache.forget(&key, version);
                // It could be read earlier.
                if let Some(kept) = known {
                    sink.changed(&key, &kept);
                }
            }
        }
    }
}

/// The API server's own words, if it gave the error.
fn cause_of(error: &watcher::Error) -> String {
    match error {
        watcher::Error::InitialListFailed(cause)
        | watcher::Error::WatchStartFailed(cause)
        | watcher::Error::WatchFailed(cause) => message(cause).into_owned(),
        watcher::Error::WatchError(status) => status.message.clone(),
        watcher::Error::NoResourceVersion => error.to_string(),
    }
}

fn take<K, S>(object: DeserializeGuard<K>, cache: &Cache<S::Kept>, sink: &S, kind: &str) -> Option<ObjectKey>
where
    K: ResourceExt,
    S: Sink<K>,
{
    match object.0 {
        Ok(object) => {
            let (key, version) = (key_of(&object), version_of(&object));
            let before = cache.get_versioned(&key);
            if before.as_ref().is_some_and(|(known, _)| version <= *known) {
                sink.known(&key);
                return Some(key);
            }
            let before = before.map(|(_, before)| before);
            if cache.observe(key.clone(), version, sink.keep(object))
                && let Some(kept) = cache.get(&key)
            {
                match before {
                    Some(before) => sink.replaced(&key, &before, &kept),
                    None => sink.changed(&key, &kept),
                }
            }
            Some(key)
        }
        Err(unreadable) => {
            let (namespace, name) = (&unreadable.metadata.namespace, &unreadable.metadata.name);
            tracing::warn!(kind, ?namespace, ?name, error = %unreadable, "an object cannot be read and is left alone");
            None
        }
    }
}
