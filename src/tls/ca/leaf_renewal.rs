//! Makes this process's serving certificates: at once when another CA signs, and when the clock says so.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{anyhow, ensure};
use rustls::crypto::ring::default_provider;
use rustls::sign::CertifiedKey;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use super::authority::Authority;
use super::issue::{self, Leaf};
use crate::tls::context::Context;
use crate::tls::pair::{Pair, Validity};

/// What metrics call the serving certificate.
const ROLE: &str = "leaf";
/// Longest time for which a leaf that a jump of the clock has made useless is served: less than the readiness probe
/// takes to fail, so that a jump does not take all replicas out of the Service.
const CLOCK_CHECK: Duration = Duration::from_secs(1);

/// How the leaf that is served was made.
struct Made {
    authority: Arc<Authority>,
    at: SystemTime,
    renew_at: SystemTime,
}

/// The task that makes leaves.
pub(in crate::tls) struct Renewal {
    context: Arc<Context>,
    authority: watch::Receiver<Option<Arc<Authority>>>,
    made: Option<Made>,
    /// The CA of which no leaf could be made, and why, as was logged last.
    last_failure: Option<(u64, String)>,
}

impl Renewal {
    pub(in crate::tls) fn new(context: Arc<Context>, authority: watch::Receiver<Option<Arc<Authority>>>) -> Self {
        Self { context, authority, made: None, last_failure: None }
    }

    pub(super) async fn run(mut self) {
        let mut check = interval(self.context.periods.clock_check().min(CLOCK_CHECK));
        check.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                changed = self.authority.changed() => if changed.is_err() {
                    return;
                },
                _ = check.tick() => {}
            }
            self.renew(SystemTime::now());
        }
    }

    /// Makes a leaf if what is served is not of the CA in use, or is due.
    pub(in crate::tls) fn renew(&mut self, now: SystemTime) {
        let Some(authority) = self.authority.borrow_and_update().clone() else { return };
        if !self.is_due(&authority, now) {
            self.last_failure = None;
            return;
        }
        let generation = authority.current.generation;
        match self.make(authority, now) {
            Ok(not_after) => {
                let not_after = self.context.metrics.set_not_after(ROLE, not_after);
                tracing::info!(ca_generation = generation, not_after, "serving a new certificate");
                self.last_failure = None;
            }
            Err(error) => {
                let failure = Some((generation, error.to_string()));
                if self.last_failure != failure {
                    tracing::error!(%error, "no new serving certificate; the last one stays in use");
                }
                self.last_failure = failure;
            }
        }
    }

    /// Whether another leaf should be made: there is none, another CA signs, it is in the last third of its time, or the
    /// clock was set back to long before it was made.
    fn is_due(&self, authority: &Authority, now: SystemTime) -> bool {
        self.made.as_ref().is_none_or(|made| {
            !made.authority.signs_like(authority) || now + issue::BACK_DATED < made.at || made.renew_at <= now
        })
    }

    fn make(&mut self, authority: Arc<Authority>, now: SystemTime) -> anyhow::Result<SystemTime> {
        ensure!(authority.is_valid_at(now), "the CA is not valid now");
        let Context { names, periods, resolver, .. } = &*self.context;
        let Leaf { chain, key, not_before, not_after, renew_at } = authority.leaf(names, periods, now)?;
        let key = Arc::new(
            CertifiedKey::from_der(chain, key, &default_provider())
                .map_err(|error| anyhow!("using the new certificate: {error}"))?,
        );
        resolver.serve(Arc::new(Pair { key, validity: Validity { not_before, not_after } }));
        self.made = Some(Made { authority, at: now, renew_at });
        Ok(not_after)
    }
}

#[cfg(test)]
#[path = "leaf_renewal_tests.rs"]
mod tests;
