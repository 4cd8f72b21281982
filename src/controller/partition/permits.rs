//! Which partitions of a set may give up pods that are ready, whatever the reason: an edited template, which the set
//! gives to few partitions at a time, but also labels of Partitions that somebody edits and a new version of the
//! controller, which concern all of them at once.
//!
//! Nothing is reserved beyond the one eviction that is under way. All else follows from the pods as they are, so a
//! partition that is deleted, paused or handed over to another controller leaves nothing behind that others wait for.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kube::ResourceExt;

use super::super::Context;
use super::super::objects::Known;
use super::nodes::Nodes;
use super::telling;
use crate::api::labels::annotations;
use crate::api::names::{self, ObjectKey};
use crate::api::{DEFAULT_COUNT, Partition};

/// When to ask again for a permit, if no event tells that there may be one.
const ASK_AGAIN: Duration = Duration::from_secs(60);

/// The pods of one partition, as far as other partitions have to wait for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct State {
    /// Whether all pods that there should be are ready.
    whole: bool,
    /// Whether a pod of it is being evicted.
    evicting: bool,
    /// How much longer its youngest pod has to be ready before it counts.
    counts_in: Option<Duration>,
    /// Whether it would give up ready pods, and has done so already.
    asks: Option<Asks>,
}

/// In the order in which permits are given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Asks {
    /// Some pods have the current template already.
    ToGoOn,
    /// None has.
    ToBegin,
}

impl State {
    fn is_available(&self) -> bool {
        self.whole && !self.evicting && self.counts_in.is_none()
    }
}

/// The partitions that may give up a ready pod, of those in `states`: together with those that are not available, at
/// most `most`. One that has begun goes on before another begins, else the lowest goes first.
fn permitted(states: &BTreeMap<i64, State>, most: usize) -> Vec<i64> {
    let unavailable = states.values().filter(|state| !state.is_available()).count();
    let asking = states.iter().filter(|(_, state)| state.is_available());
    let mut asking: Vec<(Asks, i64)> = asking.filter_map(|(index, state)| Some((state.asks?, *index))).collect();
    asking.sort_unstable();
    asking.into_iter().take(most.saturating_sub(unavailable)).map(|(_, index)| index).collect()
}

/// The evictions of ready pods that are under way, and the partitions that wait for a permit. The latter may be lost:
/// they ask again.
#[derive(Debug, Default)]
pub struct Permits(Mutex<HashMap<ObjectKey, OfSet>>);

#[derive(Debug, Default)]
struct OfSet {
    evicting: BTreeSet<i64>,
    waiting: BTreeSet<i64>,
}

/// The permit for one eviction, until it is dropped.
#[derive(Debug)]
pub(super) struct Permit<'a> {
    permits: &'a Permits,
    set: ObjectKey,
    index: i64,
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        self.permits.change(&self.set, |of_set| of_set.evicting.remove(&self.index));
    }
}

/// There is no permit now; when to ask again at the latest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Blocked(pub Duration);

impl Permits {
    /// The permit to evict a ready pod of the partition `key`, if so many other partitions of its set are available.
    pub(super) fn acquire<'a>(&'a self, context: &Context, key: &ObjectKey) -> Result<Option<Permit<'a>>, Blocked> {
        let Some((set, index)) = names::set_of_partition(key) else { return Ok(None) };
        let most = most(context, &set);
        // Held until the permit is recorded: two partitions must not see the same state.
        let mut all = self.lock();
        let of_set = all.entry(set.clone()).or_default();
        of_set.waiting.insert(index);
        let states = states(context, &set, of_set);
        if permitted(&states, most).contains(&index) {
            of_set.waiting.remove(&index);
            of_set.evicting.insert(index);
            return Ok(Some(Permit { permits: self, set, index }));
        }
        let ripe = states.values().filter_map(|state| state.counts_in).min();
        Err(Blocked(ripe.map_or(ASK_AGAIN, |ripe| ripe.min(ASK_AGAIN))))
    }

    /// Takes in that the partition `key` waits no more, or is about to ask again.
    pub(super) fn leave(&self, key: &ObjectKey) {
        let Some((set, index)) = names::set_of_partition(key) else { return };
        self.change(&set, |of_set| of_set.waiting.remove(&index));
    }

    /// Whether partitions of `set` wait.
    pub(super) fn are_waited_for(&self, set: &ObjectKey) -> bool {
        self.lock().get(set).is_some_and(|of_set| !of_set.waiting.is_empty())
    }

    /// Lets those of the waiting partitions of `set` ask again that may give up pods by now.
    pub(in super::super) fn wake(&self, context: &Context, set: &ObjectKey) {
        let all = self.lock();
        let Some(of_set) = all.get(set).filter(|of_set| !of_set.waiting.is_empty()) else { return };
        let permitted = permitted(&states(context, set, of_set), most(context, set));
        for index in permitted.into_iter().filter(|index| of_set.waiting.contains(index)) {
            context.partitions.now(ObjectKey::new(set.namespace.as_str(), names::partition(&set.name, index)));
        }
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

/// How many partitions of a set may be unavailable at a time.
fn most(context: &Context, set: &ObjectKey) -> usize {
    let most = context.caches.sets.get(set).and_then(|set| set.spec.max_unavailable_partitions);
    usize::try_from(most.unwrap_or(DEFAULT_COUNT)).unwrap_or(1)
}

/// The partitions of a set as the caches have them.
fn states(context: &Context, set: &ObjectKey, OfSet { evicting, waiting }: &OfSet) -> BTreeMap<i64, State> {
    let partitions = context.caches.partitions.with_prefix(&set.namespace, &format!("{}-", set.name));
    let states = partitions.into_iter().filter(|(_, known)| !known.deleting).filter_map(|(name, known)| {
        let (of, index) = names::split_partition(&name)?;
        let key = ObjectKey::new(set.namespace.as_str(), name.as_str());
        let named = known.facts.annotations().get(annotations::CONTROLLER);
        let ours = named.is_none_or(|named| context.settings.is_identity(named));
        (of == set.name).then(|| {
            let nodes = super::gather(context, &key, &known.facts);
            (index, state(&nodes, &known, (ours, evicting.contains(&index), waiting.contains(&index))))
        })
    });
    states.collect()
}

/// One that another controller runs counts as long as pods of it are down, and has no other claim.
fn state(nodes: &Nodes, known: &Known<Partition>, (ours, evicting, waiting): (bool, bool, bool)) -> State {
    let whole = nodes.is_whole();
    if !ours {
        return State { whole, evicting, ..State::default() };
    }
    let asks = nodes.outdated() > 0 && (waiting || !telling::is_obstructed(&known.facts));
    let as_what = if nodes.is_mixed() { Asks::ToGoOn } else { Asks::ToBegin };
    State {
        whole,
        evicting,
        counts_in: super::rolling::youngest(nodes).map(|(_, left)| left),
        asks: asks.then_some(as_what),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Partitions 1, 2, ... by words: `down`, `young`, `evicting`, `outdated`, `begun`.
    fn states(partitions: &[&str]) -> BTreeMap<i64, State> {
        let state = |words: &&str| {
            let has = |word| words.split(' ').any(|given| given == word);
            State {
                whole: !has("down"),
                evicting: has("evicting"),
                counts_in: has("young").then_some(Duration::from_secs(3)),
                asks: has("begun").then_some(Asks::ToGoOn).or(has("outdated").then_some(Asks::ToBegin)),
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
        for other in ["down", "young", "evicting", "begun evicting", "begun down"] {
            assert_eq!(may_go(&["outdated", other], 1), [0_i64; 0], "{other}");
            assert_eq!(may_go(&["outdated", other], 2), [1], "{other}");
        }
    }

    #[test]
    fn a_permit_ends_with_the_eviction_and_leaves_nothing_behind() {
        let (permits, set) = (Permits::default(), ObjectKey::new("n", "g"));
        permits.lock().entry(set.clone()).or_default().evicting.insert(4);
        drop(Permit { permits: &permits, set: set.clone(), index: 4 });
        assert!(permits.lock().is_empty());
        permits.lock().entry(set.clone()).or_default().waiting.insert(2);
        assert!(permits.are_waited_for(&set));
        permits.leave(&ObjectKey::new("n", "g-2"));
        assert!(permits.lock().is_empty());
    }
}
