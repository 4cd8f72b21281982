//! Sets all of whose Partitions name another controller, which writes their status then. There may be no controller of
//! that name: so this one says in the status what has become of the set, and keeps that true until another writes it.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::plan::ANOTHER_CONTROLLER;
use crate::api::PartitionSet;
use crate::api::conditions::{self, READY};
use crate::api::names::ObjectKey;

/// The sets that this controller looks after. All of it may be lost: of a set that is handed over just then, the status
/// stays as it is.
#[derive(Debug, Default)]
pub struct OwnSets(Mutex<HashSet<ObjectKey>>);

impl OwnSets {
    /// Records that this controller looks after a set.
    pub(super) fn record(&self, key: &ObjectKey) {
        let mut own = self.lock();
        if !own.contains(key) {
            own.insert(key.clone());
        }
    }

    /// Records that it does so no longer.
    pub(super) fn forget(&self, key: &ObjectKey) {
        self.lock().remove(key);
    }

    /// Whether the status of a set that is handed over is this controller's to write: it has looked after the set until
    /// now, or has written the present status after that.
    pub(super) fn may_report(&self, key: &ObjectKey, set: &PartitionSet) -> bool {
        let ready = set.status.as_ref().and_then(|status| conditions::find(&status.conditions, READY));
        ready.is_some_and(|ready| ready.reason == ANOTHER_CONTROLLER) || self.lock().contains(key)
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<ObjectKey>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_the_other_controller_says_of_a_set_is_not_overwritten() {
        let (own, key) = (OwnSets::default(), ObjectKey::new("n", "g"));
        let set = |reason: &str| -> PartitionSet {
            serde_json::from_value(json!({
                "metadata": {"name": "g"}, "spec": {"template": {"spec": {"protocol": "raft"}}},
                "status": {"conditions": [{"type": "Ready", "status": "False", "reason": reason, "message": "m",
                    "lastTransitionTime": "2020-01-01T00:00:00Z"}]},
            }))
            .unwrap()
        };
        assert!(!own.may_report(&key, &set("PartitionsNotReady")), "it has never been this controller's");
        own.record(&key);
        assert!(own.may_report(&key, &set("PartitionsNotReady")));
        own.forget(&key);
        assert!(own.may_report(&key, &set("AnotherController")), "no other controller has written it");
        assert!(!own.may_report(&key, &set("PartitionsNotReady")));
    }
}
