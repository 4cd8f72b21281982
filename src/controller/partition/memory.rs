//! What is remembered of partitions between two reconciliations, beyond what the caches know. All of it may be lost: a
//! new process finds it out again.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::obstacle::Obstacle;
use crate::api::names::ObjectKey;

/// How long an evicted pod is taken for one that is going, while the cache does not show it: far longer than a watch
/// lags behind. Should it then still be there untouched, it may be evicted again.
pub(super) const EVICTION_SHOWS: Duration = Duration::from_secs(60);

/// What is remembered of each partition.
#[derive(Debug, Default)]
pub struct Memory(Mutex<HashMap<ObjectKey, Remembered>>);

#[derive(Debug, Default)]
struct Remembered {
    /// When which pod was evicted, by uid.
    evicted: HashMap<String, Instant>,
    /// The last pod of each ordinal that was evicted, by uid, and the generation that the StatefulSet had then.
    replaced: HashMap<i64, (i64, String)>,
    /// Evictions that were refused since the last one that was not.
    refused: u32,
    /// Whether pods have been replaced, and the end of it not been told.
    rolling: bool,
    /// What was last in the way of the pods, and since when it has been.
    obstacle: Option<(&'static str, Option<String>, Instant)>,
}

impl Memory {
    /// Records that the pod of an ordinal has been evicted, while the StatefulSet had that generation. Returns whether it
    /// is the first one of a rolling.
    pub(super) fn evict(&self, key: &ObjectKey, ordinal: i64, uid: &str, generation: i64, now: Instant) -> bool {
        let mut all = self.lock();
        let partition = all.entry(key.clone()).or_default();
        partition.evicted.insert(uid.to_owned(), now);
        partition.replaced.insert(ordinal, (generation, uid.to_owned()));
        partition.refused = 0;
        !std::mem::replace(&mut partition.rolling, true)
    }

    /// Says that an eviction was refused. Returns how many have been in a row.
    pub(super) fn refuse(&self, key: &ObjectKey) -> u32 {
        let mut all = self.lock();
        let partition = all.entry(key.clone()).or_default();
        partition.refused = partition.refused.saturating_add(1);
        partition.refused
    }

    /// Says that all pods are up to date and ready. Returns whether that is the end of a rolling.
    pub(super) fn complete(&self, key: &ObjectKey) -> bool {
        let mut all = self.lock();
        let Some(partition) = all.remove(key) else { return false };
        // A pod that is outdated again while the StatefulSet is the same is one that was replaced already.
        if !partition.replaced.is_empty() {
            all.insert(key.clone(), Remembered { replaced: partition.replaced, ..Remembered::default() });
        }
        partition.rolling
    }

    /// The pods, by ordinal and uid, that were evicted while the StatefulSet had its current generation.
    pub(super) fn replaced(&self, key: &ObjectKey, generation: i64) -> HashMap<i64, String> {
        let all = self.lock();
        let replaced = all.get(key).into_iter().flat_map(|partition| &partition.replaced);
        let replaced = replaced.filter(|(_, (at, _))| *at == generation);
        replaced.map(|(ordinal, (_, uid))| (*ordinal, uid.clone())).collect()
    }

    /// Pods that were evicted a short while ago, by uid.
    pub(super) fn evicted(&self, key: &ObjectKey, now: Instant) -> HashSet<String> {
        let mut all = self.lock();
        let Some(partition) = all.get_mut(key) else { return HashSet::new() };
        partition.evicted.retain(|_, at| now.saturating_duration_since(*at) < EVICTION_SHOWS);
        partition.evicted.keys().cloned().collect()
    }

    /// Records what is in the way of the pods. Returns how much longer it has to last before it is worth telling; none
    /// if it has lasted, or if there is nothing.
    pub(super) fn impede(&self, key: &ObjectKey, obstacle: Option<&Obstacle>, now: Instant) -> Option<Duration> {
        let mut all = self.lock();
        let Some(obstacle) = obstacle else {
            all.get_mut(key).iter_mut().for_each(|partition| partition.obstacle = None);
            return None;
        };
        let (reason, pod) = obstacle.subject();
        let known = &mut all.entry(key.clone()).or_default().obstacle;
        let before = known.as_ref().filter(|(known, of, _)| *known == reason && of.as_deref() == pod);
        let since = before.map_or(now, |(_, _, since)| *since);
        *known = Some((reason, pod.map(ToOwned::to_owned), since));
        let left = obstacle.patience.saturating_sub(now.saturating_duration_since(since));
        (!left.is_zero()).then_some(left)
    }

    /// Forgets a partition that is gone.
    pub(super) fn forget(&self, key: &ObjectKey) {
        self.lock().remove(key);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ObjectKey, Remembered>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_evicted_pod_is_remembered_for_a_while() {
        let (memory, key, start) = (Memory::default(), ObjectKey::new("n", "g-1"), Instant::now());
        assert!(memory.evict(&key, 2, "a", 1, start), "the first of a rolling");
        assert!(!memory.evict(&key, 1, "b", 2, start + EVICTION_SHOWS / 2));
        assert_eq!(memory.evicted(&key, start + EVICTION_SHOWS), HashSet::from(["b".to_owned()]));
        assert!(memory.evicted(&ObjectKey::new("n", "g-2"), start).is_empty());
        assert!(memory.complete(&key) && !memory.complete(&key));
        assert_eq!(memory.replaced(&key, 2), HashMap::from([(1, "b".to_owned())]), "after the end, too");
        assert!(memory.replaced(&key, 3).is_empty());
    }

    #[test]
    fn refusals_are_counted_until_an_eviction_passes() {
        let (memory, key) = (Memory::default(), ObjectKey::new("n", "g-1"));
        assert_eq!((memory.refuse(&key), memory.refuse(&key)), (1, 2));
        memory.evict(&key, 0, "a", 1, Instant::now());
        assert_eq!(memory.refuse(&key), 1);
    }

    #[test]
    fn an_obstacle_is_worth_telling_only_when_it_lasts() {
        let (memory, key, start) = (Memory::default(), ObjectKey::new("n", "g-1"), Instant::now());
        let patience = Duration::from_secs(10);
        let of = |pod: &str| {
            let message = "m".to_owned();
            Obstacle { reason: "PodUnschedulable", pod: Some(pod.to_owned()), message, patience }
        };
        assert_eq!(memory.impede(&key, Some(&of("g-1-0")), start), Some(patience));
        assert_eq!(memory.impede(&key, Some(&of("g-1-0")), start + patience / 2), Some(patience / 2));
        assert_eq!(memory.impede(&key, Some(&of("g-1-0")), start + patience), None);
        assert_eq!(memory.impede(&key, Some(&of("g-1-1")), start + patience), Some(patience));
        assert_eq!(memory.impede(&key, None, start + patience), None);
        assert_eq!(memory.impede(&key, Some(&of("g-1-1")), start + patience), Some(patience));
    }
}
