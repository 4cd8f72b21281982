//! Statuses that cannot be written: an event on the object says why, and the set of a Partition says it in its own status.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use super::refusals::Refusal;

/// Reason of the event on an object whose status cannot be written.
pub(super) const STATUS_NOT_WRITTEN: &str = "StatusNotWritten";

/// Most objects that are remembered; of more, the same may be told again.
const MOST: usize = 10_000;

/// Why which status could not be written when that was last tried, by the uid of its object.
#[derive(Debug, Default)]
pub struct UnwrittenStatuses(Mutex<HashMap<String, String>>);

impl UnwrittenStatuses {
    /// Records how a write of a status ended, with `why` if it failed; or that there is nothing to write. Returns whether
    /// that is something new.
    pub(super) fn record(&self, uid: &str, why: Option<&str>) -> bool {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(why) = why else {
            return known.remove(uid).is_some();
        };
        if known.len() >= MOST {
            known.clear();
        }
        known.insert(uid.to_owned(), why.to_owned()).as_deref() != Some(why)
    }

    /// Why the status of the object of that uid cannot be written, if it cannot.
    pub(super) fn why(&self, uid: &str) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(uid).cloned()
    }

    /// The same as something that is refused, if it is.
    pub(super) fn refusal(&self, uid: &str) -> Option<Refusal> {
        self.why(uid).map(|_| Refusal { reason: STATUS_NOT_WRITTEN, writes: 1 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_told_when_it_begins_when_it_changes_and_when_it_ends() {
        let statuses = UnwrittenStatuses::default();
        let outcomes = [Some("denied"), Some("denied"), Some("too large"), None, None, Some("too large")];
        assert_eq!(outcomes.map(|why| statuses.record("u", why)), [true, false, true, true, false, true]);
        assert_eq!(statuses.why("u").as_deref(), Some("too large"));
        assert_eq!(statuses.why("v"), None);
    }
}
