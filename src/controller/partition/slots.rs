//! How many partitions of one set give up pods that are ready at the same time, whatever the reason: an edited template,
//! which the set already gives to few partitions at a time, but also labels of Partitions that somebody edits and a new
//! version of the controller, which concern all of them at once.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::api::names::ObjectKey;

/// The partitions of each set that may give up pods, and those that wait for it. All of it may be lost: partitions that
/// are not whole count as well.
#[derive(Debug, Default)]
pub struct Slots(Mutex<HashMap<ObjectKey, OfSet>>);

#[derive(Debug, Default)]
struct OfSet {
    holders: BTreeSet<i64>,
    waiting: BTreeSet<i64>,
}

impl Slots {
    /// Lets partition `index` of `set` give up pods until it gives its slot back, if fewer than `most` others do or are
    /// not whole; else it waits. `broken` tells which others are not whole.
    pub(super) fn take(
        &self,
        set: &ObjectKey,
        index: i64,
        most: usize,
        broken: impl FnOnce() -> BTreeSet<i64>,
    ) -> bool {
        let mut all = self.lock();
        let OfSet { holders, waiting } = all.entry(set.clone()).or_default();
        if holders.contains(&index) {
            return true;
        }
        let taken = holders.len() < most && {
            let mut unavailable = broken();
            unavailable.extend(holders.iter().copied());
            unavailable.remove(&index);
            unavailable.len() < most
        };
        if taken {
            waiting.remove(&index);
            holders.insert(index);
        } else {
            waiting.insert(index);
        }
        taken
    }

    /// Takes in that partition `index` of `set` is whole, or gone. Returns who is to ask again: the lowest that waits.
    pub(super) fn give_back(&self, set: &ObjectKey, index: i64) -> Option<i64> {
        let mut all = self.lock();
        let OfSet { holders, waiting } = all.get_mut(set)?;
        holders.remove(&index);
        waiting.remove(&index);
        let next = waiting.first().copied();
        if holders.is_empty() && waiting.is_empty() {
            all.remove(set);
        }
        next
    }

    /// Whether partition `index` of `set` may give up pods.
    pub(super) fn holds(&self, set: &ObjectKey, index: i64) -> bool {
        self.lock().get(set).is_some_and(|slots| slots.holders.contains(&index))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ObjectKey, OfSet>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set() -> ObjectKey {
        ObjectKey::new("n", "g")
    }

    #[test]
    fn so_many_give_up_pods_at_a_time_and_the_lowest_that_waits_is_next() {
        let slots = Slots::default();
        let take = |index| slots.take(&set(), index, 2, BTreeSet::new);
        assert!(take(4) && take(2) && !take(5) && !take(3));
        assert!(take(4), "it has one already");
        assert!(slots.take(&ObjectKey::new("n", "other"), 1, 1, BTreeSet::new), "sets do not wait for each other");
        assert_eq!(slots.give_back(&set(), 4), Some(3));
        assert!(!slots.holds(&set(), 4) && take(3) && !take(5));
        assert_eq!(slots.give_back(&set(), 2), Some(5));
    }

    #[test]
    fn partitions_that_are_not_whole_for_another_reason_count() {
        let slots = Slots::default();
        assert!(!slots.take(&set(), 1, 1, || BTreeSet::from([7])));
        assert!(!slots.take(&set(), 2, 2, || BTreeSet::from([7, 8])));
        assert!(slots.take(&set(), 7, 1, || BTreeSet::from([7])), "its own state is for others to judge");
        assert!(!slots.take(&set(), 1, 1, BTreeSet::new), "it has the slot");
        assert_eq!(slots.give_back(&set(), 7), Some(1));
    }

    #[test]
    fn nothing_is_remembered_of_a_set_in_which_nobody_waits() {
        let slots = Slots::default();
        assert!(slots.take(&set(), 1, 1, BTreeSet::new) && !slots.take(&set(), 2, 1, BTreeSet::new));
        assert_eq!(slots.give_back(&set(), 1), Some(2));
        assert_eq!(slots.give_back(&set(), 2), None);
        assert!(slots.lock().is_empty());
        assert_eq!(slots.give_back(&set(), 3), None);
    }
}
