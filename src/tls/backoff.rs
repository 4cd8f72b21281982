//! Pauses between attempts.

use std::time::{Duration, Instant};

/// First and longest pause after a failure.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// Writes that may follow each other without a pause.
const BURST: u32 = 5;
/// Time after which one more may follow.
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

/// Holds back whoever would write again and again, as against another program that undoes each write.
#[derive(Debug)]
pub(super) struct Pace {
    left: u32,
    since: Instant,
}

impl Pace {
    pub(super) fn new(now: Instant) -> Self {
        Self { left: BURST, since: now }
    }

    /// Takes leave to write now.
    ///
    /// # Errors
    /// The time to wait for it.
    pub(super) fn take(&mut self, now: Instant) -> Result<(), Duration> {
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
    fn a_fight_is_held_to_one_write_a_second() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        let step = Duration::from_millis(100);
        let granted =
            |pace: &mut Pace, from: u32, to: u32| (from..to).filter(|i| pace.take(start + step * *i).is_ok()).count();
        assert_eq!(granted(&mut pace, 0, 10), 5);
        assert_eq!(granted(&mut pace, 10, 110), 10);
        assert!(pace.take(start + step * 110).is_ok());
        assert_eq!(pace.take(start + step * 113), Err(Duration::from_millis(700)));
        assert_eq!(granted(&mut pace, 1000, 1001), 1);
        assert_eq!(granted(&mut pace, 1001, 1009), 4);
    }
}
