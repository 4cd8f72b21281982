//! Keeps the CA in memory and the one in its Secret the same, and takes the steps of a rotation while this replica
//! leads.
//!
//! Every write is a PUT of the version that was judged, so of several replicas that find the Secret empty one wins and
//! the others adopt its CA. What is written is decided in `rotation`.

mod memory;
mod reports;

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use futures::future::{BoxFuture, FutureExt};
use futures::{StreamExt, try_join};
use k8s_openapi::api::admissionregistration::v1::{MutatingWebhookConfiguration, ValidatingWebhookConfiguration};
use k8s_openapi::api::core::v1::Secret;
use kube::api::PostParams;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, ResourceExt};
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use self::memory::{Memory, Seen, Sight};
use super::authority::{Authority, Phase};
use super::bundle;
use super::canary::{self, Verdict};
use super::issue;
use super::live::{self, Live};
use super::names::Names;
use super::news::News;
use super::periods::Periods;
use super::rotation::{self, Action, Canary, Change, Observed, Proof, Wanted};
use super::stored;
use super::{Lead, Peers, SERVED_CA};
use crate::api_error::{Class, classify};
use crate::calls::within;
use crate::events::Severity;
use crate::store::watch::version_of;
use crate::tls::metrics::{ChangeLabel, TlsMetrics};

/// Writes that lose against another replica, one after the other, before the next pause.
const ATTEMPTS: usize = 5;
/// Longest that one call may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// Between two looks while there is nothing to sign with.
const START: Duration = Duration::from_millis(100);
/// On the Secret: replace the CA now. The value is a reason, for the log.
const ROTATE: &str = "k8s.atomix.io/rotate-ca";
/// On the Secret: replace the CA now and trust nothing any more that it has signed.
const REVOKE: &str = "k8s.atomix.io/revoke-ca";

/// Why the Secret is not as it should be.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("making a CA: {0}")]
    Issue(#[from] issue::Error),
    #[error("reading the Secret: {0}")]
    Read(#[source] kube::Error),
    #[error("writing the Secret: {0}")]
    Write(#[source] kube::Error),
    #[error("asking what API servers trust: {0}")]
    Trust(#[source] kube::Error),
    #[error("others keep changing the Secret")]
    Contended,
}

/// The task that looks after the Secret.
pub(super) struct Keeper {
    pub(super) client: Client,
    pub(super) names: Names,
    pub(super) periods: Periods,
    /// Where canaries are created.
    pub(super) canaries_in: Vec<String>,
    pub(super) authority: watch::Sender<Option<Arc<Authority>>>,
    pub(super) lead: watch::Receiver<Option<Lead>>,
    pub(super) bundles: [Arc<bundle::Known>; 2],
    pub(super) peers: Arc<dyn Peers>,
    pub(super) news: News,
    pub(super) metrics: Arc<TlsMetrics>,
}

impl Keeper {
    pub(super) async fn run(mut self, shutdown: CancellationToken) {
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), self.names.namespace());
        // Also asks with the field selector without which a right to one name is none to watch it.
        let mut events = pin!(watcher::watch_object(secrets, &self.names.secret()).default_backoff());
        let (mut memory, mut wait) = (Memory::new(Instant::now()), None);
        // From the start, or nobody would see that the first failure is one more than none.
        drop(self.metrics.ca_changes.get_or_create(&ChangeLabel { change: "failed" }));
        loop {
            let leads = self.lead.borrow().is_some();
            let held = self.authority.borrow().clone();
            let pause = pause(held.as_deref(), leads, memory.backoff.pause(), &self.periods, SystemTime::now());
            tokio::select! {
                () = shutdown.cancelled() => return,
                event = events.next() => match event {
                    Some(Ok(secret)) => if let Err(error) = self.look(&mut memory, secret).await {
                        tracing::warn!(%error, secret = self.names.secret(), "looking again after old news");
                        continue;
                    },
                    Some(Err(error)) => {
                        tracing::warn!(%error, secret = self.names.secret(), "watching the Secret of the webhooks' CA");
                        continue;
                    }
                    None => return,
                },
                changed = self.lead.changed() => if changed.is_err() {
                    return;
                },
                (rank, verdict) = asked(&mut memory.asking) => {
                    memory.asking = None;
                    self.hear(&mut memory, rank, verdict);
                }
                () = sleep(wait.unwrap_or(pause)) => {}
            }
            if matches!(memory.seen, Seen::NotYet) {
                continue;
            }
            match self.settle(&mut memory).await {
                Ok(turn) => {
                    memory.backoff.reset();
                    wait = turn;
                }
                Err(error) => {
                    wait = None;
                    memory.backoff.lengthen();
                    self.metrics.ca_changes.get_or_create(&ChangeLabel { change: "failed" }).inc();
                    let secret = self.names.secret();
                    tracing::warn!(%error, secret, "keeping the webhooks' CA; trying again");
                }
            }
        }
    }

    /// Takes in what the watch says. What is older than what is known was on its way when this replica wrote, or somebody
    /// has restored a backup: what the API server itself says counts.
    async fn look(&self, memory: &mut Memory, secret: Option<Secret>) -> Result<(), Error> {
        if let (Some(new), Seen::Present(seen)) = (&secret, &memory.seen)
            && new.metadata.uid == seen.metadata.uid
            && version_of(new) < version_of(&**seen)
        {
            return self.read(memory).await;
        }
        self.see(memory, secret);
        Ok(())
    }

    /// Asks the API server itself.
    async fn read(&self, memory: &mut Memory) -> Result<(), Error> {
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), self.names.namespace());
        let name = self.names.secret();
        self.see(memory, within(CALL_TIMEOUT, secrets.get_opt(&name)).await.map_err(Error::Read)?);
        Ok(())
    }

    fn see(&self, memory: &mut Memory, secret: Option<Secret>) {
        self.report_presence(&memory.seen, secret.is_some());
        memory.seen = match secret {
            Some(secret) => {
                self.news.about(&secret);
                Seen::Present(Box::new(secret))
            }
            None => Seen::Missing,
        };
    }

    /// Does what the state machine says until it has nothing more to do. The time to wait if it would write too often.
    async fn settle(&self, memory: &mut Memory) -> Result<Option<Duration>, Error> {
        for _ in 0..ATTEMPTS {
            let (now, lead, held) = (SystemTime::now(), self.lead.borrow().clone(), self.authority.borrow().clone());
            let Seen::Present(secret) = &memory.seen else { return Ok(None) };
            let judgement = stored::judge(secret.data.as_ref().unwrap_or(&stored::Data::new()), &self.names);
            let proof = self.proof(&mut memory.served, memory.asked, held.as_deref());
            memory.is_trusted &= !held.as_ref().is_some_and(|held| held.is_valid_at(now));
            let found = judgement.authority.as_ref().map(|found| found.current.certificate());
            let observed = Observed {
                secret: Some(&judgement),
                held: held.as_deref(),
                seen_for: Sight::time(&mut memory.sight, secret, Instant::now()),
                leading_for: lead.as_ref().map(|lead| lead.since.elapsed()),
                is_trusted: memory.is_trusted || self.bundles.iter().any(|known| known.live.load().may_trust()),
                is_found_trusted: found
                    .is_some_and(|found| self.bundles.iter().all(|known| known.live.load().agrees_to(found))),
                wanted: wanted(secret),
                proof,
            };
            let change = match rotation::step(&observed, &self.names, &self.periods, now) {
                Action::Keep => {
                    self.ask(memory, held.as_deref(), &proof, lead.as_ref());
                    return Ok(None);
                }
                Action::Adopt => {
                    if let Some(authority) = judgement.authority {
                        self.hold(authority);
                    }
                    continue;
                }
                Action::Write(change) => change,
            };
            // Whoever takes itself for the first makes sure of it: the news of what others have made may be on their way.
            if matches!(change, Change::New(_)) && !observed.is_trusted && self.is_trusted().await? {
                memory.is_trusted = true;
                continue;
            }
            if let Err(wait) = memory.pace.take(Instant::now()) {
                return Ok(Some(wait));
            }
            let authority = rotation::apply(change, &observed, &self.names, &self.periods, now)?;
            let Some(authority) = authority else { return Ok(None) };
            let client = lead.map_or_else(|| self.client.clone(), |lead| lead.fence.guard(&self.client));
            let secrets: Api<Secret> = Api::namespaced(client, self.names.namespace());
            let (name, parameters, wish) =
                (self.names.secret(), PostParams::default(), written(secret, &authority, change));
            match within(CALL_TIMEOUT, secrets.replace(&name, &parameters, &wish)).await {
                Ok(written) => {
                    self.tell(change, &judgement, secret, &authority);
                    self.hold(authority);
                    memory.seen = Seen::Present(Box::new(written));
                }
                Err(error) if classify(&error) == Class::Conflict => {
                    self.read(memory).await?;
                }
                Err(error) => return Err(Error::Write(error)),
            }
        }
        Err(Error::Contended)
    }

    /// Whether API servers trust something by now, or another replica serves it, whose bundle somebody may have emptied.
    async fn is_trusted(&self) -> Result<bool, Error> {
        let name = self.names.configuration();
        let mutating: Api<MutatingWebhookConfiguration> = Api::all_with(self.client.clone(), &());
        let validating: Api<ValidatingWebhookConfiguration> = Api::all_with(self.client.clone(), &());
        let asked = async { try_join!(live::read(&mutating, name), live::read(&validating, name)) };
        let (mutating, validating) = within(CALL_TIMEOUT, asked).await.map_err(Error::Trust)?;
        if Live::of(mutating.as_ref()).may_trust() || Live::of(validating.as_ref()).may_trust() {
            return Ok(true);
        }
        // Without the right to ask for the others, there is a certificate all the same.
        Ok(self.peers.others_say(SERVED_CA).await.unwrap_or_else(|error| {
            tracing::warn!(%error, "asking what other replicas serve");
            false
        }))
    }

    /// What is known of API servers and replicas, of what is held.
    fn proof(
        &self,
        served: &mut Option<(u64, Instant)>,
        asked: Option<((u64, u8), Canary, Instant)>,
        held: Option<&Authority>,
    ) -> Proof {
        let Some(held) = held else { return Proof::default() };
        let (now, bundle, generation) = (Instant::now(), held.bundle(), held.current.generation);
        if self.peers.all_serve(generation) {
            if served.is_none_or(|(known, _)| known != generation) {
                *served = Some((generation, now));
            }
        } else {
            *served = None;
        }
        let in_sync = self.bundles.each_ref().map(|known| {
            let in_sync = known.in_sync.load();
            in_sync.as_ref().and_then(|in_sync| in_sync.time(&bundle, now))
        });
        Proof {
            in_sync_for: in_sync[0].min(in_sync[1]),
            served_for: served.map(|(_, since)| now.saturating_duration_since(since)),
            canary: asked.filter(|(rank, ..)| *rank == held.rank()).map(|(_, canary, _)| canary).unwrap_or_default(),
        }
    }

    /// Sends canaries if a rotation waits for them.
    fn ask(&self, memory: &mut Memory, held: Option<&Authority>, proof: &Proof, lead: Option<&Lead>) {
        let Some(held) = held.filter(|held| !matches!(held.phase, Phase::Stable)) else { return };
        let held_down = proof.in_sync_for.is_some_and(|time| time >= self.periods.hold_down);
        let known = |(rank, canary, at): (_, _, Instant)| {
            rank == held.rank() && (canary == Canary::Proven || at.elapsed() < self.periods.hold_down)
        };
        if lead.is_none() || !held_down || memory.asking.is_some() || memory.asked.is_some_and(known) {
            return;
        }
        let (rank, verdict) = (held.rank(), canary::ask(self.client.clone(), self.canaries_in.clone()));
        memory.asking = Some(async move { (rank, verdict.await) }.boxed());
    }

    /// Takes note of what canaries have shown.
    fn hear(&self, memory: &mut Memory, rank: (u64, u8), (canary, why): Verdict) {
        let known = memory.asked.is_some_and(|(known, last, _)| (known, last) == (rank, canary));
        memory.asked = Some((rank, canary, Instant::now()));
        let Some(why) = why.filter(|_| !known) else { return };
        tracing::warn!(
            ?canary,
            why,
            "no proof that the API server trusts the webhooks: the rotation of their CA waits"
        );
        let note = format!("the rotation of the webhooks' CA waits: {why}");
        self.news.publish(Severity::Warning, "CARotationWaits", note);
    }
}

/// Until the next look without any news.
fn pause(
    held: Option<&Authority>,
    leads: bool,
    failed: Option<Duration>,
    periods: &Periods,
    now: SystemTime,
) -> Duration {
    let Some(held) = held.filter(|held| held.is_valid_at(now)) else { return failed.unwrap_or(START) };
    let is_rotating = !matches!(held.phase, Phase::Stable);
    let look = if is_rotating && leads { periods.look().min(periods.hold_down / 4) } else { periods.look() };
    failed.map_or(look, |failed| failed.min(look))
}

/// The answer to canaries that are under way; none ever comes if there are none.
async fn asked(asking: &mut Option<BoxFuture<'static, ((u64, u8), Verdict)>>) -> ((u64, u8), Verdict) {
    match asking {
        Some(answer) => answer.await,
        None => std::future::pending().await,
    }
}

fn wanted(secret: &Secret) -> Wanted {
    let annotations = secret.annotations();
    if annotations.contains_key(REVOKE) {
        Wanted::Revocation
    } else if annotations.contains_key(ROTATE) {
        Wanted::Rotation
    } else {
        Wanted::Nothing
    }
}

/// `found` with `authority` in it, and without the wishes that this fulfils.
fn written(found: &Secret, authority: &Authority, change: Change) -> Secret {
    let mut secret = found.clone();
    secret.data = Some(stored::render(authority));
    let fulfilled: &[&str] = match change {
        Change::Publish(_) => &[ROTATE],
        Change::Revoke => &[ROTATE, REVOKE],
        _ => &[],
    };
    for key in fulfilled {
        secret.annotations_mut().remove(*key);
    }
    secret
}

#[cfg(test)]
#[path = "secret/keeper_tests.rs"]
mod keeper_tests;
#[cfg(test)]
#[path = "secret_tests.rs"]
mod tests;
