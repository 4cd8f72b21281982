//! Standing for election, leading, and handing over.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::jiff::Timestamp;
use kube::api::PostParams;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::election::{self, Action, Observed};
use super::fence::Fence;
use super::{RENEW_DEADLINE, RETRY, record};
use crate::api_error::{Class, classify};
use crate::leader::metrics::LeaderMetrics;
use crate::replicas::ReplicaId;

/// How long a leader that was told to stop lets its controllers finish what they have begun. What is broken off is done
/// by the next leader, which is not to wait for long.
const FINISH: Duration = Duration::from_millis(500);
/// Longest that giving the Lease back may take. The process drains meanwhile, so a slow API server has time.
const RELEASE: Duration = Duration::from_secs(5);

/// How long a renewal waits for an answer: a connection that leads nowhere must not cost the whole time.
const ATTEMPT: Duration = Duration::from_secs(RENEW_DEADLINE.as_secs() / 2);

/// One term of leadership.
#[derive(Clone, Debug)]
pub struct Term {
    /// Guards what is written.
    pub fence: Fence,
    /// Cancelled when the term is to end in an orderly way: what was begun may be finished. A term that is lost ends
    /// without.
    pub ending: CancellationToken,
}

/// Why the Lease could not be written.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("writing the Lease: {0}")]
    Write(#[from] kube::Error),
    #[error("the API server does not answer")]
    Timeout,
}

/// Why a term has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The process stops.
    Stopped,
    /// Another holds the Lease, or it could not be renewed in time.
    Lost(&'static str),
    /// The controllers have ended before they were told to.
    Ended,
}

/// A replica's part in the election.
pub struct Elector {
    leases: Api<Lease>,
    namespace: String,
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

/// What the leader does. It ends with this value, that is to say also when the elector ends by a panic: nobody would
/// renew the Lease that it works under.
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

type Looks<'a> = Pin<&'a mut (dyn Stream<Item = watcher::Result<Option<Lease>>> + Send)>;

impl Elector {
    /// Stands for the Lease `name` in `namespace`, in the name of the pod `pod` and of this very process.
    #[must_use]
    pub fn new(
        client: Client,
        namespace: &str,
        name: &str,
        (pod, id): (&str, ReplicaId),
        metrics: Arc<LeaderMetrics>,
    ) -> Self {
        Self {
            leases: Api::namespaced(client, namespace),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            identity: format!("{pod}_{id}"),
            metrics,
        }
    }

    /// Starts the leader's work with `lead` whenever this replica leads, and ends it with the term, until `stop`; then
    /// the Lease is given back, so that the next replica need not wait. Errors are logged and tried again.
    ///
    /// Returns early if the work ends before its term: then the Lease is given back as well, since who holds it must
    /// reconcile.
    pub async fn run(self, stop: CancellationToken, lead: impl Fn(Term) -> JoinHandle<()>) {
        // Also asks with the field selector without which a right to one name is none to watch it.
        let mut looks = pin!(watcher::watch_object(self.leases.clone(), &self.name).default_backoff());
        let mut observed = Observed::default();
        if stop.run_until_cancelled(self.first_look(looks.as_mut(), &mut observed)).await.is_none() {
            return;
        }
        loop {
            let Some(held) = stop.run_until_cancelled(self.stand(looks.as_mut(), &mut observed)).await else {
                // The answer may not have been waited for by which this replica got it.
                return self.release(None).await;
            };
            let fence = Fence::new(held.renewed);
            let term = Term { fence: fence.clone(), ending: CancellationToken::new() };
            tracing::info!(identity = self.identity, lease = self.name, "leading: this replica reconciles");
            self.metrics.leader.set(1);
            let mut work = Work { task: lead(term.clone()), fence: fence.clone() };
            let (end, held) = self.hold(held, &fence, &mut work.task, looks.as_mut(), &mut observed, &stop).await;
            if end == End::Stopped {
                term.ending.cancel();
                if !work.task.is_finished() && timeout(FINISH, &mut work.task).await.is_err() {
                    tracing::warn!("the controllers have not finished in time");
                }
            }
            fence.close();
            if !work.task.is_finished() {
                work.task.abort();
                // What it was cancelled with is of no interest, only that it is over before the next term begins.
                drop((&mut work.task).await);
            }
            self.metrics.leader.set(0);
            tracing::info!(identity = self.identity, ?end, "no longer leading");
            match end {
                End::Stopped | End::Ended => return self.release(Some(held.lease)).await,
                End::Lost(_) => {}
            }
        }
    }

    async fn first_look(&self, mut looks: Looks<'_>, observed: &mut Observed) {
        while !self.look(looks.as_mut(), observed).await {}
    }

    /// Waits for news of the Lease. Returns whether there are any.
    async fn look(&self, mut looks: Looks<'_>, observed: &mut Observed) -> bool {
        match looks.next().await {
            Some(Ok(lease)) => {
                observed.see(lease, Instant::now());
                true
            }
            Some(Err(error)) => {
                tracing::warn!(%error, lease = self.name, "watching the Lease");
                false
            }
            // The watch never ends by itself.
            None => std::future::pending().await,
        }
    }

    /// Waits until this replica holds the Lease.
    async fn stand(&self, mut looks: Looks<'_>, observed: &mut Observed) -> Held {
        let mut not_before = Instant::now();
        loop {
            let now = Instant::now();
            let next = match observed.decide(&self.identity, now) {
                Action::Wait(until) => until,
                action if now >= not_before => {
                    let known = observed.version();
                    match timeout(RENEW_DEADLINE, self.write(action)).await.unwrap_or(Err(Error::Timeout)) {
                        Ok(lease) => {
                            observed.take(Some(lease.clone()), known, now);
                            return Held { lease, renewed: now };
                        }
                        Err(error) => self.failed(&error, observed).await,
                    }
                    not_before = now + RETRY;
                    continue;
                }
                _ => not_before,
            };
            tokio::select! {
                () = sleep_until(next) => {}
                _ = self.look(looks.as_mut(), observed) => {}
            }
        }
    }

    async fn write(&self, action: Action) -> Result<Lease, Error> {
        let now = Timestamp::now();
        let written = match action {
            Action::Take(lease) => self.put(record::taken(*lease, &self.identity, now)).await,
            _ => self.create(now).await,
        };
        written.map_err(Error::Write)
    }

    async fn create(&self, now: Timestamp) -> kube::Result<Lease> {
        let lease = record::new(&self.namespace, &self.name, &self.identity, now);
        self.leases.create(&PostParams::default(), &lease).await
    }

    async fn put(&self, lease: Lease) -> kube::Result<Lease> {
        self.leases.replace(&self.name, &PostParams::default(), &lease).await
    }

    /// After a write that failed: looks at what is there, if another has been quicker.
    async fn failed(&self, error: &Error, observed: &mut Observed) {
        if let Error::Write(error) = error
            && is_outdated(error)
        {
            let known = observed.version();
            if let Ok(Ok(lease)) = timeout(RETRY, self.leases.get_opt(&self.name)).await {
                observed.take(lease, known, Instant::now());
            }
            return;
        }
        tracing::warn!(%error, lease = self.name, "standing for election; trying again");
    }

    /// Keeps the Lease for as long as possible.
    async fn hold(
        &self,
        mut held: Held,
        fence: &Fence,
        work: &mut JoinHandle<()>,
        mut looks: Looks<'_>,
        observed: &mut Observed,
        stop: &CancellationToken,
    ) -> (End, Held) {
        let mut renewal = interval_at(held.renewed + RETRY, RETRY);
        renewal.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let end = loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break End::Stopped,
                _ = &mut *work => break End::Ended,
                _ = renewal.tick() => {
                    let (begun, known) = (Instant::now(), observed.version());
                    let Some(left) = election::attempt(held.renewed, begun) else {
                        break End::Lost("it could not be renewed in time");
                    };
                    let renewed = timeout(left.min(ATTEMPT), self.renew(held.lease.clone()));
                    match stop.run_until_cancelled(renewed).await {
                        None => break End::Stopped,
                        Some(Ok(Ok(Some(lease)))) => {
                            observed.take(Some(lease.clone()), known, begun);
                            held = Held { lease, renewed: begun };
                            fence.renew(begun);
                        }
                        Some(Ok(Ok(None))) => break End::Lost("another replica holds the Lease"),
                        Some(Ok(Err(error))) => {
                            tracing::warn!(%error, lease = self.name, "renewing the Lease; trying again");
                        }
                        // The next attempt goes by another connection; it finds out if it is too late.
                        Some(Err(_)) => {
                            tracing::warn!(lease = self.name, "renewing the Lease: no answer; trying again");
                        }
                    }
                }
                _ = self.look(looks.as_mut(), observed) => {
                    if observed.holder().is_some_and(|holder| holder != self.identity) {
                        break End::Lost("another replica holds the Lease");
                    }
                }
            }
        };
        (end, held)
    }

    /// Renews the Lease; none if another holds it. What somebody else has changed in it, or that it was deleted, is no
    /// reason to lose it: nobody may take it before it has expired.
    async fn renew(&self, lease: Lease) -> kube::Result<Option<Lease>> {
        match self.put(record::renewed(lease, Timestamp::now())).await {
            Err(error) if is_outdated(&error) => {}
            result => return result.map(Some),
        }
        match self.leases.get_opt(&self.name).await? {
            None => self.create(Timestamp::now()).await.map(Some),
            Some(lease) if record::holder(&lease) == Some(&*self.identity) => {
                self.put(record::renewed(lease, Timestamp::now())).await.map(Some)
            }
            Some(_) => Ok(None),
        }
    }

    /// Gives the Lease back, as it was last seen if this replica surely has it. If that fails, the next replica waits
    /// until it has expired.
    async fn release(&self, lease: Option<Lease>) {
        let release = async {
            if let Some(lease) = lease {
                match self.put(record::released(lease, Timestamp::now())).await {
                    // The answer to the last renewal was not waited for.
                    Err(error) if classify(&error) == Class::Conflict => {}
                    result => return result.map(drop),
                }
            }
            match self.leases.get_opt(&self.name).await? {
                Some(lease) if record::holder(&lease) == Some(&*self.identity) => {
                    self.put(record::released(lease, Timestamp::now())).await.map(drop)
                }
                _ => Ok(()),
            }
        };
        match timeout(RELEASE, release).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, lease = self.name, "the Lease was not given back"),
            Err(_) => tracing::warn!(lease = self.name, "the Lease was not given back: no answer"),
        }
    }
}

/// Whether a write failed because the Lease is not, or no more, as it was known.
fn is_outdated(error: &kube::Error) -> bool {
    matches!(classify(error), Class::Conflict | Class::AlreadyExists | Class::Gone)
}
