//! How often a status is written: what matters at once, mere progress not more than once a second.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::api::names::ObjectKey;

/// Least time between two writes of a status that differ only in how far things are.
const INTERVAL: Duration = Duration::from_secs(1);

/// When each object's status was last written.
#[derive(Debug, Default)]
pub struct Pacing(Mutex<HashMap<ObjectKey, Instant>>);

impl Pacing {
    /// Says that a status is about to be written, if it may be: else how long to wait. A write that is `urgent` may be
    /// made at any time.
    ///
    /// # Errors
    /// How long to wait, if it may not.
    pub fn admit(&self, key: &ObjectKey, urgent: bool, now: Instant) -> Result<(), Duration> {
        let mut written = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(last) = written.get(key) {
            let waited = now.saturating_duration_since(*last);
            if !urgent && waited < INTERVAL {
                return Err(INTERVAL.saturating_sub(waited));
            }
        }
        written.insert(key.clone(), now);
        Ok(())
    }

    /// Forgets an object that is gone.
    pub fn forget(&self, key: &ObjectKey) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_waits_and_what_matters_does_not() {
        let (pacing, key, start) = (Pacing::default(), ObjectKey::new("n", "a"), Instant::now());
        assert_eq!(pacing.admit(&key, false, start), Ok(()));
        let later = start + Duration::from_millis(400);
        assert_eq!(pacing.admit(&key, false, later), Err(Duration::from_millis(600)));
        assert_eq!(pacing.admit(&key, true, later), Ok(()));
        assert_eq!(pacing.admit(&key, false, later + INTERVAL), Ok(()));
        assert_eq!(pacing.admit(&ObjectKey::new("n", "b"), false, later), Ok(()));
    }
}
