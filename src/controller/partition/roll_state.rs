//! What is remembered of the pods of a partition between two reconciliations.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use tokio::time::Instant;

/// How long an evicted pod counts as going while the cache does not show it: far longer than a watch lags behind. If it is
/// still there untouched after that, it is evicted again.
pub(super) const EVICTION_SHOWS: Duration = Duration::from_secs(60);

/// How far the replacement of outdated pods is.
#[derive(Debug, Default)]
pub(super) struct RollState {
    /// When which pod was evicted, by uid.
    evicted: HashMap<String, Instant>,
    /// The last pod of each ordinal that was evicted, by uid, and the generation that the StatefulSet had then.
    replaced: HashMap<i64, (i64, String)>,
    /// Evictions that were refused since the last one that was not.
    refused: u32,
    /// Whether pods have been replaced, and no event has reported the end of it.
    rolling: bool,
}

impl RollState {
    /// Records that the pod of an ordinal has been evicted, while the StatefulSet had that generation. Returns whether it
    /// is the first one of a roll.
    pub(super) fn record_eviction(&mut self, ordinal: i64, uid: &str, generation: i64, now: Instant) -> bool {
        self.evicted.insert(uid.to_owned(), now);
        self.replaced.insert(ordinal, (generation, uid.to_owned()));
        self.refused = 0;
        !std::mem::replace(&mut self.rolling, true)
    }

    /// Records that an eviction was refused. Returns how many have been in a row.
    pub(super) fn record_refusal(&mut self) -> u32 {
        self.refused = self.refused.saturating_add(1);
        self.refused
    }

    /// Records that all pods are up to date and ready. Returns whether that is the end of a roll. A pod that is outdated
    /// again while the StatefulSet is the same is one that was replaced already, so these stay.
    pub(super) fn record_completion(&mut self) -> bool {
        self.evicted.clear();
        self.refused = 0;
        std::mem::take(&mut self.rolling)
    }

    /// The pods, by ordinal and uid, that were evicted while the StatefulSet had its current generation.
    pub(super) fn replaced(&self, generation: i64) -> HashMap<i64, String> {
        let replaced = self.replaced.iter().filter(|(_, (at, _))| *at == generation);
        replaced.map(|(ordinal, (_, uid))| (*ordinal, uid.clone())).collect()
    }

    /// Pods that were evicted a short while ago, by uid.
    pub(super) fn evicted(&mut self, now: Instant) -> HashSet<String> {
        self.evicted.retain(|_, at| now.saturating_duration_since(*at) < EVICTION_SHOWS);
        self.evicted.keys().cloned().collect()
    }
}

/// What was last in the way of the pods, and since when it has been.
#[derive(Debug, Default)]
pub(super) struct ObstacleTimer(Option<(&'static str, Option<String>, Instant)>);

impl ObstacleTimer {
    /// Records what is in the way: the reason, and the pod that it concerns. Returns how much longer it has to last until
    /// it has done so for `patience`; none if it has.
    pub(super) fn remaining(
        &mut self,
        (reason, pod): (&'static str, Option<&str>),
        patience: Duration,
        now: Instant,
    ) -> Option<Duration> {
        let before = self.0.as_ref().filter(|(known, of, _)| *known == reason && of.as_deref() == pod);
        let since = before.map_or(now, |(_, _, since)| *since);
        self.0 = Some((reason, pod.map(ToOwned::to_owned), since));
        let left = patience.saturating_sub(now.saturating_duration_since(since));
        (!left.is_zero()).then_some(left)
    }

    /// Records that nothing is in the way.
    pub(super) fn clear(&mut self) {
        self.0 = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_evicted_pod_is_remembered_for_a_while() {
        let (mut roll, start) = (RollState::default(), Instant::now());
        assert!(roll.record_eviction(2, "a", 1, start), "the first of a roll");
        assert!(!roll.record_eviction(1, "b", 2, start + EVICTION_SHOWS / 2));
        assert_eq!(roll.evicted(start + EVICTION_SHOWS), HashSet::from(["b".to_owned()]));
        assert!(roll.record_completion() && !roll.record_completion());
        assert_eq!(roll.replaced(2), HashMap::from([(1, "b".to_owned())]), "after the end, too");
        assert!(roll.replaced(3).is_empty());
    }

    #[test]
    fn refusals_are_counted_until_an_eviction_passes() {
        let mut roll = RollState::default();
        assert_eq!((roll.record_refusal(), roll.record_refusal()), (1, 2));
        roll.record_eviction(0, "a", 1, Instant::now());
        assert_eq!(roll.record_refusal(), 1);
    }

    #[test]
    fn an_obstacle_is_reported_only_when_it_lasts() {
        let (mut timer, start, patience) = (ObstacleTimer::default(), Instant::now(), Duration::from_secs(10));
        let mut remaining = |pod: &str, now| timer.remaining(("PodUnschedulable", Some(pod)), patience, now);
        assert_eq!(remaining("g-1-0", start), Some(patience));
        assert_eq!(remaining("g-1-0", start + patience / 2), Some(patience / 2));
        assert_eq!(remaining("g-1-0", start + patience), None);
        assert_eq!(remaining("g-1-1", start + patience), Some(patience));
        timer.clear();
        assert_eq!(
            timer.remaining(("PodUnschedulable", Some("g-1-1")), patience, start + patience * 3),
            Some(patience)
        );
    }
}
