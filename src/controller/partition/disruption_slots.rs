//! Permission to evict a ready pod, of which each set has as many as it has partitions that may be unavailable. A pod is
//! evicted for an edited template, which the set gives to few partitions at a time, but also for edited labels of
//! Partitions and a new version of the controller, which concern all of them at once.
//!
//! Nothing is reserved beyond the one eviction that is under way. All else follows from the pods as they are, so a
//! partition that is deleted, paused or handed over to another controller leaves nothing behind that others wait for.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::api::names::ObjectKey;

/// When to try again to acquire a slot, if no event comes before.
const TRY_AGAIN: Duration = Duration::from_secs(60);

/// The partitions of a set.
pub(super) struct SetState {
    pub(super) partitions: BTreeMap<i64, State>,
    /// How many of them may be unavailable at a time.
    pub(super) limit: usize,
}

/// The pods of one partition, as far as it matters to the other partitions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct State {
    /// Whether all pods that there should be are ready.
    pub(super) whole: bool,
    /// Whether a pod of it is being evicted.
    pub(super) evicting: bool,
    /// How much longer its most recent pod has to be ready before it counts.
    pub(super) available_in: Option<Duration>,
    /// Whether it has ready pods to replace, and if so, whether its roll has begun.
    pub(super) demand: Option<Demand>,
}

/// In the order in which slots are given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Demand {
    /// Some pods have the current template already.
    ToGoOn,
    /// None has.
    ToBegin,
}

impl State {
    fn is_available(&self) -> bool {
        self.whole && !self.evicting && self.available_in.is_none()
    }
}

/// The partitions that may give up a ready pod, of those in `states`: together with those that are not available, at
/// most `most`. One that has begun goes on before another begins, else the lowest goes first.
fn permitted(states: &BTreeMap<i64, State>, most: usize) -> Vec<i64> {
    let unavailable = states.values().filter(|state| !state.is_available()).count();
    let demanding = states.iter().filter(|(_, state)| state.is_available());
    let mut demanding: Vec<(Demand, i64)> =
        demanding.filter_map(|(index, state)| Some((state.demand?, *index))).collect();
    demanding.sort_unstable();
    demanding.into_iter().take(most.saturating_sub(unavailable)).map(|(_, index)| index).collect()
}

/// The evictions of ready pods that are under way, and the partitions that wait for a slot. The latter may be lost: they
/// try again.
#[derive(Debug, Default)]
pub(super) struct DisruptionSlots(Mutex<HashMap<ObjectKey, OfSet>>);

#[derive(Debug, Default)]
pub(super) struct OfSet {
    pub(super) evicting: BTreeSet<i64>,
    pub(super) waiting: BTreeSet<i64>,
}

/// A slot for one eviction, until it is dropped.
#[derive(Debug)]
pub(super) struct Slot<'a> {
    slots: &'a DisruptionSlots,
    set: ObjectKey,
    index: i64,
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        self.slots.change(&self.set, |of_set| of_set.evicting.remove(&self.index));
    }
}

/// There is no slot now; when to try again at the latest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NoSlot(pub(super) Duration);

impl DisruptionSlots {
    /// A slot for a partition of `set`, if so many other partitions are available. `read` is called while nothing else can
    /// acquire one: two partitions must not see the same state.
    pub(super) fn try_acquire(
        &self,
        set: &ObjectKey,
        index: i64,
        read: impl FnOnce(&OfSet) -> SetState,
    ) -> Result<Slot<'_>, NoSlot> {
        let mut all = self.lock();
        let of_set = all.entry(set.clone()).or_default();
        of_set.waiting.insert(index);
        let SetState { partitions, limit } = read(of_set);
        if permitted(&partitions, limit).contains(&index) {
            of_set.waiting.remove(&index);
            of_set.evicting.insert(index);
            return Ok(Slot { slots: self, set: set.clone(), index });
        }
        let next = partitions.values().filter_map(|state| state.available_in).min();
        Err(NoSlot(next.map_or(TRY_AGAIN, |next| next.min(TRY_AGAIN))))
    }

    /// A partition waits no more, or is about to try again.
    pub(super) fn stop_waiting(&self, set: &ObjectKey, index: i64) {
        self.change(set, |of_set| of_set.waiting.remove(&index));
    }

    pub(super) fn has_waiting(&self, set: &ObjectKey) -> bool {
        self.lock().get(set).is_some_and(|of_set| !of_set.waiting.is_empty())
    }

    /// The waiting partitions of `set` that would acquire a slot now. Nothing is read if none waits.
    pub(super) fn acquirable(&self, set: &ObjectKey, read: impl FnOnce(&OfSet) -> SetState) -> Vec<i64> {
        let all = self.lock();
        let Some(of_set) = all.get(set).filter(|of_set| !of_set.waiting.is_empty()) else { return Vec::new() };
        let SetState { partitions, limit } = read(of_set);
        let permitted = permitted(&partitions, limit).into_iter();
        permitted.filter(|index| of_set.waiting.contains(index)).collect()
    }

    fn change(&self, set: &ObjectKey, change: impl FnOnce(&mut OfSet) -> bool) {
        let mut all = self.lock();
        let Some(of_set) = all.get_mut(set) else { return };
        change(of_set);
        if of_set.evicting.is_empty() && of_set.waiting.is_empty() {
            all.remove(set);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ObjectKey, OfSet>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Partitions 1, 2, ... by words: `down`, `not-yet`, `evicting`, `outdated`, `begun`.
    fn states(partitions: &[&str]) -> BTreeMap<i64, State> {
        let state = |words: &&str| {
            let has = |word| words.split(' ').any(|given| given == word);
            State {
                whole: !has("down"),
                evicting: has("evicting"),
                available_in: has("not-yet").then_some(Duration::from_secs(3)),
                demand: has("begun").then_some(Demand::ToGoOn).or(has("outdated").then_some(Demand::ToBegin)),
            }
        };
        (1..).zip(partitions.iter().map(state)).collect()
    }

    fn may_go(partitions: &[&str], most: usize) -> Vec<i64> {
        permitted(&states(partitions), most)
    }

    #[test]
    fn so_many_give_up_pods_at_a_time_and_the_lowest_first() {
        let all = ["outdated", "outdated", "", "outdated"];
        assert_eq!(may_go(&all, 1), [1]);
        assert_eq!(may_go(&all, 2), [1, 2]);
        assert_eq!(may_go(&["", "", ""], 2), [0_i64; 0]);
    }

    #[test]
    fn one_that_has_begun_goes_on_before_another_begins() {
        assert_eq!(may_go(&["outdated", "begun", "outdated"], 1), [2]);
        assert_eq!(may_go(&["outdated", "begun", "outdated"], 2), [2, 1]);
    }

    #[test]
    fn partitions_that_are_not_available_count_whatever_the_reason() {
        for other in ["down", "not-yet", "evicting", "begun evicting", "begun down"] {
            assert_eq!(may_go(&["outdated", other], 1), [0_i64; 0], "{other}");
            assert_eq!(may_go(&["outdated", other], 2), [1], "{other}");
        }
    }

    #[test]
    fn a_slot_ends_with_the_eviction_and_leaves_nothing_behind() {
        let (slots, set) = (DisruptionSlots::default(), ObjectKey::new("n", "g"));
        let read = |partitions: &'static [&str]| move |_: &OfSet| SetState { partitions: states(partitions), limit: 1 };
        let slot = slots.try_acquire(&set, 2, read(&["", "outdated"])).unwrap();
        assert!(!slots.has_waiting(&set));
        drop(slot);
        assert!(slots.lock().is_empty());
        assert!(slots.try_acquire(&set, 2, read(&["down", "outdated"])).is_err());
        assert!(slots.has_waiting(&set));
        assert_eq!(slots.acquirable(&set, read(&["", "outdated"])), [2]);
        slots.stop_waiting(&set, 2);
        assert!(slots.lock().is_empty());
    }
}
