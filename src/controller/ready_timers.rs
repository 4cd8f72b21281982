//! How much longer the parts of an object have to be ready before they count as available.
//!
//! The beginning is a timestamp of another machine, and clocks differ. A timestamp shortens a wait, since the beginning
//! may be long ago; it never lengthens one beyond its full length by the own clock since the timestamp was first seen.

use std::collections::HashMap;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use tokio::time::Instant;

/// Timestamps that are more recent than the full wait, and when each was first seen, by the uid of the part.
#[derive(Debug, Default)]
pub(super) struct ReadyTimers(HashMap<String, (Timestamp, Instant)>);

/// The present.
#[derive(Clone, Copy, Debug)]
pub(super) struct Now {
    /// Comparable with timestamps of other machines, up to the difference of the clocks.
    pub(super) wall: Timestamp,
    /// Never set back or forth.
    pub(super) own: Instant,
}

impl Now {
    pub(super) fn read() -> Self {
        Self { wall: Timestamp::now(), own: Instant::now() }
    }
}

impl ReadyTimers {
    /// For each part, given as its uid and since when it is ready, how much longer it has to be ready until it has been so
    /// for `full`; none if it has, or is not ready. Parts that are not given are forgotten.
    pub(super) fn remaining(
        &mut self,
        full: Duration,
        parts: &[(&str, Option<Timestamp>)],
        now: Now,
    ) -> Vec<Option<Duration>> {
        let before = std::mem::take(&mut self.0);
        let remaining = parts.iter().map(|(uid, since)| {
            let since = (*since)?;
            let by_wall = Duration::try_from(now.wall.duration_since(since)).unwrap_or_default();
            if by_wall >= full {
                return None;
            }
            let known = before.get(*uid).filter(|(timestamp, _)| *timestamp == since).map(|(_, seen)| *seen);
            let seen = known.unwrap_or(now.own);
            self.0.insert((*uid).to_owned(), (since, seen));
            let ready_for = by_wall.max(now.own.saturating_duration_since(seen));
            full.checked_sub(ready_for).filter(|left| !left.is_zero())
        });
        remaining.collect()
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
    fn left(seen: &mut ReadyTimers, start: Instant, later: u32, parts: &[(&str, Option<i64>)]) -> Vec<Option<u64>> {
        let now = Now { wall: stamp(60 + i64::from(later)), own: start + Duration::from_secs(later.into()) };
        let parts: Vec<_> = parts.iter().map(|(uid, since)| (*uid, since.map(stamp))).collect();
        let left = seen.remaining(FULL, &parts, now);
        left.into_iter().map(|left| left.map(|left| left.as_secs())).collect()
    }

    #[test]
    fn a_stamp_of_the_past_shortens_the_wait() {
        let (mut seen, start) = (ReadyTimers::default(), Instant::now());
        let parts = [("a", Some(53)), ("b", Some(50)), ("c", None), ("d", Some(0))];
        assert_eq!(left(&mut seen, start, 0, &parts), [Some(3), None, None, None]);
        assert_eq!(left(&mut seen, start, 3, &parts), [None; 4]);
        assert!(seen.0.is_empty());
    }

    #[test]
    fn a_clock_that_is_ahead_costs_no_more_than_the_full_wait_since_the_stamp_was_first_seen() {
        let (mut seen, start) = (ReadyTimers::default(), Instant::now());
        let parts = [("a", Some(3660))];
        assert_eq!(left(&mut seen, start, 0, &parts), [Some(10)]);
        assert_eq!(left(&mut seen, start, 7, &parts), [Some(3)]);
        assert_eq!(left(&mut seen, start, 10, &parts), [None]);
        assert_eq!(left(&mut seen, start, 11, &parts), [None], "it does not begin anew");
        // Another stamp, or another part, is another beginning.
        assert_eq!(left(&mut seen, start, 11, &[("a", Some(3672))]), [Some(10)]);
        assert_eq!(left(&mut seen, start, 12, &[("b", Some(3672)), ("a", Some(3672))]), [Some(10), Some(9)]);
    }
}
