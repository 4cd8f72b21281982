//! Feeds a cache from a watch, and calls its sink with what has changed.

use std::collections::HashSet;
use std::fmt::Debug;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use futures::future::{self, select_all};
use futures::{StreamExt, TryStreamExt};
use kube::core::NamespaceResourceScope;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use prometheus_client::metrics::counter::Counter;
use serde::de::DeserializeOwned;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::api::names::ObjectKey;
use crate::api_error::message;
use crate::backoff::Backoff;
use crate::deserialize_guard::{DeserializeGuard, Unreadable};
use crate::runtime::readiness::Gate;
use crate::scope::Scope;
use crate::store::OLDER_STORE;
use crate::store::cache::{Cache, ListAge, key_of, version_in, version_of};
use crate::store::freshness::FreshnessReporter;

/// Objects of one page of the first list: bounds the memory that a start takes.
const PAGE_SIZE: u32 = 100;
/// First wait before a failed watch is restarted.
const RETRY: Duration = Duration::from_millis(800);
/// Longest such wait: the usual one, and that of a watch whose cache serves clients. Until then, changes of these objects
/// go unnoticed. Other controllers wait for up to a minute, and have many more watches.
const LONGEST_RETRY: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(1));
/// Server-side timeout, in seconds, of a watch whose cache serves clients; kube reconnects 5 s after it if the connection
/// is dead.
const SERVING_TIMEOUT: u32 = 30;
/// An interruption is logged as a warning again after so long without one.
const WARN_AGAIN: Duration = Duration::from_secs(60);

fn config(serves_clients: bool) -> watcher::Config {
    let config = watcher::Config::default().page_size(PAGE_SIZE);
    if serves_clients { config.timeout(SERVING_TIMEOUT) } else { config }
}

type Listener<T> = dyn Fn(&ObjectKey, Change<'_, T>) + Send + Sync;

/// What is kept of a watched kind, and what follows from a change.
pub(crate) struct Sink<K, T> {
    /// Reduces an object to what the cache keeps of it.
    pub(crate) keep: fn(K) -> T,
    /// Called after the cache has taken in what the watch has brought.
    pub(crate) changed: Box<Listener<T>>,
    /// Whether gRPC calls or webhooks are answered from this cache: then a broken watch is noticed and restarted sooner.
    pub(crate) serves_clients: bool,
    /// Where it is published how complete the cache is, if that is read.
    pub(crate) freshness: Option<FreshnessReporter>,
}

impl<K, T> Sink<K, T> {
    /// What is kept of a kind that only the controllers read.
    pub(crate) fn new(keep: fn(K) -> T, changed: impl Fn(&ObjectKey, Change<'_, T>) + Send + Sync + 'static) -> Self {
        Self { keep, changed: Box::new(changed), serves_clients: false, freshness: None }
    }
}

/// What a watch has brought of an object, as far as it is kept.
#[derive(Debug)]
pub(crate) enum Change<'a, T> {
    Added(&'a T),
    /// From the former state to the new one.
    Replaced(&'a T, &'a T),
    Removed(&'a T),
    /// The cache has this state already, or a later one: that of an own write, as a rule.
    Known,
}

impl<'a, T> Change<'a, T> {
    /// A part of the object's state, as it was and as it is; once if that is the same.
    pub(crate) fn each<P: PartialEq>(self, part: impl Fn(&'a T) -> Option<P>) -> impl Iterator<Item = P> {
        let (before, now) = match self {
            Self::Added(now) => (None, Some(now)),
            Self::Replaced(before, now) => (Some(before), Some(now)),
            Self::Removed(before) => (Some(before), None),
            Self::Known => (None, None),
        };
        let (before, now) = (before.and_then(&part), now.and_then(&part));
        before.filter(|before| now.as_ref() != Some(before)).into_iter().chain(now)
    }
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
pub(crate) async fn run<K, T>(
    (client, scope): (&Client, &Scope),
    labels: &str,
    (cache, errors): (&Cache<T>, &Counter),
    sink: Sink<K, T>,
    first: FirstLists,
) where
    K: Resource<Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug + Send + 'static,
    K::DynamicType: Default + Clone + Eq + std::hash::Hash + Send,
    T: PartialEq + Send + Sync,
{
    let apis = scope.apis(client);
    let missing = AtomicUsize::new(apis.len());
    let (sink, first, missing) = (&sink, &first, &missing);
    let first_list = |result: Result<(), &str>| match result {
        Err(why) => first.gate.explain(&why),
        Ok(()) if missing.fetch_sub(1, Ordering::Relaxed) == 1 => {
            sink.freshness.iter().for_each(FreshnessReporter::synced);
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
async fn follow<K, T>(
    api: Api<DeserializeGuard<K>>,
    namespace: Option<String>,
    labels: &str,
    (cache, errors): (&Cache<T>, &Counter),
    sink: &Sink<K, T>,
    first_list: impl Fn(Result<(), &str>) + Send,
) where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
    K::DynamicType: Default + Clone + Eq + std::hash::Hash + Send,
    T: PartialEq + Send + Sync,
{
    let kind = K::kind(&K::DynamicType::default()).into_owned();
    let namespace = namespace.as_deref();
    let config = config(sink.serves_clients).labels(labels);
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
    let longest = if sink.serves_clients { LONGEST_RETRY.1 } else { LONGEST_RETRY.0 };
    let mut events = events.backoff(Backoff::new(RETRY, longest)).boxed();
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
                sink.freshness.iter().for_each(|freshness| freshness.interrupted(namespace));
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
                    (sink.changed)(&key, Change::Removed(&gone));
                }
                listed = HashSet::new();
                cache.shown_whole(namespace);
                sink.freshness.iter().for_each(|freshness| freshness.confirm_complete(namespace));
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
                (sink.changed)(&key, Change::Removed(&(sink.keep)(object)));
            }
            Event::Delete(DeserializeGuard(Err(Unreadable { metadata, .. }))) => {
                let version = version_in(metadata.resource_version.as_deref());
                let key = ObjectKey::new(metadata.namespace.unwrap_or_default(), metadata.name.unwrap_or_default());
                let known = cache.get(&key);
                cache.forget(&key, version);
                // It could be read earlier.
                if let Some(kept) = known {
                    (sink.changed)(&key, Change::Removed(&kept));
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

fn take<K: ResourceExt, T: PartialEq>(
    object: DeserializeGuard<K>,
    cache: &Cache<T>,
    sink: &Sink<K, T>,
    kind: &str,
) -> Option<ObjectKey> {
    match object.0 {
        Ok(object) => {
            let (key, version) = (key_of(&object), version_of(&object));
            let before = cache.get_versioned(&key);
            if before.as_ref().is_some_and(|(known, _)| version <= *known) {
                (sink.changed)(&key, Change::Known);
                return Some(key);
            }
            if cache.observe(key.clone(), version, (sink.keep)(object))
                && let Some(now) = cache.get(&key)
            {
                let change = before.as_ref().map_or(Change::Added(&*now), |(_, before)| Change::Replaced(before, &now));
                (sink.changed)(&key, change);
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
