//! How often a status is written: a change that matters at once, mere progress after three seconds and then ever more
//! rarely, so that a large set costs hardly more writes than a small one.

use std::time::Duration;

use tokio::time::Instant;

/// Least time between two writes of a status that differ only in how far things are: the first such time, and the most
/// that it grows to while nothing else happens.
const INTERVAL: (Duration, Duration) = (Duration::from_secs(3), Duration::from_secs(12));

/// Wait before a status is written again after a conflict: the first, in which the watch brings the change, and the most
/// that it grows to while the watch is stuck.
const CONFLICT: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// When the status of one object was last written, and when it can be written next.
#[derive(Debug, Default)]
pub(super) struct StatusPacing {
    last: Option<(Instant, Duration)>,
    /// The last wait after a conflict, if the status has not been written since.
    conflict: Option<Duration>,
}

impl StatusPacing {
    /// Admits a write of the status, or returns how long to wait. A write that is `urgent` never waits.
    pub(super) fn admit(&mut self, urgent: bool, now: Instant) -> Result<(), Duration> {
        let mut next = INTERVAL.0;
        if let Some((at, interval)) = self.last.filter(|_| !urgent) {
            let left = interval.saturating_sub(now.saturating_duration_since(at));
            if !left.is_zero() {
                return Err(left);
            }
            next = (interval * 2).clamp(INTERVAL.0, INTERVAL.1);
        }
        self.last = Some((now, next));
        Ok(())
    }

    /// The admitted write has succeeded.
    pub(super) fn record_written(&mut self) {
        self.conflict = None;
    }

    /// The admitted write has failed, because the object has changed as a rule. Returns how long to wait before the next
    /// one, which is admitted.
    pub(super) fn record_conflict(&mut self) -> Duration {
        let wait = self.conflict.map_or(CONFLICT.0, |wait| CONFLICT.1.min(wait * 2));
        self.conflict = Some(wait);
        self.last = self.last.map(|(at, _)| (at, Duration::ZERO));
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_waits_and_what_matters_does_not() {
        let (mut pacing, start) = (StatusPacing::default(), Instant::now());
        let at = |millis| start + Duration::from_millis(millis);
        assert_eq!(pacing.admit(false, at(0)), Ok(()));
        assert_eq!(pacing.admit(false, at(400)), Err(Duration::from_millis(2600)));
        assert_eq!(pacing.admit(true, at(400)), Ok(()));
        assert_eq!(pacing.admit(false, at(3400)), Ok(()));
    }

    #[test]
    fn a_status_that_conflicts_again_and_again_is_tried_ever_more_rarely() {
        let (mut pacing, now) = (StatusPacing::default(), Instant::now());
        let mut conflict = || {
            assert_eq!(pacing.admit(false, now), Ok(()));
            pacing.record_conflict().as_millis()
        };
        let waits: Vec<u128> = (0..8).map(|_| conflict()).collect();
        assert_eq!(waits, [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
        assert_eq!(pacing.admit(false, now), Ok(()));
        pacing.record_written();
        assert_eq!(pacing.admit(false, now), Err(INTERVAL.0));
        assert_eq!(pacing.admit(true, now), Ok(()));
        assert_eq!(pacing.record_conflict(), CONFLICT.0);
    }

    #[test]
    fn progress_is_written_ever_more_rarely_until_something_else_happens() {
        let (mut pacing, start) = (StatusPacing::default(), Instant::now());
        let mut writes = |from: u64, to: u64, urgent: bool| -> Vec<u64> {
            (from..to).filter(|second| pacing.admit(urgent, start + Duration::from_secs(*second)).is_ok()).collect()
        };
        assert_eq!(writes(0, 60, false), [0, 3, 9, 21, 33, 45, 57]);
        assert_eq!(writes(60, 61, true), [60]);
        assert_eq!(writes(61, 70, false), [63, 69]);
    }
}
