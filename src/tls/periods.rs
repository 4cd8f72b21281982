//! How long certificates live, and how long each step of a rotation waits.

use std::time::Duration;

const HOUR: Duration = Duration::from_secs(60 * 60);

/// The periods of self-signed certificates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Periods {
    /// How long a CA is valid; it is replaced after two thirds.
    pub ca: Duration,
    /// How long a serving certificate is valid, unless its CA expires earlier; it is replaced after two thirds.
    pub leaf: Duration,
    /// How long every API server may take to learn of a changed CA bundle.
    pub hold_down: Duration,
}

impl Periods {
    /// Shortest life of a CA: a rotation has to fit into a third of it.
    pub const SHORTEST_CA: Duration = Duration::from_secs(10);
    /// Shortest life of a serving certificate.
    pub const SHORTEST_LEAF: Duration = Duration::from_secs(5);
    /// Shortest time for API servers to learn of a changed bundle: their watches take milliseconds.
    pub const SHORTEST_HOLD_DOWN: Duration = Duration::from_millis(200);
    /// Longest life of a certificate.
    pub const LONGEST: Duration = HOUR.saturating_mul(24 * 3650);

    /// How often the wall clock is looked at. One long sleep would not notice a suspended machine or a clock that was
    /// set.
    #[must_use]
    pub fn look(&self) -> Duration {
        /// Often enough for certificates that live for days.
        const LONGEST: Duration = Duration::from_secs(30);
        LONGEST.min(self.ca.min(self.leaf) / 20)
    }

    /// How long a rotation waits for proofs that cannot be had, such as a canary that another admission plugin refuses
    /// before our webhooks are asked.
    #[must_use]
    pub fn patience(&self) -> Duration {
        self.hold_down * 10
    }
}

impl Default for Periods {
    fn default() -> Self {
        Self { ca: HOUR * 24 * 90, leaf: HOUR * 24 * 7, hold_down: Duration::from_secs(60) }
    }
}
