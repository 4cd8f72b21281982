//! The webhooks' certificates as others make them: what is found is judged as the API server would, and served.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use k8s_openapi::api::admissionregistration::v1::{MutatingWebhookConfiguration, ValidatingWebhookConfiguration};
use rustls::crypto::CryptoProvider;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::resolver::Resolver;
use super::source::{self, Error, Found, Material, Pair, Source, keep};
use super::turn::{Trust, Turn};
use super::watched::Watcher;
use super::{Parts, verify};
use crate::tls::metrics::{CertificateLoadLabels, RoleLabel, TlsMetrics};

/// How metrics call the certificate that is served, whoever makes it.
const ROLE: &str = "leaf";
/// How often it is looked at whether a pair still has to wait: what is served may expire.
const LOOK: Duration = Duration::from_secs(5);

/// Starts to follow `source`, and what the API server trusts.
pub(super) fn start(source: &Source, parts: &Parts<'_>) {
    let demands = Demands { provider: Arc::clone(parts.provider), name: parts.names.server_name() };
    let (found, pairs) = watch::channel(None::<Arc<Fit>>);
    let (served, serving) = watch::channel(());
    let seen = source.follow(parts.client.clone(), parts.names.namespace());
    let (metrics, stop) = (Arc::clone(parts.metrics), parts.tasks.stopping().clone());
    parts.tasks.spawn("webhook certificate source", keep(seen, ROLE, Arc::new(demands), found, metrics, stop));
    let mutating = Watcher::<MutatingWebhookConfiguration>::new(parts, serving.clone());
    let validating = Watcher::<ValidatingWebhookConfiguration>::new(parts, serving);
    let turns = Server {
        resolver: Arc::clone(parts.resolver),
        name: parts.names.server_name(),
        hold_down: parts.periods.hold_down,
        trust: [mutating.trust(), validating.trust()],
        metrics: Arc::clone(parts.metrics),
        used: None,
    };
    parts.tasks.spawn("webhook certificate", turns.run(pairs, served, parts.tasks.stopping().clone()));
    mutating.start(parts);
    validating.start(parts);
}

/// Serves the latest pair, as soon as that harms nobody.
struct Server {
    resolver: Arc<Resolver>,
    /// The name that the API server verifies.
    name: String,
    /// How long every API server may take to learn of a changed CA bundle.
    hold_down: Duration,
    trust: [watch::Receiver<Trust>; 2],
    metrics: Arc<TlsMetrics>,
    /// What is served.
    used: Option<Arc<Fit>>,
}

impl Server {
    /// Tells `served` of each change.
    async fn run(
        mut self,
        mut pairs: watch::Receiver<Option<Arc<Fit>>>,
        served: watch::Sender<()>,
        shutdown: CancellationToken,
    ) {
        let mut look = interval(LOOK.min(self.hold_down));
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut next, mut told) = (None::<Arc<Fit>>, false);
        loop {
            let [mutating, validating] = &mut self.trust;
            let heard = tokio::select! {
                () = shutdown.cancelled() => return,
                changed = pairs.changed() => {
                    (next, told) = (pairs.borrow_and_update().clone(), false);
                    changed
                }
                changed = mutating.changed(), if next.is_some() => changed,
                changed = validating.changed(), if next.is_some() => changed,
                _ = look.tick(), if next.is_some() => Ok(()),
            };
            if heard.is_err() {
                return;
            }
            let Some(pair) = next.take() else { continue };
            if let Some(why) = self.wait(&pair) {
                if !told {
                    self.tell(&why);
                }
                (next, told) = (Some(pair), true);
                continue;
            }
            self.resolver.serve_given(&pair.0);
            self.used = Some(pair);
            self.note_end();
            served.send_replace(());
        }
    }

    fn wait(&self, next: &Fit) -> Option<String> {
        let turn = Turn { served: &self.used.as_ref()?.0.key.cert, new: &next.0.key.cert, name: &self.name };
        let trust = self.trust.each_ref().map(|trust| trust.borrow().clone());
        turn.wait(&trust, SystemTime::now(), Instant::now(), self.hold_down)
    }

    fn tell(&self, why: &str) {
        self.metrics.certificate_loads.get_or_create(&CertificateLoadLabels { role: ROLE, outcome: "waiting" }).inc();
        self.note_end();
        tracing::info!(
            role = ROLE,
            why,
            "the new certificate waits until API servers trust it; the last one is served on"
        );
    }

    /// What expires is what is served, also if there is something newer.
    fn note_end(&self) {
        if let Some(used) = &self.used {
            let not_after = source::seconds(used.not_after());
            self.metrics.certificate_not_after.get_or_create(&RoleLabel { role: ROLE }).set(not_after);
        }
    }
}

/// What a pair has to be good for.
struct Demands {
    provider: Arc<CryptoProvider>,
    /// The name that the API server verifies.
    name: String,
}

/// A pair that an API server accepts which trusts the authority that came with it.
#[derive(Debug)]
struct Fit(Pair);

impl Material for Fit {
    type Context = Demands;

    fn of(found: &Found, now: SystemTime, demands: &Demands) -> Result<Self, Error> {
        let pair = Pair::of(found, now, &demands.provider)?;
        match found.ca.as_deref() {
            Some(ca) if !ca.is_empty() => verify::verify(&pair.key.cert, ca, &demands.name, now)?,
            _ => verify::verify_alone(&pair.key.cert, &demands.name, now)?,
        }
        Ok(Self(pair))
    }

    fn not_after(&self) -> SystemTime {
        self.0.not_after
    }
}

#[cfg(test)]
#[path = "given_tests.rs"]
mod tests;
