//! Feeding a cache from a watch, and telling the reconcilers what changed.

use std::collections::HashSet;
use std::fmt::Debug;

use futures::{StreamExt, TryStreamExt};
use kube::core::{DeserializeGuard, error_boundary::InvalidObject};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Resource, ResourceExt};
use serde::de::DeserializeOwned;

use crate::api::names::ObjectKey;
use crate::cache::Cache;

/// Objects of one page of the first list: bounds the memory that a start takes.
const PAGE_SIZE: u32 = 250;

/// What is kept of a watched object, and whom it concerns.
pub trait Sink<K>: Send {
    /// What the cache keeps.
    type Kept: Send + Sync;

    /// Reduces an object to what is kept of it.
    fn keep(&self, object: K) -> Self::Kept;

    /// Called after the cache has taken in that an object is there, or has changed, or is gone.
    fn changed(&self, key: &ObjectKey, kept: &Self::Kept);
}

/// Key of an object.
pub fn key_of(object: &impl ResourceExt) -> ObjectKey {
    ObjectKey::new(object.namespace().unwrap_or_default(), object.name_any())
}

/// Version of an object as a number: Kubernetes defines resource versions of one resource to be comparable so.
pub fn version_of(object: &impl ResourceExt) -> u64 {
    version_in(object.meta().resource_version.as_deref())
}

fn version_in(text: Option<&str>) -> u64 {
    text.and_then(|version| version.parse().ok()).unwrap_or_default()
}

/// Watches the objects of `api` that `labels` selects and keeps `cache` equal to them, for ever; `synced` is called
/// when the first list is in. Errors are logged and retried with back-off; an object that cannot be read is logged and
/// left out, and never stops the others.
pub async fn run<K, S>(
    api: Api<DeserializeGuard<K>>,
    labels: &str,
    cache: &Cache<S::Kept>,
    sink: S,
    synced: impl FnOnce() + Send,
) where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
    K::DynamicType: Default + Clone + Eq + std::hash::Hash + Send,
    DeserializeGuard<K>: Resource<DynamicType = K::DynamicType>,
    S: Sink<K>,
{
    let kind = K::kind(&K::DynamicType::default()).into_owned();
    let config = watcher::Config::default().page_size(PAGE_SIZE).labels(labels);
    let mut events = watcher(api, config).default_backoff().boxed();
    let mut listed = HashSet::new();
    let mut synced = Some(synced);
    loop {
        let event = match events.try_next().await {
            Ok(Some(event)) => event,
            Ok(None) => return,
            Err(error) => {
                tracing::warn!(kind, %error, "watch interrupted, retrying");
                continue;
            }
        };
        match event {
            Event::Init => listed.clear(),
            Event::InitApply(object) => {
                if let Some(key) = take(object, cache, &sink, &kind) {
                    listed.insert(key);
                }
            }
            Event::InitDone => {
                for (key, gone) in cache.retain(&listed) {
                    sink.changed(&key, &gone);
                }
                listed = HashSet::new();
                if let Some(synced) = synced.take() {
                    tracing::debug!(kind, "watch synced");
                    synced();
                }
            }
            Event::Apply(object) => drop(take(object, cache, &sink, &kind)),
            Event::Delete(DeserializeGuard(Ok(object))) => {
                let (key, version) = (key_of(&object), version_of(&object));
                cache.forget(&key, version);
                sink.changed(&key, &sink.keep(object));
            }
            Event::Delete(DeserializeGuard(Err(InvalidObject { metadata, .. }))) => {
                let version = version_in(metadata.resource_version.as_deref());
                let key = ObjectKey::new(metadata.namespace.unwrap_or_default(), metadata.name.unwrap_or_default());
                cache.forget(&key, version);
            }
        }
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
            // The echo of an own write is no news: whoever wrote it has drawn the consequences.
            if cache.observe(key.clone(), version, sink.keep(object))
                && let Some(kept) = cache.get(&key)
            {
                sink.changed(&key, &kept);
            }
            Some(key)
        }
        Err(invalid) => {
            let (namespace, name) = (invalid.metadata.namespace, invalid.metadata.name);
            tracing::warn!(kind, ?namespace, ?name, error = %invalid.error, "an object cannot be read and is left alone");
            None
        }
    }
}
