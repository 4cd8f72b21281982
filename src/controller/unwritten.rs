//! Statuses that cannot be written: what is wrong can then be told in an event alone.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// Most objects that are remembered; of more, the same may be told again.
const MOST: usize = 10_000;

/// Why which status could not be written when that was last tried, by the uid of its object.
#[derive(Debug, Default)]
pub struct UnwrittenStatuses(Mutex<HashMap<String, String>>);

impl UnwrittenStatuses {
    /// Records how a write of a status ended, with `why` if it failed. Returns whether that is something new to tell.
    pub(super) fn record(&self, uid: &str, why: Option<&str>) -> bool {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(why) = why else {
            known.remove(uid);
            return false;
        };
        if known.len() >= MOST {
            known.clear();
        }
        known.insert(uid.to_owned(), why.to_owned()).as_deref() != Some(why)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_told_when_it_begins_and_when_it_changes() {
        let statuses = UnwrittenStatuses::default();
        let outcomes = [Some("denied"), Some("denied"), Some("too large"), None, Some("too large")];
        assert_eq!(outcomes.map(|why| statuses.record("u", why)), [true, false, true, false, true]);
    }
}
