//! The serving certificate: which one new handshakes get, and when it is replaced.

use std::fmt;
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

use super::issue::{self, Ca, Leaf};
use super::names::Names;
use super::verify;
use crate::metrics::{Metrics, RoleLabel};

/// How often the wall clock is looked at. One long sleep would not notice a suspended machine or a clock that was set.
const LOOK: Duration = Duration::from_secs(30);

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

    fn serve(&self, leaf: Leaf) -> Result<(), Error> {
        let Leaf { chain, key, not_before, not_after, renew_at } = leaf;
        let key = Arc::new(CertifiedKey::from_der(chain, key, &self.provider)?);
        self.served.store(Some(Arc::new(Served { key, not_before, not_after, renew_at })));
        Ok(())
    }

    /// Whether another leaf should be made: there is none, it is in the last third of its time, or the clock was set
    /// back to before it.
    fn is_due(&self, now: SystemTime) -> bool {
        self.served.load().as_ref().is_none_or(|served| now < served.not_before || served.renew_at <= now)
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

/// Makes leaves: at once when the CA changes, and when the clock says so.
pub(super) struct Renewal {
    pub(super) resolver: Arc<Resolver>,
    pub(super) ca: watch::Receiver<Option<Arc<Ca>>>,
    pub(super) names: Names,
    pub(super) metrics: Arc<Metrics>,
}

impl Renewal {
    pub(super) async fn run(mut self, shutdown: CancellationToken) {
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                changed = self.ca.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    self.renew(SystemTime::now());
                }
                _ = look.tick() => {
                    if self.resolver.is_due(SystemTime::now()) {
                        self.renew(SystemTime::now());
                    }
                }
            }
        }
    }

    pub(super) fn renew(&mut self, now: SystemTime) {
        let Some(ca) = self.ca.borrow_and_update().clone() else { return };
        match self.mint(&ca, now) {
            Ok(not_after) => {
                let seconds = not_after.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
                let not_after = i64::try_from(seconds).unwrap_or(i64::MAX);
                self.metrics.certificate_not_after.get_or_create(&RoleLabel { role: "leaf" }).set(not_after);
                tracing::info!(ca_generation = ca.generation, not_after, "serving a new certificate");
            }
            Err(error) => tracing::error!(%error, "no new serving certificate; the last one stays in use"),
        }
    }

    fn mint(&self, ca: &Ca, now: SystemTime) -> Result<SystemTime, Error> {
        if !ca.is_valid_at(now) {
            return Err(Error::Ca);
        }
        let leaf = ca.leaf(&self.names, now)?;
        let not_after = leaf.not_after;
        self.resolver.serve(leaf)?;
        Ok(not_after)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn renewal(ca: Ca) -> Renewal {
        let resolver = Arc::new(Resolver::new(Arc::new(rustls::crypto::ring::default_provider())));
        let (_, ca) = watch::channel(Some(Arc::new(ca)));
        Renewal { resolver, ca, names: Names::new("keeper", "home", "x"), metrics: Metrics::new() }
    }

    #[test]
    fn a_leaf_is_replaced_by_the_clock_in_both_directions() {
        const DAY: Duration = Duration::from_secs(24 * 60 * 60);
        let now = SystemTime::UNIX_EPOCH + DAY * 20_000;
        let mut renewal = renewal(Ca::mint(&Names::new("keeper", "home", "x"), 1, now - DAY * 3).unwrap());
        let resolver = Arc::clone(&renewal.resolver);
        assert!(resolver.is_due(now));
        assert!(resolver.check(now).is_err());
        renewal.renew(now);
        for (at, due, valid) in [
            (now, false, true),
            (now - DAY / 2, false, true),
            (now + DAY * 3, false, true),
            (now + DAY * 5, true, true),
            (now + DAY * 8, true, false),
            (now - DAY * 2, true, false),
        ] {
            assert_eq!((resolver.is_due(at), resolver.check(at).is_ok()), (due, valid));
        }
        let first = resolver.chain();
        renewal.renew(now + DAY * 8);
        assert_eq!(resolver.check(now + DAY * 8), Ok(()));
        assert_ne!(resolver.chain(), first);
    }

    #[test]
    fn the_last_leaf_stays_when_the_ca_cannot_make_another() {
        let now = SystemTime::now();
        let names = Names::new("keeper", "home", "x");
        let mut renewal = renewal(Ca::mint(&names, 1, now).unwrap());
        renewal.renew(now);
        let before = renewal.resolver.chain();
        renewal.renew(now + Duration::from_secs(20 * 365 * 24 * 60 * 60));
        assert_eq!(renewal.resolver.chain(), before);
    }

    #[tokio::test]
    async fn a_new_ca_is_served_at_once() {
        let names = Names::new("keeper", "home", "x");
        let (sender, ca) = watch::channel(None);
        let resolver = Arc::new(Resolver::new(Arc::new(rustls::crypto::ring::default_provider())));
        let task = Renewal { resolver: Arc::clone(&resolver), ca, names: names.clone(), metrics: Metrics::new() };
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(task.run(shutdown.clone()));
        for generation in 1..3 {
            let before = resolver.chain();
            sender.send_replace(Some(Arc::new(Ca::mint(&names, generation, SystemTime::now()).unwrap())));
            while resolver.chain() == before {
                tokio::task::yield_now().await;
            }
        }
        shutdown.cancel();
        task.await.unwrap();
    }
}
