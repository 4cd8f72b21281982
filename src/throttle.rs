//! A bound on how often something is done.

use std::time::Duration;

use tokio::time::Instant;

/// Allows a number of actions at once, and one more after each interval.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Throttle {
    interval: Duration,
    /// How much earlier than its turn an action may come.
    tolerance: Duration,
    /// The turn of the next action.
    next: Instant,
}

impl Throttle {
    pub(crate) fn new(burst: u32, interval: Duration, now: Instant) -> Self {
        Self { interval, tolerance: interval * burst.saturating_sub(1), next: now }
    }

    /// How long to wait before the next action, if it has to wait.
    pub(crate) fn wait(&self, now: Instant) -> Option<Duration> {
        self.next.checked_duration_since(now + self.tolerance).filter(|wait| !wait.is_zero())
    }

    /// Records an action.
    pub(crate) fn record(&mut self, now: Instant) {
        self.next = self.next.max(now) + self.interval;
    }

    /// Records an action if it is allowed now.
    ///
    /// # Errors
    /// How long to wait for it.
    pub(crate) fn try_record(&mut self, now: Instant) -> Result<(), Duration> {
        self.wait(now).map_or(Ok(()), Err)?;
        self.record(now);
        Ok(())
    }

    /// Whether the whole burst is allowed again.
    pub(crate) fn is_idle(&self, now: Instant) -> bool {
        self.next <= now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_allowed_at_once_and_then_one_action_after_each_interval() {
        const INTERVAL: Duration = Duration::from_millis(100);
        let start = Instant::now();
        let mut throttle = Throttle::new(10, INTERVAL, start);
        for _ in 0..10 {
            assert_eq!(throttle.wait(start), None);
            throttle.record(start);
        }
        assert_eq!(throttle.wait(start), Some(INTERVAL));
        assert_eq!(throttle.try_record(start), Err(INTERVAL));
        assert_eq!(throttle.try_record(start + INTERVAL), Ok(()));
        assert!(throttle.wait(start + INTERVAL).is_some());
        assert!(!throttle.is_idle(start + INTERVAL * 10));
        assert!(throttle.is_idle(start + INTERVAL * 11));
    }
}
