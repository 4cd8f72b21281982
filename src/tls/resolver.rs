//! The serving certificate: which one new handshakes get, and when it is replaced.

use std::fmt;
use std::mem;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwapOption;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::authority::Authority;
use super::issue::{self, Leaf};
use super::names::Names;
use super::periods::Periods;
use super::source::Pair;
use super::verify;
use crate::tls::metrics::{RoleLabel, TlsMetrics};

/// Longest time for which a leaf that a jump of the clock has made useless is served: less than the readiness probe
/// takes to fail, so that a jump does not take all replicas out of the Service.
const CLOCK_CHECK: Duration = Duration::from_secs(1);

/// Why a new leaf is not served.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Issue(#[from] issue::Error),
    #[error("using the new certificate: {0}")]
    Use(#[from] rustls::Error),
    #[error("the CA is not valid now")]
    Ca,
}

struct Served {
    key: Arc<CertifiedKey>,
    not_before: SystemTime,
    not_after: SystemTime,
    /// How it was made, if it was made here.
    minted: Option<Minted>,
}

struct Minted {
    /// What has signed it.
    authority: Arc<Authority>,
    made_at: SystemTime,
    renew_at: SystemTime,
}

/// Gives every handshake the latest certificate, whatever name the client asked for: clients verify it, servers do not.
pub(super) struct Resolver {
    served: ArcSwapOption<Served>,
    provider: Arc<CryptoProvider>,
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver").finish_non_exhaustive()
    }
}

impl Resolver {
    pub(super) fn new(provider: Arc<CryptoProvider>) -> Self {
        Self { served: ArcSwapOption::empty(), provider }
    }

    fn serve(&self, leaf: Leaf, authority: Arc<Authority>) -> Result<(), Error> {
        let Leaf { chain, key, not_before, not_after, made_at, renew_at } = leaf;
        let key = Arc::new(CertifiedKey::from_der(chain, key, &self.provider)?);
        let minted = Some(Minted { authority, made_at, renew_at });
        self.served.store(Some(Arc::new(Served { key, not_before, not_after, minted })));
        Ok(())
    }

    /// Serves what others have made.
    pub(super) fn serve_given(&self, pair: &Pair) {
        let (key, not_before, not_after) = (Arc::clone(&pair.key), pair.not_before, pair.not_after);
        self.served.store(Some(Arc::new(Served { key, not_before, not_after, minted: None })));
    }

    /// Whether what is served was signed by what `authority` signs with.
    fn is_of(&self, authority: &Authority) -> bool {
        let served = self.served.load();
        let minted = served.as_ref().and_then(|served| served.minted.as_ref());
        minted.is_some_and(|minted| minted.authority.signs_like(authority))
    }

    /// Whether another leaf should be made: there is none, it is in the last third of its time, or the clock was set
    /// back to long before it was made.
    fn is_due(&self, now: SystemTime) -> bool {
        let served = self.served.load();
        let minted = served.as_ref().and_then(|served| served.minted.as_ref());
        minted.is_none_or(|minted| now + issue::BACK_DATED < minted.made_at || minted.renew_at <= now)
    }

    /// Whether what is served is valid now, by itself.
    pub(super) fn check(&self, now: SystemTime) -> Result<(), String> {
        match &*self.served.load() {
            None => Err(verify::Error::NothingServed.to_string()),
            Some(served) if served.not_before <= now && now < served.not_after => Ok(()),
            Some(_) => Err("the certificate that is served is not valid now".to_owned()),
        }
    }

    /// What is served, leaf first; nothing if there is none.
    pub(super) fn chain(&self) -> Vec<CertificateDer<'static>> {
        self.served.load().as_ref().map(|served| served.key.cert.clone()).unwrap_or_default()
    }
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.served.load().as_ref().map(|served| Arc::clone(&served.key))
    }
}

/// Makes leaves: at once when another CA signs, and when the clock says so.
pub(super) struct Renewal {
    pub(super) resolver: Arc<Resolver>,
    pub(super) authority: watch::Receiver<Option<Arc<Authority>>>,
    pub(super) names: Names,
    pub(super) periods: Periods,
    pub(super) metrics: Arc<TlsMetrics>,
    /// The CA of which no leaf could be made, and why, as was logged last.
    pub(super) last_failure: Option<(u64, String)>,
}

impl Renewal {
    pub(super) async fn run(mut self, shutdown: CancellationToken) {
        let mut check = interval(self.periods.clock_check().min(CLOCK_CHECK));
        check.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                changed = self.authority.changed() => if changed.is_err() {
                    return;
                },
                _ = check.tick() => {}
            }
            self.renew(SystemTime::now());
        }
    }

    /// Makes a leaf if what is served is not of the CA in use, or is due.
    pub(super) fn renew(&mut self, now: SystemTime) {
        let Some(authority) = self.authority.borrow_and_update().clone() else { return };
        if self.resolver.is_of(&authority) && !self.resolver.is_due(now) {
            self.last_failure = None;
            return;
        }
        let generation = authority.current.generation;
        match self.mint(authority, now) {
            Ok(not_after) => {
                let seconds = not_after.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
                let not_after = i64::try_from(seconds).unwrap_or(i64::MAX);
                self.metrics.certificate_not_after.get_or_create(&RoleLabel { role: "leaf" }).set(not_after);
                tracing::info!(ca_generation = generation, not_after, "serving a new certificate");
                self.last_failure = None;
            }
            Err(error) if self.was_logged(generation, &error) => {}
            Err(error) => tracing::error!(%error, "no new serving certificate; the last one stays in use"),
        }
    }

    /// Whether the same failure was logged last. From now on it was.
    fn was_logged(&mut self, generation: u64, error: &Error) -> bool {
        let failure = Some((generation, error.to_string()));
        mem::replace(&mut self.last_failure, failure.clone()) == failure
    }

    fn mint(&self, authority: Arc<Authority>, now: SystemTime) -> Result<SystemTime, Error> {
        if !authority.is_valid_at(now) {
            return Err(Error::Ca);
        }
        let leaf = authority.leaf(&self.names, &self.periods, now)?;
        let not_after = leaf.not_after;
        self.resolver.serve(leaf, authority)?;
        Ok(not_after)
    }
}

#[cfg(test)]
#[path = "resolver_tests.rs"]
mod tests;
