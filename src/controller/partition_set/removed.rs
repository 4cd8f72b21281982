//! Partitions that this controller has deleted and the caches may still have.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::api::names::ObjectKey;

/// Partitions that this controller has deleted, by uid. Until the watch shows that they are gone, nothing of theirs is
/// made anew.
#[derive(Debug, Default)]
pub struct RemovedPartitions(Mutex<HashMap<ObjectKey, String>>);

impl RemovedPartitions {
    pub(super) fn record(&self, key: ObjectKey, uid: String) {
        self.lock().insert(key, uid);
    }

    /// Whether the Partition of that uid has been deleted.
    pub(in super::super) fn contains(&self, key: &ObjectKey, uid: &str) -> bool {
        self.lock().get(key).is_some_and(|removed| removed == uid)
    }

    /// Forgets a Partition that is gone.
    pub(in super::super) fn forget(&self, key: &ObjectKey) {
        self.lock().remove(key);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ObjectKey, String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
