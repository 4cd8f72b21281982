//! Keeps the CA in memory and the one in its Secret the same.
//!
//! Every write is a PUT of the version that was judged, so of several replicas that find the Secret empty one wins and
//! the others adopt its CA. There is no right to create the Secret, see `state` for what happens without it.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures::StreamExt;
use k8s_openapi::api::core::v1::Secret;
use kube::api::PostParams;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;

use super::backoff::Backoff;
use super::issue::{self, Ca};
use super::names::Names;
use super::state::{self, Action, Judgement, Observed};
use crate::metrics::{Metrics, ReasonLabel, RoleLabel};

/// How often the CA is judged anew although nothing changed but the time.
const LOOK: Duration = Duration::from_secs(30);
/// Writes that lose against another replica, one after the other, before the next pause.
const ATTEMPTS: usize = 5;

/// Why the Secret is not as it should be.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("making a CA: {0}")]
    Issue(#[from] issue::Error),
    #[error("reading the Secret: {0}")]
    Read(#[source] kube::Error),
    #[error("writing the Secret: {0}")]
    Write(#[source] kube::Error),
    #[error("others keep changing the Secret")]
    Contended,
}

/// The task that looks after the Secret.
pub(super) struct Keeper {
    secrets: Api<Secret>,
    names: Names,
    ca: watch::Sender<Option<Arc<Ca>>>,
    metrics: Arc<Metrics>,
}

impl Keeper {
    pub(super) fn new(client: Client, names: Names, ca: watch::Sender<Option<Arc<Ca>>>, metrics: Arc<Metrics>) -> Self {
        Self { secrets: Api::namespaced(client, names.namespace()), names, ca, metrics }
    }

    pub(super) async fn run(self, shutdown: CancellationToken) {
        // Also asks with the field selector without which a right to one name is none to watch it.
        let mut events = pin!(watcher::watch_object(self.secrets.clone(), &self.names.secret()).default_backoff());
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut backoff = Backoff::default();
        let mut seen: Option<Option<Secret>> = None;
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                event = events.next() => match event {
                    Some(Ok(secret)) => {
                        self.report_presence(seen.as_ref().map(Option::is_some), secret.is_some());
                        seen = Some(secret);
                    }
                    Some(Err(error)) => {
                        tracing::warn!(%error, secret = self.names.secret(), "watching the Secret of the webhooks' CA");
                        continue;
                    }
                    None => return,
                },
                _ = look.tick() => {}
                () = sleep(backoff.pause().unwrap_or_default()), if backoff.pause().is_some() => {}
            }
            let Some(secret) = &mut seen else { continue };
            match self.settle(secret).await {
                Ok(()) => backoff.reset(),
                Err(error) => {
                    backoff.lengthen();
                    let secret = self.names.secret();
                    tracing::warn!(%error, secret, "keeping the webhooks' CA; trying again");
                }
            }
        }
    }

    /// Does what the state machine says until it has nothing more to do.
    async fn settle(&self, secret: &mut Option<Secret>) -> Result<(), Error> {
        for _ in 0..ATTEMPTS {
            let now = SystemTime::now();
            let observed = self.observe(secret.as_ref(), now);
            let (reason, why) = match &observed {
                Observed::Present(Judgement::Damaged { reason, .. }) => ("damaged", reason.to_string()),
                _ => ("empty", "nothing".to_owned()),
            };
            let held = self.ca.borrow().clone();
            let ca = match state::step(observed, held.as_deref(), now) {
                Action::KeepServing => return Ok(()),
                Action::Adopt(ca) => {
                    self.hold(Arc::from(ca));
                    return Ok(());
                }
                Action::FillHeld => held,
                Action::FillNew(generation) => Some(Arc::new(Ca::mint(&self.names, generation, now)?)),
            };
            let (Some(ca), Some(found)) = (ca, secret.as_ref()) else { return Ok(()) };
            match self.fill(found, &ca).await {
                Ok(written) => {
                    self.metrics.ca_secret_fills.get_or_create(&ReasonLabel { reason }).inc();
                    let (name, generation) = (self.names.secret(), ca.generation);
                    tracing::info!(secret = name, generation, found = why, "wrote the webhooks' CA to its Secret");
                    self.hold(ca);
                    *secret = Some(written);
                    return Ok(());
                }
                Err(kube::Error::Api(status)) if status.is_conflict() => {
                    *secret = self.secrets.get_opt(&self.names.secret()).await.map_err(Error::Read)?;
                }
                Err(error) => return Err(Error::Write(error)),
            }
        }
        Err(Error::Contended)
    }

    fn observe(&self, secret: Option<&Secret>, now: SystemTime) -> Observed {
        let Some(secret) = secret else { return Observed::Missing };
        let nothing = state::Data::new();
        Observed::Present(state::judge(secret.data.as_ref().unwrap_or(&nothing), &self.names, now))
    }

    /// Writes `ca` over the version of the Secret that was `found`.
    async fn fill(&self, found: &Secret, ca: &Ca) -> Result<Secret, kube::Error> {
        let mut secret = found.clone();
        secret.data = Some(state::render(ca));
        self.secrets.replace(&self.names.secret(), &PostParams::default(), &secret).await
    }

    /// From now on leaves are made with `ca`, and the bundles trust it.
    fn hold(&self, ca: Arc<Ca>) {
        if self.ca.borrow().as_ref().is_some_and(|held| held.certificate() == ca.certificate()) {
            return;
        }
        let not_after = ca.not_after.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let gauge = self.metrics.certificate_not_after.get_or_create_owned(&RoleLabel { role: "ca" });
        gauge.set(i64::try_from(not_after).unwrap_or(i64::MAX));
        tracing::info!(generation = ca.generation, not_after, "using the webhooks' CA");
        self.ca.send_replace(Some(ca));
    }

    fn report_presence(&self, was_there: Option<bool>, is_there: bool) {
        self.metrics.ca_secret_missing.set(i64::from(!is_there));
        if was_there == Some(is_there) {
            return;
        }
        let (namespace, secret) = (self.names.namespace(), self.names.secret());
        if !is_there {
            tracing::error!(
                namespace,
                secret,
                "the Secret of the webhooks' CA is missing and this controller may not create it; what is in memory stays in use. Put it back, empty: kubectl -n {namespace} create secret generic {secret}"
            );
        } else if was_there == Some(false) {
            tracing::info!(namespace, secret, "the Secret of the webhooks' CA is back");
        }
    }
}
