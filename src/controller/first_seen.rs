//! How long something still has to last that another machine has stamped with its beginning.
//!
//! Clocks of different machines differ. A stamp shortens a wait, since the beginning may be long ago; it never lengthens
//! one beyond its full length by the own clock since the stamp was first seen.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use tokio::time::Instant;

use crate::api::names::ObjectKey;

/// When stamps were first seen that have to last for longer, by the object whose parts they concern. All of it may be
/// lost: the waits begin anew then.
#[derive(Debug, Default)]
pub struct FirstSeen(Mutex<HashMap<ObjectKey, Parts>>);

/// By the unique identity of a part.
type Parts = HashMap<String, (Timestamp, Instant)>;

/// What this machine takes for the present.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// Comparable with stamps of other machines, up to the difference of the clocks.
    pub wall: Timestamp,
    /// Never set back or forth.
    pub own: Instant,
}

impl Now {
    /// The present.
    pub fn read() -> Self {
        Self { wall: Timestamp::now(), own: Instant::now() }
    }
}

impl FirstSeen {
    /// For each part of the object `key`, given as its identity and since when it lasts, how much longer it has to last
    /// until it has lasted for `full`; none if it has, or does not last at all. Parts that are not given are forgotten.
    pub fn remaining(
        &self,
        key: &ObjectKey,
        full: Duration,
        parts: &[(&str, Option<Timestamp>)],
        now: Now,
    ) -> Vec<Option<Duration>> {
        let lasted = |since: Timestamp| Duration::try_from(now.wall.duration_since(since)).unwrap_or_default();
        let is_short = |(_, since): &(&str, Option<Timestamp>)| since.is_some_and(|since| lasted(since) < full);
        if !parts.iter().any(is_short) {
            self.forget(key);
            return vec![None; parts.len()];
        }
        let mut all = self.lock();
        let (before, mut after) = (all.remove(key).unwrap_or_default(), Parts::new());
        let remaining = parts.iter().map(|part| {
            let (uid, Some(since)) = *part else { return None };
            if !is_short(part) {
                return None;
            }
            let known = before.get(uid).filter(|(stamp, _)| *stamp == since).map(|(_, seen)| *seen);
            let seen = known.unwrap_or(now.own);
            after.insert(uid.to_owned(), (since, seen));
            let lasted = lasted(since).max(now.own.saturating_duration_since(seen));
            full.checked_sub(lasted).filter(|left| !left.is_zero())
        });
        let remaining = remaining.collect();
        all.insert(key.clone(), after);
        remaining
    }

    /// Forgets the parts of an object.
    pub fn forget(&self, key: &ObjectKey) {
        self.lock().remove(key);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ObjectKey, Parts>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FULL: Duration = Duration::from_secs(10);

    fn stamp(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// What is left, in seconds, `later` seconds after the wall clock showed second 60.
    fn left(seen: &FirstSeen, start: Instant, later: u32, parts: &[(&str, Option<i64>)]) -> Vec<Option<u64>> {
        let now = Now { wall: stamp(60 + i64::from(later)), own: start + Duration::from_secs(later.into()) };
        let parts: Vec<_> = parts.iter().map(|(uid, since)| (*uid, since.map(stamp))).collect();
        let left = seen.remaining(&ObjectKey::new("n", "g-1"), FULL, &parts, now);
        left.into_iter().map(|left| left.map(|left| left.as_secs())).collect()
    }

    #[test]
    fn a_stamp_of_the_past_shortens_the_wait() {
        let (seen, start) = (FirstSeen::default(), Instant::now());
        let parts = [("a", Some(53)), ("b", Some(50)), ("c", None), ("d", Some(0))];
        assert_eq!(left(&seen, start, 0, &parts), [Some(3), None, None, None]);
        assert_eq!(left(&seen, start, 3, &parts), [None; 4]);
        assert!(seen.lock().is_empty());
    }

    #[test]
    fn a_clock_that_is_ahead_costs_no_more_than_the_full_wait_since_the_stamp_was_first_seen() {
        let (seen, start) = (FirstSeen::default(), Instant::now());
        let parts = [("a", Some(3660))];
        assert_eq!(left(&seen, start, 0, &parts), [Some(10)]);
        assert_eq!(left(&seen, start, 7, &parts), [Some(3)]);
        assert_eq!(left(&seen, start, 10, &parts), [None]);
        assert_eq!(left(&seen, start, 11, &parts), [None], "it does not begin anew");
        // Another stamp, or another part, is another beginning.
        assert_eq!(left(&seen, start, 11, &[("a", Some(3672))]), [Some(10)]);
        assert_eq!(left(&seen, start, 12, &[("b", Some(3672)), ("a", Some(3672))]), [Some(10), Some(9)]);
    }
}
