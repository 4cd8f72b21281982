//! Campaigning for the Lease, leading under it, and giving it back.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::jiff::Timestamp;
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::fence::Fence;
use super::observed::{Action, remaining};
use super::watched::Watched;
use super::{RENEW_DEADLINE, RETRY, record};
use crate::api_error::{Class, classify};
use crate::calls::within;
use crate::leader::metrics::LeaderMetrics;
use crate::replicas::ReplicaId;

/// How long the controllers of a leader that stops may finish what they have begun. The next leader does what is left.
const FINISH: Duration = Duration::from_millis(500);
/// Longest that giving the Lease back may take. The process drains meanwhile, so a slow API server has time.
const RELEASE: Duration = Duration::from_secs(5);
/// Longest wait for the answer to one renewal: a dead connection must not cost the whole time.
const ATTEMPT: Duration = Duration::from_secs(RENEW_DEADLINE.as_secs() / 2);

/// One term of leadership.
#[derive(Clone, Debug)]
pub struct Term {
    /// Guards what is written.
    pub(crate) fence: Fence,
    /// Cancelled when the process stops: the work may finish what it has begun. A term that is lost is aborted instead.
    pub(crate) ending: CancellationToken,
}

/// Why a term has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The process stops.
    Stopped,
    /// Another replica holds the Lease, or it could not be renewed in time.
    Lost(&'static str),
    /// The work has ended before its term.
    WorkEnded,
}

/// A replica's part in the leader election.
pub(crate) struct Elector {
    leases: Api<Lease>,
    name: String,
    identity: String,
    metrics: Arc<LeaderMetrics>,
}

/// The Lease as this replica holds it.
struct Held {
    lease: Lease,
    /// When the request began by which it was last renewed.
    renewed: Instant,
}

/// The work of a leader. Dropping this value ends it, so that a panic of the elector, after which the Lease would not be
/// renewed, ends it too.
struct Work {
    task: JoinHandle<()>,
    fence: Fence,
}

impl Drop for Work {
    fn drop(&mut self) {
        self.fence.close();
        self.task.abort();
    }
}

impl Elector {
    /// Campaigns for the Lease `name` in `namespace`, as the process `id` in the pod `pod`.
    pub(crate) fn new(
        client: Client,
        namespace: &str,
        name: &str,
        (pod, id): (&str, ReplicaId),
        metrics: Arc<LeaderMetrics>,
    ) -> Self {
        Self {
            leases: Api::namespaced(client, namespace),
            name: name.to_owned(),
            identity: format!("{pod}_{id}"),
            metrics,
        }
    }

    /// Starts the leader's work with `lead` whenever this replica leads, and ends it with the term, until `stop`; then
    /// the Lease is given back, so that the next replica need not wait. Errors are logged and tried again.
    ///
    /// Returns early if the work ends before its term. The Lease is given back then too: its holder has to reconcile.
    pub(crate) async fn run(self, stop: CancellationToken, lead: impl Fn(Term) -> JoinHandle<()>) {
        let mut watched = Watched::new(self.leases.clone(), &self.name);
        if stop.run_until_cancelled(watched.next()).await.is_none() {
            return;
        }
        loop {
            let Some(held) = stop.run_until_cancelled(self.campaign(&mut watched)).await else {
                // The request may have succeeded whose answer was not waited for.
                return self.release(None).await;
            };
            let fence = Fence::new(held.renewed);
            let term = Term { fence: fence.clone(), ending: CancellationToken::new() };
            tracing::info!(identity = self.identity, lease = self.name, "leading: this replica reconciles");
            self.metrics.leader.set(1);
            let mut work = Work { task: lead(term.clone()), fence: fence.clone() };
            let (end, lease) = self.hold(held, &mut work, &mut watched, &stop).await;
            if end == End::Stopped {
                term.ending.cancel();
                if !work.task.is_finished() && timeout(FINISH, &mut work.task).await.is_err() {
                    tracing::warn!("the controllers have not finished in time");
                }
            }
            fence.close();
            if !work.task.is_finished() {
                work.task.abort();
                // The next term begins after the work of this one has ended.
                drop((&mut work.task).await);
            }
            self.metrics.leader.set(0);
            tracing::info!(identity = self.identity, ?end, "no longer leading");
            if !matches!(end, End::Lost(_)) {
                return self.release(Some(lease)).await;
            }
        }
    }

    /// Waits until this replica holds the Lease.
    async fn campaign(&self, watched: &mut Watched) -> Held {
        let mut not_before = Instant::now();
        loop {
            let now = Instant::now();
            let next = match watched.observed.decide(&self.identity, now) {
                Action::Wait(until) => until,
                action if now >= not_before => {
                    let known = watched.observed.version();
                    match within(RENEW_DEADLINE, self.write(action)).await {
                        Ok(lease) => {
                            watched.observed.take(Some(lease.clone()), known, now);
                            return Held { lease, renewed: now };
                        }
                        // Another replica has been quicker.
                        Err(error) if is_outdated(&error) => {
                            let known = watched.observed.version();
                            if let Ok(lease) = within(RETRY, self.leases.get_opt(&self.name)).await {
                                watched.observed.take(lease, known, Instant::now());
                            }
                        }
                        Err(error) => {
                            tracing::warn!(%error, lease = self.name, "campaigning for the Lease; trying again");
                        }
                    }
                    not_before = now + RETRY;
                    continue;
                }
                _ => not_before,
            };
            tokio::select! {
                () = sleep_until(next) => {}
                () = watched.next() => {}
            }
        }
    }

    async fn write(&self, action: Action) -> kube::Result<Lease> {
        match action {
            Action::Take(lease) => self.put(record::taken(*lease, &self.identity, Timestamp::now())).await,
            _ => self.create().await,
        }
    }

    async fn create(&self) -> kube::Result<Lease> {
        let lease = record::new(&self.name, &self.identity, Timestamp::now());
        self.leases.create(&PostParams::default(), &lease).await
    }

    async fn put(&self, lease: Lease) -> kube::Result<Lease> {
        self.leases.replace(&self.name, &PostParams::default(), &lease).await
    }

    /// Renews the Lease until the term ends. Returns why it has ended, and the Lease.
    async fn hold(
        &self,
        mut held: Held,
        work: &mut Work,
        watched: &mut Watched,
        stop: &CancellationToken,
    ) -> (End, Lease) {
        let mut renewal = interval_at(held.renewed + RETRY, RETRY);
        renewal.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let end = loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break End::Stopped,
                _ = &mut work.task => break End::WorkEnded,
                _ = renewal.tick() => {
                    let (begun, known) = (Instant::now(), watched.observed.version());
                    let Some(left) = remaining(held.renewed, begun) else {
                        break End::Lost("it could not be renewed in time");
                    };
                    // The attempt after one that was not answered uses another connection.
                    let renewed = Box::pin(within(left.min(ATTEMPT), self.renew(held.lease.clone())));
                    match stop.run_until_cancelled(renewed).await {
                        None => break End::Stopped,
                        Some(Ok(Some(lease))) => {
                            watched.observed.take(Some(lease.clone()), known, begun);
                            held = Held { lease, renewed: begun };
                            work.fence.renew(begun);
                        }
                        Some(Ok(None)) => break End::Lost("another replica holds the Lease"),
                        Some(Err(error)) => {
                            tracing::warn!(%error, lease = self.name, "renewing the Lease; trying again");
                        }
                    }
                }
                () = watched.next() => {
                    if watched.observed.holder().is_some_and(|holder| holder != self.identity) {
                        break End::Lost("another replica holds the Lease");
                    }
                }
            }
        };
        (end, held.lease)
    }

    /// Renews the Lease; none if another replica holds it. A foreign change of the Lease, or its deletion, is no reason
    /// to lose it: no other replica may take it before it has expired.
    async fn renew(&self, lease: Lease) -> kube::Result<Option<Lease>> {
        let renewed = self.update_own(Some(lease), |lease| record::renewed(lease, Timestamp::now())).await?;
        if renewed.is_some() {
            return Ok(renewed);
        }
        match self.create().await {
            Err(error) if is_outdated(&error) => Ok(None),
            result => result.map(Some),
        }
    }

    /// Gives the Lease back. If that fails, the next replica waits until it has expired.
    async fn release(&self, lease: Option<Lease>) {
        let released = self.update_own(lease, |lease| record::released(lease, Timestamp::now()));
        if let Err(error) = within(RELEASE, released).await {
            tracing::warn!(%error, lease = self.name, "the Lease was not given back");
        }
    }

    /// Changes `lease`, or the Lease as the API server has it if this replica holds that one. None if it does not.
    async fn update_own(&self, lease: Option<Lease>, change: impl Fn(Lease) -> Lease) -> kube::Result<Option<Lease>> {
        if let Some(lease) = lease {
            match self.put(change(lease)).await {
                Err(error) if is_outdated(&error) => {}
                result => return result.map(Some),
            }
        }
        match self.leases.get_opt(&self.name).await? {
            Some(lease) if record::holder(&lease) == Some(&*self.identity) => self.put(change(lease)).await.map(Some),
            _ => Ok(None),
        }
    }
}

/// Whether a write failed because the Lease has changed since it was seen.
fn is_outdated(error: &kube::Error) -> bool {
    matches!(classify(error), Class::Conflict | Class::AlreadyExists | Class::Gone)
}
