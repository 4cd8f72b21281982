//! When to try again what the API server refuses until something changes that no watch shows: a policy, a right, a quota,
//! an object of another owner that has the name.
//!
//! The more writes are refused, the more rarely each is tried. The first object that is no longer refused shows that the
//! cause is gone: the others of its namespace that were refused for the same reason are then tried at once.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::api::names::ObjectKey;
use crate::queue::Trigger;

/// Least time between two tries of one object, and most.
const WAIT: (Duration, Duration) = (Duration::from_secs(3), Duration::from_secs(60));
/// Time that each refused write adds to that: all of them together are tried five times a second.
const EACH: Duration = Duration::from_millis(200);

/// Why an object is refused, and how many writes a try of it costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    /// The reason that its conditions give.
    pub(super) reason: &'static str,
    /// Writes that are refused.
    pub(super) writes: u32,
}

/// Objects of one kind that were refused when they were last tried.
#[derive(Debug, Default)]
pub(super) struct Refusals(Mutex<HashMap<ObjectKey, Refusal>>);

impl Refusals {
    /// Records how a try of an object has ended. Returns how long to wait before the next if it was refused; else asks
    /// `trigger` for those that may have been refused for what is gone now.
    pub(super) fn record(&self, key: &ObjectKey, refusal: Option<Refusal>, trigger: &Trigger) -> Option<Duration> {
        let Some(refusal) = refusal else {
            self.clear(key).into_iter().for_each(|other| trigger.now(other));
            return None;
        };
        let mut refused = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        refused.insert(key.clone(), refusal);
        let writes = refused.values().fold(0_u32, |sum, refusal| sum.saturating_add(refusal.writes));
        Some(EACH.saturating_mul(writes).clamp(WAIT.0, WAIT.1))
    }

    /// Forgets an object. Returns the others of its namespace that were refused for the same reason.
    fn clear(&self, key: &ObjectKey) -> Vec<ObjectKey> {
        let mut refused = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(Refusal { reason, .. }) = refused.remove(key) else { return Vec::new() };
        let others =
            refused.iter().filter(|(other, refusal)| other.namespace == key.namespace && refusal.reason == reason);
        others.map(|(other, _)| other.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> ObjectKey {
        ObjectKey::new("n", name)
    }

    fn record(refusals: &Refusals, key: &ObjectKey, reason: &'static str, writes: u32) -> Duration {
        refusals.record(key, Some(Refusal { reason, writes }), &Trigger::default()).unwrap()
    }

    #[test]
    fn a_refused_object_is_tried_every_three_seconds_and_many_together_five_times_a_second() {
        let refusals = Refusals::default();
        assert_eq!(record(&refusals, &key("a-1"), "Refused", 1), Duration::from_secs(3));
        assert_eq!(record(&refusals, &key("a-1"), "Refused", 1), Duration::from_secs(3));
        assert_eq!(record(&refusals, &key("b"), "Refused", 99), Duration::from_secs(20));
        assert_eq!(record(&refusals, &key("c"), "Refused", u32::MAX), Duration::from_secs(60));
    }

    #[test]
    fn the_first_that_succeeds_frees_those_of_its_namespace_that_were_refused_for_the_same_reason() {
        let refusals = Refusals::default();
        for (key, reason) in [
            (key("a-1"), "Refused"),
            (key("a-2"), "Refused"),
            (key("a-3"), "QuotaExceeded"),
            (ObjectKey::new("other", "a-1"), "Refused"),
        ] {
            record(&refusals, &key, reason, 1);
        }
        assert_eq!(refusals.clear(&key("a-1")), [key("a-2")]);
        assert_eq!(refusals.clear(&key("a-1")), []);
        assert_eq!(refusals.clear(&key("a-2")), []);
    }
}
