//! How long certificates live, and how long each step of a rotation waits.

use std::time::Duration;

const HOUR: Duration = Duration::from_secs(60 * 60);

/// The periods of self-signed certificates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Periods {
    /// Lifetime of a CA. It is replaced after two thirds.
    pub ca: Duration,
    /// Lifetime of a serving certificate, unless its CA expires earlier. It is replaced after two thirds.
    pub leaf: Duration,
    /// How long API servers and replicas may take to see a change. Each step of a rotation waits so long.
    pub hold_down: Duration,
}

impl Periods {
    /// Shortest lifetime of a CA: a rotation fits into a third of it.
    pub const SHORTEST_CA: Duration = Duration::from_secs(10);
    /// Shortest lifetime of a serving certificate.
    pub const SHORTEST_LEAF: Duration = Duration::from_secs(5);
    /// Shortest hold-down: watches take milliseconds.
    pub const SHORTEST_HOLD_DOWN: Duration = Duration::from_millis(200);
    /// Longest hold-down.
    pub const LONGEST_HOLD_DOWN: Duration = HOUR.saturating_mul(24);
    /// Longest lifetime of a certificate.
    pub const LONGEST: Duration = HOUR.saturating_mul(24 * 3650);

    /// Periods in which the two hold-downs of a rotation take at most a tenth of a CA's lifetime.
    #[must_use]
    pub fn new(ca: Duration, leaf: Duration, hold_down: Duration) -> Self {
        Self { ca, leaf, hold_down: hold_down.min(ca / 20) }
    }

    /// Pause between two checks of the wall clock. One long sleep would miss a suspended machine or a clock that was set.
    pub(crate) fn clock_check(&self) -> Duration {
        /// Often enough for certificates that live for days.
        const LONGEST: Duration = Duration::from_secs(30);
        LONGEST.min(self.ca.min(self.leaf) / 20)
    }

    /// Pause between two checks of the wall clock during a rotation.
    pub(super) fn rotation_check(&self) -> Duration {
        self.clock_check().min(self.hold_down / 4)
    }

    /// The last part of a CA's lifetime, in which a rotation goes on without its hold-downs.
    pub(super) fn last_part(&self) -> Duration {
        self.ca / 12
    }

    /// The age at which a CA of this lifetime is replaced.
    pub(super) fn ca_replaced_after(lifetime: Duration) -> Duration {
        lifetime * 2 / 3
    }

    /// The age at which a serving certificate of this lifetime is replaced.
    pub(super) fn leaf_replaced_after(lifetime: Duration) -> Duration {
        lifetime * 2 / 3
    }

    /// How much earlier a serving certificate may be replaced, so that replicas that started together do not all replace
    /// theirs at once.
    pub(super) fn longest_jitter(lifetime: Duration) -> Duration {
        lifetime / 10
    }
}

impl Default for Periods {
    fn default() -> Self {
        Self { ca: HOUR * 24 * 90, leaf: HOUR * 24 * 7, hold_down: Duration::from_secs(60) }
    }
}
