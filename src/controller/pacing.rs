//! How often a status is written: what matters at once, mere progress after three seconds and then ever more rarely, so that
//! a large set costs hardly more writes than a small one.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::api::names::ObjectKey;

/// Least time between two writes of a status that differ only in how far things are: the first such time, and the most
/// that it grows to while nothing else happens.
const INTERVAL: (Duration, Duration) = (Duration::from_secs(3), Duration::from_secs(12));

/// Wait before a status is written again that was refused because the object had changed: the first, which is long enough
/// for the watch to have told of the change, and the most that it grows to while the watch is stuck.
const STALE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// Failures in a row, of a kind that passes by itself as a rule, that nobody is told of: a second, with the queue's
/// back-off.
const UNTOLD: u32 = 2;

/// When each object's status was last written.
#[derive(Debug, Default)]
pub struct Pacing {
    written: Mutex<HashMap<ObjectKey, Written>>,
    failed: Mutex<HashMap<ObjectKey, u32>>,
}

#[derive(Clone, Copy, Debug)]
struct Written {
    at: Instant,
    next: Duration,
    /// The last wait since it was refused, if it has not been written since.
    stale: Option<Duration>,
}

impl Pacing {
    /// Says that a status is about to be written, if it may be: else how long to wait. A write that is `urgent` may be
    /// made at any time.
    ///
    /// # Errors
    /// How long to wait, if it may not.
    pub fn admit(&self, key: &ObjectKey, urgent: bool, now: Instant) -> Result<(), Duration> {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = INTERVAL.0;
        if let Some(last) = written.get(key).filter(|_| !urgent) {
            let waited = now.saturating_duration_since(last.at);
            if waited < last.next {
                return Err(last.next.saturating_sub(waited));
            }
            next = INTERVAL.1.min(last.next * 2).max(INTERVAL.0);
        }
        let stale = written.get(key).and_then(|last| last.stale);
        written.insert(key.clone(), Written { at: now, next, stale });
        Ok(())
    }

    /// Takes in that a status that was admitted is written.
    pub fn written(&self, key: &ObjectKey) {
        if let Some(last) = self.written.lock().unwrap_or_else(PoisonError::into_inner).get_mut(key) {
            last.stale = None;
        }
    }

    /// Takes in that a status that was admitted was refused, because the object is not what it was taken for any more.
    /// Returns how long to wait before the next look, after which it is admitted again.
    pub fn refused(&self, key: &ObjectKey) -> Duration {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(last) = written.get_mut(key) else { return STALE.0 };
        let wait = last.stale.map_or(STALE.0, |wait| STALE.1.min(wait * 2));
        (last.next, last.stale) = (Duration::ZERO, Some(wait));
        wait
    }

    /// Takes in whether an object could not be reconciled for a reason that may well be gone the next time. Returns
    /// whether that is to be passed over in silence, since it has not been so often.
    pub fn hush(&self, key: &ObjectKey, failed: bool) -> bool {
        let mut failures = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        if !failed {
            failures.remove(key);
            return false;
        }
        let count = failures.entry(key.clone()).or_default();
        *count = count.saturating_add(1);
        *count <= UNTOLD
    }

    /// Forgets an object that is gone.
    pub fn forget(&self, key: &ObjectKey) {
        self.written.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
        self.hush(key, false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_waits_and_what_matters_does_not() {
        let (pacing, key, start) = (Pacing::default(), ObjectKey::new("n", "a"), Instant::now());
        let at = |millis| start + Duration::from_millis(millis);
        assert_eq!(pacing.admit(&key, false, at(0)), Ok(()));
        assert_eq!(pacing.admit(&key, false, at(400)), Err(Duration::from_millis(2600)));
        assert_eq!(pacing.admit(&key, true, at(400)), Ok(()));
        assert_eq!(pacing.admit(&key, false, at(3400)), Ok(()));
        assert_eq!(pacing.admit(&ObjectKey::new("n", "b"), false, at(3400)), Ok(()));
    }

    #[test]
    fn a_failure_is_told_of_only_when_it_does_not_pass() {
        let (pacing, key) = (Pacing::default(), ObjectKey::new("n", "a"));
        let failures = || (0..4).map(|_| pacing.hush(&key, true)).collect::<Vec<_>>();
        assert_eq!(failures(), [true, true, false, false]);
        assert!(!pacing.hush(&key, false));
        assert_eq!(failures(), [true, true, false, false]);
    }

    #[test]
    fn a_status_that_is_refused_again_and_again_is_tried_ever_more_rarely() {
        let (pacing, key, now) = (Pacing::default(), ObjectKey::new("n", "a"), Instant::now());
        let refused = || {
            assert_eq!(pacing.admit(&key, false, now), Ok(()));
            pacing.refused(&key)
        };
        let waits: Vec<u128> = (0..8).map(|_| refused().as_millis()).collect();
        assert_eq!(waits, [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
        assert_eq!(pacing.admit(&key, false, now), Ok(()));
        pacing.written(&key);
        assert_eq!(pacing.admit(&key, false, now), Err(INTERVAL.0));
        assert_eq!(pacing.admit(&key, true, now), Ok(()));
        assert_eq!(pacing.refused(&key), STALE.0);
    }

    #[test]
    fn progress_is_told_ever_more_rarely_until_something_else_happens() {
        let (pacing, key, start) = (Pacing::default(), ObjectKey::new("n", "a"), Instant::now());
        let writes = |from: u64, to: u64| {
            (from..to)
                .filter(|second| pacing.admit(&key, false, start + Duration::from_secs(*second)).is_ok())
                .collect()
        };
        let times: Vec<u64> = writes(0, 60);
        assert_eq!(times, [0, 3, 9, 21, 33, 45, 57]);
        assert_eq!(pacing.admit(&key, true, start + Duration::from_secs(60)), Ok(()));
        assert_eq!(writes(61, 70), [63, 69]);
    }
}
