//! What a controller remembers of each object between two reconciliations, beyond what the caches know. All of it may be
//! lost: a new process finds it out again.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::api::names::ObjectKey;

/// What is remembered, by object.
#[derive(Debug)]
pub(super) struct PerObject<T>(Mutex<HashMap<ObjectKey, T>>);

impl<T> Default for PerObject<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Default> PerObject<T> {
    /// Reads or changes what is remembered of an object.
    pub(super) fn with<R>(&self, key: &ObjectKey, work: impl FnOnce(&mut T) -> R) -> R {
        let mut all = self.lock();
        if let Some(known) = all.get_mut(key) {
            return work(known);
        }
        work(all.entry(key.clone()).or_default())
    }

    /// Reads what is remembered of an object, if anything is.
    pub(super) fn read<R>(&self, key: &ObjectKey, work: impl FnOnce(&T) -> R) -> Option<R> {
        self.lock().get(key).map(work)
    }

    /// Forgets an object that is gone.
    pub(super) fn forget(&self, key: &ObjectKey) {
        self.lock().remove(key);
    }

    // A poisoned lock means that a reader or writer panicked between two consistent states: the map is sound.
    fn lock(&self) -> MutexGuard<'_, HashMap<ObjectKey, T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
