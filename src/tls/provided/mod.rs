//! The webhooks' certificates as other programs make them: what is found is verified as the API server would, and served.

mod handover;
pub mod source;
mod watched;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use k8s_openapi::api::admissionregistration::v1::{MutatingWebhookConfiguration, ValidatingWebhookConfiguration};
use rustls::crypto::CryptoProvider;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use self::handover::{Handover, Trust};
use self::source::{Error, Found, Material, Pair, Source, keep};
use self::watched::Watcher;
use super::Context;
use super::serving::verify;
use crate::runtime::Runtime;
use crate::runtime::shutdown::Stage;

/// What metrics call the serving certificate.
const ROLE: &str = "leaf";
/// Pause between two checks whether a pair still has to wait: what is served may expire.
const CHECK: Duration = Duration::from_secs(5);

/// Starts to follow `source`, and what the API server trusts.
pub(super) fn start(source: &Source, context: &Arc<Context>, runtime: &Runtime) {
    let tasks = runtime.tasks(Stage::Serve);
    let requirements = Requirements { provider: Arc::clone(&context.provider), name: context.names.server_name() };
    let (found, pairs) = watch::channel(None::<Arc<VerifiedPair>>);
    let (served, serving) = watch::channel(());
    let seen = source.follow(context.client.clone(), context.names.namespace());
    let (metrics, stop) = (Arc::clone(&context.metrics), tasks.stopping().clone());
    tasks.spawn("webhook certificate source", keep(seen, ROLE, Arc::new(requirements), found, metrics, stop));
    let trust = [
        Watcher::<MutatingWebhookConfiguration>::start(context, runtime, serving.clone()),
        Watcher::<ValidatingWebhookConfiguration>::start(context, runtime, serving),
    ];
    let handover = Server { context: Arc::clone(context), trust, used: None };
    tasks.spawn("webhook certificate", handover.run(pairs, served, tasks.stopping().clone()));
}

/// Serves the latest pair, as soon as no API server may refuse it that accepts the one before it.
struct Server {
    context: Arc<Context>,
    trust: [watch::Receiver<Trust>; 2],
    /// What is served.
    used: Option<Arc<VerifiedPair>>,
}

impl Server {
    /// Notifies `served` of each change.
    async fn run(
        mut self,
        mut pairs: watch::Receiver<Option<Arc<VerifiedPair>>>,
        served: watch::Sender<()>,
        shutdown: CancellationToken,
    ) {
        let mut check = interval(CHECK.min(self.context.periods.hold_down));
        check.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut next, mut is_reported) = (None::<Arc<VerifiedPair>>, false);
        loop {
            let [mutating, validating] = &mut self.trust;
            let event = tokio::select! {
                () = shutdown.cancelled() => return,
                changed = pairs.changed() => {
                    (next, is_reported) = (pairs.borrow_and_update().clone(), false);
                    changed
                }
                changed = mutating.changed(), if next.is_some() => changed,
                changed = validating.changed(), if next.is_some() => changed,
                _ = check.tick(), if next.is_some() => Ok(()),
            };
            if event.is_err() {
                return;
            }
            let Some(pair) = next.take() else { continue };
            if let Some(why) = self.wait(&pair) {
                if !is_reported {
                    self.report_wait(&why);
                }
                (next, is_reported) = (Some(pair), true);
                continue;
            }
            self.context.resolver.serve(Arc::clone(&pair.0));
            self.used = Some(pair);
            self.record_not_after();
            served.send_replace(());
        }
    }

    fn wait(&self, next: &VerifiedPair) -> Option<String> {
        let Context { names, periods, .. } = &*self.context;
        let (served, name) = (&self.used.as_ref()?.0.key.cert, names.server_name());
        let handover = Handover { served, new: &next.0.key.cert, name: &name };
        let trust = self.trust.each_ref().map(|trust| trust.borrow().clone());
        handover.wait(&trust, SystemTime::now(), Instant::now(), periods.hold_down)
    }

    fn report_wait(&self, why: &str) {
        self.context.metrics.count_load(ROLE, "waiting");
        self.record_not_after();
        tracing::info!(
            role = ROLE,
            why,
            "the new certificate waits until API servers trust it; the last one is served on"
        );
    }

    /// The metric is about what is served, also if there is something newer.
    fn record_not_after(&self) {
        if let Some(used) = &self.used {
            self.context.metrics.set_not_after(ROLE, used.not_after());
        }
    }
}

/// What a pair is verified by.
struct Requirements {
    provider: Arc<CryptoProvider>,
    /// The name that the API server verifies.
    name: String,
}

/// A pair that an API server accepts which trusts the authority that came with it.
#[derive(Debug)]
struct VerifiedPair(Arc<Pair>);

impl Material for VerifiedPair {
    type Context = Requirements;

    fn of(found: &Found, now: SystemTime, requirements: &Requirements) -> Result<Self, Error> {
        let pair = Pair::of(found, now, &requirements.provider)?;
        match found.ca.as_deref() {
            Some(ca) if !ca.is_empty() => verify::verify(&pair.key.cert, ca, &requirements.name, now)?,
            _ => verify::verify_alone(&pair.key.cert, &requirements.name, now)?,
        }
        Ok(Self(Arc::new(pair)))
    }

    fn not_after(&self) -> SystemTime {
        self.0.not_after()
    }
}

#[cfg(test)]
mod tests;
