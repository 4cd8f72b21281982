//! How long a client may let this side wait.

use std::time::Duration;

use tokio::time::Instant;

/// A wait for the next step of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait {
    /// Since when it is the client's turn.
    pub since: Instant,
    /// When this side's patience ends.
    pub until: Instant,
}

impl Wait {
    /// One that begins now and may last for `time`.
    #[must_use]
    pub fn from(now: Instant, time: Duration) -> Self {
        Self { since: now, until: now + time }
    }

    /// How much of the patience is used up: nothing is 0, all of it is 1.
    #[must_use]
    pub fn spent(&self, now: Instant) -> f64 {
        let patience = self.until.saturating_duration_since(self.since).max(Duration::from_nanos(1));
        now.saturating_duration_since(self.since).div_duration_f64(patience)
    }
}
