//! What the watches and our own writes have shown of the objects of one kind.
//!
//! A write's answer is put in at once, so that a reconciler sees its own writes; an older state that a watch delivers
//! later does not replace a newer one.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::pin::pin;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use tokio::sync::Notify;

use crate::api::names::ObjectKey;

/// Deletions that are remembered: more than can be overtaken by answers to own writes that are still under way.
const REMEMBERED: usize = 1024;

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
    relists: u64,
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

impl<T> State<T> {
    fn with_prefix(&self, namespace: &str, prefix: &str) -> Vec<(String, Arc<T>)> {
        self.objects
            .range(ObjectKey::new(namespace, prefix)..)
            .take_while(|(key, _)| key.namespace == namespace && key.name.starts_with(prefix))
            .map(|(key, known)| (key.name.clone(), Arc::clone(&known.value)))
            .collect()
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
            state: RwLock::new(State { objects: BTreeMap::new(), gone: Gone::default(), relists: 0 }),
            changed: Notify::new(),
        }
    }
}

impl<T> Cache<T> {
    /// The object of that key and its version, if it is known to exist.
    pub(crate) fn get_versioned(&self, key: &ObjectKey) -> Option<(u64, Arc<T>)> {
        self.read().objects.get(key).map(|known| (known.version, Arc::clone(&known.value)))
    }

    /// The object of that key, if it is known to exist.
    pub(crate) fn get(&self, key: &ObjectKey) -> Option<Arc<T>> {
        self.read().objects.get(key).map(|known| Arc::clone(&known.value))
    }

    /// The keys of all known objects, in order.
    pub(crate) fn keys(&self) -> Vec<ObjectKey> {
        self.read().objects.keys().cloned().collect()
    }

    /// The objects of a namespace whose names start with `prefix`, by name.
    pub(crate) fn with_prefix(&self, namespace: &str, prefix: &str) -> Vec<(String, Arc<T>)> {
        self.read().with_prefix(namespace, prefix)
    }

    /// The objects of a namespace, by name, and how often [`Self::relists`] a list of the watch had been taken in then.
    pub(crate) fn of_namespace(&self, namespace: &str) -> (u64, Vec<(String, Arc<T>)>) {
        let state = self.read();
        (state.relists, state.with_prefix(namespace, ""))
    }

    /// How often a full list of no known version has been taken in. Each may have dropped what the answer to a read or
    /// a write had brought and the list, made a moment earlier, did not have; the watch brings it again.
    pub(crate) fn relists(&self) -> u64 {
        self.read().relists
    }

    /// Takes in a state of an object, unless that one or a newer one is known. Returns whether it was news: whether
    /// anything that is kept of the object has changed.
    pub(crate) fn observe(&self, key: ObjectKey, version: u64, value: T) -> bool
    where
        T: PartialEq,
    {
        let news = {
            let State { objects, gone, .. } = &mut *self.write();
            match objects.get_mut(&key) {
                Some(known) if version <= known.version => false,
                Some(known) if *known.value == value => {
                    known.version = version;
                    false
                }
                _ if gone.includes(&key, version) => false,
                _ => {
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

    /// The highest version of which anything is known.
    pub(crate) fn highest_version(&self) -> u64 {
        let state = self.read();
        let known = state.objects.values().map(|known| known.version);
        known.chain(state.gone.versions.values().copied()).max().unwrap_or_default()
    }

    /// Takes in that a list has an object in this version, the list having begun when `highest` was the highest version
    /// of which anything was known. What was known then of the object cannot be later than the list, unless the store was
    /// restored from a backup: then it is forgotten. Returns whether it was.
    pub(crate) fn believe(&self, key: &ObjectKey, version: u64, highest: u64) -> bool {
        let is_refuted = |known: u64| version < known && known <= highest;
        let State { objects, gone, .. } = &mut *self.write();
        let mut refuted = false;
        if let Some(known) = objects.get_mut(key).filter(|known| is_refuted(known.version)) {
            // What is kept of the object may be the same.
            known.version = 0;
            refuted = true;
        }
        if gone.versions.get(key).is_some_and(|known| is_refuted(*known)) {
            gone.versions.insert(key.clone(), 0);
            refuted = true;
        }
        refuted
    }

    /// Takes in that an object is gone, unless it is known to have been made again since.
    pub(crate) fn forget(&self, key: &ObjectKey, version: u64) {
        {
            let State { objects, gone, .. } = &mut *self.write();
            if objects.get(key).is_none_or(|known| known.version <= version) {
                objects.remove(key);
                gone.remember(key, version);
            }
        }
        self.changed.notify_waiters();
    }

    /// Drops everything but `kept`, after a full list of `namespace`, or of all if that is none; returns what was
    /// dropped. What is newer than the list stays, if it is known of what version that was.
    pub(crate) fn retain(
        &self,
        kept: &HashSet<ObjectKey>,
        namespace: Option<&str>,
        version: Option<u64>,
    ) -> Vec<(ObjectKey, Arc<T>)> {
        let mut dropped = Vec::new();
        {
            let State { objects, gone, relists } = &mut *self.write();
            *relists += u64::from(version.is_none());
            objects.retain(|key, known| {
                let keep = kept.contains(key)
                    || namespace.is_some_and(|listed| key.namespace != listed)
                    || version.is_some_and(|version| known.version > version);
                if !keep {
                    dropped.push((key.clone(), Arc::clone(&known.value)));
                    if let Some(version) = version {
                        gone.remember(key, version);
                    }
                }
                keep
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
