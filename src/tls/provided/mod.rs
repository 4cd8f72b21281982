//! The webhooks' certificates as other programs make them: what is found is verified as the API server would, and served.

mod handover;
mod watched;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use k8s_openapi::api::admissionregistration::v1::{MutatingWebhookConfiguration, ValidatingWebhookConfiguration};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval};

use self::handover::Handover;
use super::context::Context;
use super::source::{Error, Found, Material, Pair, Source};
use super::trust::{self, Configuration, Trust};
use super::verify;
use crate::runtime::Runtime;
use crate::runtime::shutdown::Stage;

/// What metrics call the serving certificate.
const ROLE: &str = "leaf";
/// Pause between two checks whether a pair still has to wait: what is served may expire.
const CHECK: Duration = Duration::from_secs(5);

/// Starts to follow `source`, and what the API server trusts.
pub(super) fn start(source: &Source, context: &Arc<Context>, runtime: &Runtime) {
    let (name, namespace) = (context.names.server_name(), context.names.namespace());
    let make = move |found: &Found, now| verified(found, now, &name);
    let pairs = source.keep(("webhook certificate source", ROLE), make, namespace, runtime, &context.metrics);
    let (served, serving) = watch::channel(());
    let trust = [
        follow_bundles::<MutatingWebhookConfiguration>(context, runtime, &serving),
        follow_bundles::<ValidatingWebhookConfiguration>(context, runtime, &serving),
    ];
    let handover = Server { context: Arc::clone(context), trust, used: None };
    runtime.tasks(Stage::Serve).spawn_endless("webhook certificate", handover.run(pairs, served));
}

fn follow_bundles<K: Configuration>(
    context: &Arc<Context>,
    runtime: &Runtime,
    served: &watch::Receiver<()>,
) -> watch::Receiver<Trust> {
    trust::start::<K, _>(context, runtime, |trust| watched::watch::<K>(Arc::clone(context), trust, served.clone()))
}

/// Serves the latest pair, as soon as no API server may refuse it that accepts the one before it.
struct Server {
    context: Arc<Context>,
    trust: [watch::Receiver<Trust>; 2],
    /// What is served.
    used: Option<Arc<Pair>>,
}

impl Server {
    /// Notifies `served` of each change.
    async fn run(mut self, mut pairs: watch::Receiver<Option<Arc<Pair>>>, served: watch::Sender<()>) {
        let mut check = interval(CHECK.min(self.context.periods.hold_down));
        check.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut next, mut is_reported) = (None::<Arc<Pair>>, false);
        loop {
            let [mutating, validating] = &mut self.trust;
            let event = tokio::select! {
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
            self.context.resolver.serve(Arc::clone(&pair));
            self.used = Some(pair);
            self.record_not_after();
            served.send_replace(());
        }
    }

    fn wait(&self, next: &Pair) -> Option<String> {
        let Context { names, periods, .. } = &*self.context;
        let (served, name) = (&self.used.as_ref()?.key.cert, names.server_name());
        let handover = Handover { served, new: &next.key.cert, name: &name };
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

/// The pair that is found, if an API server accepts it that trusts the authority that came with it.
fn verified(found: &Found, now: SystemTime, server_name: &str) -> Result<Pair, Error> {
    let pair = Pair::of(found, now)?;
    match found.ca.as_deref() {
        Some(ca) if !ca.is_empty() => verify::verify(&pair.key.cert, ca, server_name, now)?,
        _ => verify::verify_alone(&pair.key.cert, server_name, now)?,
    }
    Ok(pair)
}

#[cfg(test)]
mod tests;
