//! Options of `run` for the self-signed certificates of the webhooks.

use std::time::Duration;

use clap::Args;

use super::values;
use crate::tls::Periods;

/// Periods of the webhooks' self-signed certificates.
#[derive(Args, Clone, Debug)]
pub struct Certificates {
    /// Validity of the webhooks' certificate authority, such as 2160h; at least 10s. It is replaced after two thirds.
    #[arg(long, env = "CA_LIFETIME", default_value = "2160h", value_parser = values::lifetime::<{ Periods::SHORTEST_CA.as_secs() }>)]
    pub ca_lifetime: Duration,

    /// Validity of a serving certificate, such as 168h; at least 5s. It is replaced after two thirds.
    #[arg(long, env = "LEAF_LIFETIME", default_value = "168h", value_parser = values::lifetime::<{ Periods::SHORTEST_LEAF.as_secs() }>)]
    pub leaf_lifetime: Duration,

    /// Wait of each step of a CA rotation, in which every API server observes the changed CA bundle. Such as 1m, at least
    /// 200ms, and at most a twentieth of --ca-lifetime is waited.
    #[arg(long, env = "CA_HOLD_DOWN", default_value = "1m", value_parser = values::hold_down)]
    pub ca_hold_down: Duration,
}

impl Certificates {
    /// The periods, with a hold-down that fits into the lifetime of the CA.
    #[must_use]
    pub fn periods(&self) -> Periods {
        Periods::new(self.ca_lifetime, self.leaf_lifetime, self.ca_hold_down)
    }
}
