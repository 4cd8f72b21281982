//! Limits of attempts: pauses after failures, and a token bucket.

use std::time::{Duration, Instant};

/// First and longest pause after a failure.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// Capacity of a token bucket.
const BURST: u32 = 5;
/// Time after which it gets another token.
const REFILL: Duration = Duration::from_secs(1);

/// Pauses that double with each failure in a row.
#[derive(Debug, Default)]
pub(super) struct Backoff(Option<Duration>);

impl Backoff {
    /// The pause after another failure.
    pub(super) fn lengthen(&mut self) -> Duration {
        *self.0.insert(self.0.map_or(PAUSE.0, |pause| PAUSE.1.min(pause * 2)))
    }

    pub(super) fn reset(&mut self) {
        self.0 = None;
    }
}

/// A token bucket, for what another program could cause again and again: writes that it undoes, or lines of the log.
#[derive(Debug)]
pub(super) struct TokenBucket {
    left: u32,
    since: Instant,
}

impl TokenBucket {
    pub(super) fn new(now: Instant) -> Self {
        Self { left: BURST, since: now }
    }

    /// Takes a token.
    ///
    /// # Errors
    /// The time to wait for one.
    pub(super) fn try_take(&mut self, now: Instant) -> Result<(), Duration> {
        let waited = now.saturating_duration_since(self.since);
        let earned = u32::try_from(waited.as_millis() / REFILL.as_millis()).unwrap_or(u32::MAX);
        if earned > 0 {
            self.left = self.left.saturating_add(earned).min(BURST);
            // Time that is not enough for one more counts for the next.
            self.since = if self.left == BURST { now } else { self.since + REFILL * earned };
        }
        if self.left == 0 {
            return Err(REFILL.saturating_sub(now.saturating_duration_since(self.since)));
        }
        self.left -= 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_bound_and_start_again() {
        let mut backoff = Backoff::default();
        let pauses: Vec<_> = std::iter::repeat_with(|| backoff.lengthen().as_secs()).take(7).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30]);
        backoff.reset();
        assert_eq!(backoff.lengthen().as_secs(), 1);
    }

    #[test]
    fn after_a_burst_there_is_one_token_a_second() {
        let start = Instant::now();
        let mut bucket = TokenBucket::new(start);
        let step = Duration::from_millis(100);
        let granted = |bucket: &mut TokenBucket, from: u32, to: u32| {
            (from..to).filter(|i| bucket.try_take(start + step * *i).is_ok()).count()
        };
        assert_eq!(granted(&mut bucket, 0, 10), 5);
        assert_eq!(granted(&mut bucket, 10, 110), 10);
        assert!(bucket.try_take(start + step * 110).is_ok());
        assert_eq!(bucket.try_take(start + step * 113), Err(Duration::from_millis(700)));
        assert_eq!(granted(&mut bucket, 1000, 1001), 1);
        assert_eq!(granted(&mut bucket, 1001, 1009), 4);
    }
}
