//! When a new certificate is served: what is served stays until API servers trust what comes next.

use std::time::{Duration, SystemTime};

use rustls::pki_types::CertificateDer;
use tokio::time::Instant;

use crate::tls::trust::{Bundles, Trust};

/// Certificates, leaf first, of which one is served and one is new.
pub(super) struct Handover<'a> {
    pub(super) served: &'a [CertificateDer<'static>],
    pub(super) new: &'a [CertificateDer<'static>],
    /// The name that the API server verifies.
    pub(super) name: &'a str,
}

impl Handover<'_> {
    /// Why the new one has to wait, if it has to: an API server may refuse it that accepts what is served. If an API server
    /// may refuse what is served, too, nothing is gained by waiting.
    pub(super) fn wait(
        &self,
        trust: &[Trust],
        now: SystemTime,
        instant: Instant,
        hold_down: Duration,
    ) -> Option<String> {
        let accepts = |live: &Bundles, chain: &[CertificateDer<'_>]| live.accept(chain, self.name, now);
        if !trust.iter().all(|trust| accepts(trust.live(), self.served).is_ok()) {
            return None;
        }
        trust
            .iter()
            .flat_map(|trust| trust.possible(instant, hold_down))
            .filter(|live| accepts(live, self.served).is_ok())
            .find_map(|live| accepts(live, self.new).err())
    }
}

#[cfg(test)]
#[path = "handover_tests.rs"]
mod tests;
