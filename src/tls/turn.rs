//! Whose turn it is while certificate and trust change one after the other: what is served stays until the API server
//! trusts what comes next.

use std::mem;
use std::time::{Duration, SystemTime};

use rustls::pki_types::CertificateDer;
use tokio::time::Instant;

use super::live::{self, Live};

/// Whom the API server trusts by one webhook configuration.
#[derive(Clone, Debug, Default)]
pub(super) struct Trust {
    live: Live,
    /// What it was before, and when it was seen to be something else: as long as an API server may go by it.
    before: Vec<(Live, Instant)>,
}

impl Trust {
    pub(super) fn change(&mut self, live: Live, now: Instant, hold_down: Duration) {
        if live != self.live {
            let last = mem::replace(&mut self.live, live);
            // What two programs put back and forth is remembered once.
            self.before.retain(|(before, at)| now.duration_since(*at) < hold_down && *before != last);
            self.before.push((last, now));
        }
    }

    pub(super) fn live(&self) -> &Live {
        &self.live
    }

    /// What API servers may go by that take up to `hold_down` to hear of a change.
    fn possible(&self, now: Instant, hold_down: Duration) -> impl Iterator<Item = &Live> {
        let before = self.before.iter().filter(move |(_, changed)| now.duration_since(*changed) < hold_down);
        [&self.live].into_iter().chain(before.map(|(live, _)| live))
    }
}

/// Certificates, leaf first, of which one is served and one is new.
pub(super) struct Turn<'a> {
    pub(super) served: &'a [CertificateDer<'static>],
    pub(super) new: &'a [CertificateDer<'static>],
    /// The name that the API server verifies.
    pub(super) name: &'a str,
}

impl Turn<'_> {
    /// Why the new one has to wait, if it has to: an API server may refuse it that accepts what is served. If what is
    /// served is not accepted by everybody any more, nothing is gained by waiting.
    pub(super) fn wait(
        &self,
        trust: &[Trust],
        now: SystemTime,
        instant: Instant,
        hold_down: Duration,
    ) -> Option<String> {
        let accepts = |live: &Live, chain: &[CertificateDer<'_>]| live::trusted(live, chain, self.name, now);
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
#[path = "turn_tests.rs"]
mod tests;
