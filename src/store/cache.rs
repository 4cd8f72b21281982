//! What the watches and our own writes have shown of the objects of one kind.
//!
//! A write's answer is put in at once, so that a reconciler sees its own writes; an older state that a watch delivers
//! later does not replace a newer one.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::pin::pin;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use kube::ResourceExt;
use tokio::sync::Notify;

use crate::api::names::ObjectKey;

/// Deletions that are remembered: more than can be overtaken by answers to own writes that are still under way.
const REMEMBERED: usize = 1024;

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

/// How old a list is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ListAge {
    /// It shows the state in this version.
    Version(u64),
    /// It was begun when this was the highest version of which anything was known.
    BegunAt(u64),
}

/// The known objects of one kind, reduced to what is needed of them (`T`).
#[derive(Debug)]
pub(crate) struct Cache<T> {
    state: RwLock<State<T>>,
    /// Notified of every change.
    changed: Notify,
}

#[derive(Debug)]
struct State<T> {
    objects: BTreeMap<ObjectKey, Versioned<T>>,
    gone: Gone,
    /// Objects that a list of the watch lacks, with versions that are newer than the beginning of that list: each may
    /// have been created after the list, or deleted before it.
    unconfirmed: BTreeMap<ObjectKey, u64>,
    /// The first state that the watch has yet to show.
    unseen: Option<Unseen>,
}

/// A state that is known from the answer to a write or a read before the watch has shown it.
#[derive(Debug)]
struct Unseen {
    namespace: String,
    version: u64,
    since: Instant,
}

/// The last deletions and their versions. The answer to an own write may be taken in after the watch has brought the
/// object's deletion: it must not bring the object back.
#[derive(Debug, Default)]
struct Gone {
    versions: HashMap<ObjectKey, u64>,
    order: VecDeque<ObjectKey>,
}

impl Gone {
    fn remember(&mut self, key: &ObjectKey, version: u64) {
        if self.versions.insert(key.clone(), version).is_none() {
            self.order.push_back(key.clone());
        }
        while self.order.len() > REMEMBERED {
            if let Some(oldest) = self.order.pop_front() {
                self.versions.remove(&oldest);
            }
        }
    }

    fn includes(&self, key: &ObjectKey, version: u64) -> bool {
        self.versions.get(key).is_some_and(|gone| version <= *gone)
    }
}

#[derive(Debug)]
struct Versioned<T> {
    version: u64,
    value: Arc<T>,
}

impl<T> Default for Cache<T> {
    fn default() -> Self {
        Self {
            state: RwLock::new(State {
                objects: BTreeMap::new(),
                gone: Gone::default(),
                unconfirmed: BTreeMap::new(),
                unseen: None,
            }),
            changed: Notify::new(),
        }
    }
}

impl<T> Cache<T> {
    /// The object of that key and its version, if it is known to exist.
    pub(crate) fn get_versioned(&self, key: &ObjectKey) -> Option<(u64, Arc<T>)> {
        self.read().objects.get(key).map(|known| (known.version, Arc::clone(&known.value)))
    }

    /// The version of the object of that key, if it is known to exist.
    pub(crate) fn version(&self, key: &ObjectKey) -> Option<u64> {
        self.read().objects.get(key).map(|known| known.version)
    }

    /// The object of that key, if it is known to exist.
    pub(crate) fn get(&self, key: &ObjectKey) -> Option<Arc<T>> {
        self.read().objects.get(key).map(|known| Arc::clone(&known.value))
    }

    /// Calls `visit` with each known object.
    pub(crate) fn for_each(&self, mut visit: impl FnMut(&T)) {
        self.read().objects.values().for_each(|known| visit(&known.value));
    }

    /// The keys of all known objects, in order.
    pub(crate) fn keys(&self) -> Vec<ObjectKey> {
        self.read().objects.keys().cloned().collect()
    }

    /// The objects of a namespace whose names start with `prefix`, by name.
    pub(crate) fn with_prefix(&self, namespace: &str, prefix: &str) -> Vec<(String, Arc<T>)> {
        let state = self.read();
        let from = state.objects.range(ObjectKey::new(namespace, prefix)..);
        from.take_while(|(key, _)| key.namespace == namespace && key.name.starts_with(prefix))
            .map(|(key, known)| (key.name.clone(), Arc::clone(&known.value)))
            .collect()
    }

    /// The objects of a namespace that a list of the watch has dropped though they may exist: the watch or a read of the
    /// object decides.
    pub(crate) fn unconfirmed(&self, namespace: &str) -> Vec<ObjectKey> {
        let state = self.read();
        state.unconfirmed.keys().filter(|key| key.namespace == namespace).cloned().collect()
    }

    /// The version in which an object was known last, if it may exist.
    pub(crate) fn last_version(&self, key: &ObjectKey) -> Option<u64> {
        let state = self.read();
        state.objects.get(key).map(|known| known.version).or_else(|| state.unconfirmed.get(key).copied())
    }

    /// Takes in a state of an object, unless that one or a newer one is known. Returns whether it was news: whether
    /// anything that is kept of the object has changed.
    pub(crate) fn observe(&self, key: ObjectKey, version: u64, value: T) -> bool
    where
        T: PartialEq,
    {
        let news = {
            let State { objects, gone, unconfirmed, unseen } = &mut *self.write();
            let mut await_watch = || {
                let (namespace, since) = (key.namespace.clone(), Instant::now());
                unseen.get_or_insert(Unseen { namespace, version, since });
            };
            match objects.get_mut(&key) {
                Some(known) if version <= known.version => false,
                Some(known) if *known.value == value => {
                    await_watch();
                    known.version = version;
                    false
                }
                _ if gone.includes(&key, version) => false,
                _ => {
                    await_watch();
                    unconfirmed.remove(&key);
                    objects.insert(key, Versioned { version, value: Arc::new(value) });
                    true
                }
            }
        };
        if news {
            self.changed.notify_waiters();
        }
        news
    }

    /// Takes in that the watch of a namespace has shown everything until this version.
    pub(crate) fn shown(&self, namespace: &str, version: u64) {
        let is_shown = |unseen: &mut Unseen| unseen.namespace == namespace && unseen.version <= version;
        self.write().unseen.take_if(is_shown);
    }

    /// Takes in that the watch of a namespace, or of all if that is none, has shown a full list.
    pub(crate) fn shown_whole(&self, namespace: Option<&str>) {
        self.write().unseen.take_if(|unseen| namespace.is_none_or(|listed| unseen.namespace == listed));
    }

    /// How long the watch has failed to show a state that is known from a write or a read.
    pub(crate) fn lag(&self, now: Instant) -> Duration {
        self.read().unseen.as_ref().map_or(Duration::ZERO, |unseen| now.saturating_duration_since(unseen.since))
    }

    /// The highest version of which anything is known.
    pub(crate) fn highest_version(&self) -> u64 {
        let state = self.read();
        let known = state.objects.values().map(|known| known.version);
        known.chain(state.gone.versions.values().copied()).max().unwrap_or_default()
    }

    /// Whether a list that has an object in this version proves that the store was restored from a backup. The list began
    /// when `highest` was the highest version of which anything was known: what was known then of the object cannot be
    /// later than the list.
    pub(crate) fn is_contradicted(&self, key: &ObjectKey, version: u64, highest: u64) -> bool {
        let state = self.read();
        let known = state.objects.get(key).map(|known| known.version);
        known.into_iter().chain(state.gone.versions.get(key).copied()).any(|known| version < known && known <= highest)
    }

    /// Takes in that an object is gone, unless it is known to have been made again since.
    pub(crate) fn forget(&self, key: &ObjectKey, version: u64) {
        {
            let State { objects, gone, unconfirmed, .. } = &mut *self.write();
            if objects.get(key).is_none_or(|known| known.version <= version) {
                objects.remove(key);
                unconfirmed.remove(key);
                gone.remember(key, version);
            }
        }
        self.changed.notify_waiters();
    }

    /// Drops everything but `kept`, after a full list of `namespace`, or of all if that is none; returns what was
    /// dropped.
    pub(crate) fn retain(
        &self,
        kept: &HashSet<ObjectKey>,
        namespace: Option<&str>,
        age: ListAge,
    ) -> Vec<(ObjectKey, Arc<T>)> {
        let mut dropped = Vec::new();
        {
            let State { objects, gone, unconfirmed, .. } = &mut *self.write();
            if let ListAge::BegunAt(highest) = age {
                // This list would have shown them.
                unconfirmed.retain(|key, version| {
                    *version > highest || namespace.is_some_and(|listed| key.namespace != listed)
                });
            }
            objects.retain(|key, known| {
                let is_listed = kept.contains(key);
                let is_elsewhere = namespace.is_some_and(|listed| key.namespace != listed);
                let is_newer = matches!(age, ListAge::Version(version) if known.version > version);
                if is_listed || is_elsewhere || is_newer {
                    return true;
                }
                dropped.push((key.clone(), Arc::clone(&known.value)));
                match age {
                    ListAge::Version(version) => gone.remember(key, version),
                    ListAge::BegunAt(highest) if known.version > highest => {
                        unconfirmed.insert(key.clone(), known.version);
                    }
                    ListAge::BegunAt(_) => {}
                }
                false
            });
        }
        self.changed.notify_waiters();
        dropped
    }

    /// Waits until `is` is true of the object of that key, or of there being none.
    pub(crate) async fn wait_until(&self, key: &ObjectKey, is: impl Fn(Option<&T>) -> bool) {
        let mut changed = pin!(self.changed.notified());
        loop {
            // From here on no change is missed, before it is looked whether one is needed.
            changed.as_mut().enable();
            if is(self.get(key).as_deref()) {
                return;
            }
            changed.as_mut().await;
            changed.set(self.changed.notified());
        }
    }

    // A poisoned lock means that a reader or writer panicked between two consistent states: the maps are sound.
    fn read(&self) -> RwLockReadGuard<'_, State<T>> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State<T>> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[path = "cache_tests.rs"]
mod tests;
