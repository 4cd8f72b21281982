//! Pauses between attempts, which double after each failure.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};

/// Pauses with jitter from a first to a longest one, without end.
#[derive(Debug)]
pub(crate) struct Backoff {
    builder: ExponentialBuilder,
    pauses: ExponentialBackoff,
    longest: Duration,
}

impl Backoff {
    pub(crate) fn new(first: Duration, longest: Duration) -> Self {
        let builder =
            ExponentialBuilder::new().with_min_delay(first).with_max_delay(longest).without_max_times().with_jitter();
        Self { builder, pauses: builder.build(), longest }
    }

    /// The pause after one more failure.
    pub(crate) fn pause(&mut self) -> Duration {
        self.pauses.next().map_or(self.longest, |pause| pause.min(self.longest))
    }

    /// Begins anew, after a success.
    pub(crate) fn reset(&mut self) {
        self.pauses = self.builder.build();
    }
}

/// As the watches of kube-runtime want it.
impl Iterator for Backoff {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        Some(self.pause())
    }
}

impl kube::runtime::utils::Backoff for Backoff {
    fn reset(&mut self) {
        Self::reset(self);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_from_the_first_to_the_longest_and_begin_anew_after_a_success() {
        let [first, longest] = [1, 20].map(Duration::from_secs);
        let mut backoff = Backoff::new(first, longest);
        for round in 0..2 {
            let pauses: Vec<Duration> = (0..9).map(|_| backoff.pause()).collect();
            assert!((first..first * 2).contains(&pauses[0]), "{round}: {pauses:?}");
            assert!(pauses[3] >= first * 8 && pauses[8] == longest, "{round}: {pauses:?}");
            backoff.reset();
        }
    }
}
