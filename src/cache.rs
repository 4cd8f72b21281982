//! What the watches and our own writes have shown of the objects of one kind.
//!
//! A write's answer is put in at once, so that a reconciler sees its own writes; an older state that a watch delivers
//! later does not replace a newer one.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::api::names::ObjectKey;

/// Deletions that are remembered: more than can be overtaken by answers to own writes that are still under way.
const REMEMBERED: usize = 1024;

/// The known objects of one kind, reduced to what is needed of them (`T`).
#[derive(Debug)]
pub struct Cache<T>(RwLock<State<T>>);

#[derive(Debug)]
struct State<T> {
    objects: BTreeMap<ObjectKey, Versioned<T>>,
    gone: Gone,
}

/// The last deletions and their versions. The answer to an own write may be taken in after the watch has told of the
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
        Self(RwLock::new(State { objects: BTreeMap::new(), gone: Gone::default() }))
    }
}

impl<T> Cache<T> {
    /// The object of that key, if it is known to exist.
    #[must_use]
    pub fn get(&self, key: &ObjectKey) -> Option<Arc<T>> {
        self.read().objects.get(key).map(|known| Arc::clone(&known.value))
    }

    /// The objects of a namespace whose names start with `prefix`, by name.
    #[must_use]
    pub fn with_prefix(&self, namespace: &str, prefix: &str) -> Vec<(String, Arc<T>)> {
        let from = ObjectKey::new(namespace, prefix);
        self.read()
            .objects
            .range(from..)
            .take_while(|(key, _)| key.namespace == namespace && key.name.starts_with(prefix))
            .map(|(key, known)| (key.name.clone(), Arc::clone(&known.value)))
            .collect()
    }

    /// Takes in a state of an object, unless that one or a newer one is known. Returns whether it was news.
    pub fn observe(&self, key: ObjectKey, version: u64, value: T) -> bool {
        let State { objects, gone } = &mut *self.write();
        let news = objects.get(&key).is_none_or(|known| known.version < version) && !gone.includes(&key, version);
        if news {
            objects.insert(key, Versioned { version, value: Arc::new(value) });
        }
        news
    }

    /// Takes in that an object is gone, unless it is known to have been made again since.
    pub fn forget(&self, key: &ObjectKey, version: u64) {
        let State { objects, gone } = &mut *self.write();
        if objects.get(key).is_none_or(|known| known.version <= version) {
            objects.remove(key);
            gone.remember(key, version);
        }
    }

    /// Drops everything but `kept`, after a full list; returns what was dropped.
    pub fn retain(&self, kept: &HashSet<ObjectKey>) -> Vec<(ObjectKey, Arc<T>)> {
        let mut dropped = Vec::new();
        self.write().objects.retain(|key, known| {
            let keep = kept.contains(key);
            if !keep {
                dropped.push((key.clone(), Arc::clone(&known.value)));
            }
            keep
        });
        dropped
    }

    // A poisoned lock means that a reader or writer panicked between two consistent states: the maps are sound.
    fn read(&self) -> RwLockReadGuard<'_, State<T>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State<T>> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> ObjectKey {
        ObjectKey::new("ns", name)
    }

    #[test]
    fn an_older_state_does_not_replace_a_newer_one() {
        let cache = Cache::default();
        cache.observe(key("a"), 5, "own write");
        cache.observe(key("a"), 4, "late watch event");
        cache.forget(&key("a"), 3);
        assert_eq!(cache.get(&key("a")).as_deref(), Some(&"own write"));
        cache.forget(&key("a"), 6);
        assert_eq!(cache.get(&key("a")), None);
    }

    #[test]
    fn a_late_answer_does_not_bring_back_what_is_gone() {
        let cache = Cache::default();
        cache.observe(key("a"), 4, "old");
        cache.forget(&key("a"), 7);
        assert!(!cache.observe(key("a"), 6, "answer to an own write before the deletion"));
        assert_eq!(cache.get(&key("a")), None);
        assert!(cache.observe(key("a"), 8, "made again"));
    }

    #[test]
    fn only_so_many_deletions_are_remembered() {
        let cache = Cache::default();
        for version in 0..2000 {
            cache.forget(&key(&format!("a-{version}")), version);
            cache.observe(key("b"), version, ());
        }
        let state = cache.read();
        assert_eq!((state.gone.versions.len(), state.gone.order.len()), (REMEMBERED, REMEMBERED));
    }

    #[test]
    fn a_prefix_selects_within_one_namespace() {
        let cache = Cache::default();
        for name in ["x-1", "x-10", "x", "xy-1"] {
            cache.observe(key(name), 1, ());
        }
        cache.observe(ObjectKey::new("ns2", "x-2"), 1, ());
        let names: Vec<String> = cache.with_prefix("ns", "x-").into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["x-1", "x-10"]);
    }

    #[test]
    fn a_full_list_drops_what_it_lacks() {
        let cache = Cache::default();
        cache.observe(key("a"), 1, ());
        cache.observe(key("b"), 1, ());
        let dropped = cache.retain(&HashSet::from([key("a")]));
        assert_eq!(dropped.len(), 1);
        assert!(cache.get(&key("a")).is_some() && cache.get(&key("b")).is_none());
    }
}
