//! When a new certificate is served: what is served stays until API servers trust what comes next.

use std::mem;
use std::time::{Duration, SystemTime};

use rustls::pki_types::CertificateDer;
use tokio::time::Instant;

use crate::tls::trust::Bundles;

/// What API servers trust by one webhook configuration.
#[derive(Clone, Debug, Default)]
pub(super) struct Trust {
    live: Bundles,
    /// Earlier bundles, and when each was seen to be replaced: API servers may still go by them.
    before: Vec<(Bundles, Instant)>,
}

impl Trust {
    pub(super) fn change(&mut self, live: Bundles, now: Instant, hold_down: Duration) {
        if live != self.live {
            let last = mem::replace(&mut self.live, live);
            // Bundles that two programs set in turns are remembered once.
            self.before.retain(|(before, at)| now.duration_since(*at) < hold_down && *before != last);
            self.before.push((last, now));
        }
    }

    pub(super) fn live(&self) -> &Bundles {
        &self.live
    }

    /// What API servers may go by, if they take up to `hold_down` to see a change.
    fn possible(&self, now: Instant, hold_down: Duration) -> impl Iterator<Item = &Bundles> {
        let before = self.before.iter().filter(move |(_, changed)| now.duration_since(*changed) < hold_down);
        [&self.live].into_iter().chain(before.map(|(live, _)| live))
    }
}

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
        if !trust.iter().all(|trust| accepts(&trust.live, self.served).is_ok()) {
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
