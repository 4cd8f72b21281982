//! Keeps the CA in memory and the one in its Secret the same, and takes the steps of a rotation while this replica
//! leads.
//!
//! Every write is a PUT of the version that was read, so of several replicas that find the Secret empty one succeeds and
//! the others adopt its CA. What is written is decided in `rotation`.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{anyhow, bail};
use futures::{StreamExt, try_join};
use k8s_openapi::api::admissionregistration::v1::{MutatingWebhookConfiguration, ValidatingWebhookConfiguration};
use k8s_openapi::api::core::v1::Secret;
use kube::api::PostParams;
use kube::{Api, Client, ResourceExt};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::Lead;
use super::authority::{Authority, Phase};
use super::periods::Periods;
use super::rotation::{self, Action, Change, Observed, Request};
use super::secret_events::SecretEvents;
use super::stored;
use crate::api_error::{Class, classify};
use crate::backoff::Backoff;
use crate::calls::within;
use crate::replicas::Presence;
use crate::throttle::Throttle;
use crate::tls::context::{Context, RETRY, WRITES};
use crate::tls::trust::{self, Bundles, Trust};
use crate::watch_object::watch_object;

/// Writes that lose against another replica, one after the other, before the next pause.
const ATTEMPTS: usize = 5;
/// Longest that one call may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// Pause between two checks while there is nothing to sign with.
const START: Duration = Duration::from_millis(100);
/// On the Secret: replace the CA now. The value is a reason, for the log.
pub(super) const ROTATE: &str = "k8s.atomix.io/rotate-ca";
/// On the Secret: replace the CA now and trust nothing any more that it has signed.
pub(super) const REVOKE: &str = "k8s.atomix.io/revoke-ca";

/// The Secret as last seen.
#[derive(Default)]
pub(super) enum Seen {
    #[default]
    NotYet,
    Missing,
    /// And since when this version of it.
    Present(Box<Secret>, Instant),
}

/// The task that keeps the Secret.
pub(super) struct Keeper {
    pub(super) context: Arc<Context>,
    pub(super) authority: watch::Sender<Option<Arc<Authority>>>,
    lead: watch::Receiver<Option<Lead>>,
    bundles: [watch::Receiver<Trust>; 2],
    presence: Arc<Presence>,
    pub(super) events: SecretEvents,
    pub(super) seen: Seen,
    /// API servers trust something already, or other replicas live that may hold it, and the watches had not shown it yet.
    is_trusted: bool,
    backoff: Backoff,
    writes: Throttle,
}

impl Keeper {
    pub(super) fn new(
        context: Arc<Context>,
        authority: watch::Sender<Option<Arc<Authority>>>,
        lead: watch::Receiver<Option<Lead>>,
        bundles: [watch::Receiver<Trust>; 2],
        presence: Arc<Presence>,
        events: SecretEvents,
    ) -> Self {
        Self {
            context,
            authority,
            lead,
            bundles,
            presence,
            events,
            seen: Seen::default(),
            is_trusted: false,
            backoff: Backoff::new(RETRY.0, RETRY.1),
            writes: Throttle::new(WRITES.0, WRITES.1, Instant::now()),
        }
    }

    pub(super) async fn run(mut self) {
        let name = self.context.names.secret();
        let secrets = self.secrets(&self.context.client);
        let mut states = watch_object(secrets, &name, "watching the Secret of the webhooks' CA");
        let mut wait = START;
        // Counted from the start: of a counter that appears with its first failure, no rate shows that one.
        self.context.metrics.add_changes("failed", 0);
        loop {
            tokio::select! {
                Some(secret) = states.next() => self.see(secret),
                changed = self.lead.changed() => if changed.is_err() {
                    return;
                },
                () = sleep(wait) => {}
            }
            if matches!(self.seen, Seen::NotYet) {
                continue;
            }
            let (limited, failed) = match self.settle().await {
                Ok(limited) => {
                    self.backoff.reset();
                    (limited, None)
                }
                Err(error) => {
                    self.context.metrics.add_changes("failed", 1);
                    tracing::warn!(%error, secret = name, "keeping the webhooks' CA; trying again");
                    (None, Some(self.backoff.pause()))
                }
            };
            let held = self.authority.borrow().clone();
            wait = limited.unwrap_or_else(|| pause(held.as_deref(), failed, &self.context.periods, SystemTime::now()));
        }
    }

    fn secrets(&self, client: &Client) -> Api<Secret> {
        Api::namespaced(client.clone(), self.context.names.namespace())
    }

    fn see(&mut self, secret: Option<Secret>) {
        self.report_presence(secret.is_some());
        let version = |secret: &Secret| (secret.uid(), secret.resource_version());
        self.seen = match (secret, &self.seen) {
            (None, _) => Seen::Missing,
            (Some(new), Seen::Present(seen, since)) if version(&new) == version(seen) => {
                Seen::Present(Box::new(new), *since)
            }
            (Some(new), _) => {
                self.events.about(&new);
                Seen::Present(Box::new(new), Instant::now())
            }
        };
    }

    /// Takes steps of the state machine until it has none left. Returns the time to wait if it would write too often.
    ///
    /// An event that was on its way when this replica wrote makes it write once in vain: the conflict makes it read.
    async fn settle(&mut self) -> anyhow::Result<Option<Duration>> {
        let context = Arc::clone(&self.context);
        let Context { client, names, periods, .. } = &*context;
        for _ in 0..ATTEMPTS {
            let (now, lead, held) = (SystemTime::now(), self.lead.borrow().clone(), self.authority.borrow().clone());
            let Seen::Present(secret, since) = &self.seen else { return Ok(None) };
            let diagnosis = stored::diagnose(secret.data.as_ref().unwrap_or(&stored::Data::new()), names);
            self.is_trusted &= !held.as_ref().is_some_and(|held| held.is_valid_at(now));
            let found = diagnosis.authority.as_ref().map(|found| &found.current.certificate);
            let observed = Observed {
                secret: Some(&diagnosis),
                held: held.as_deref(),
                seen_for: since.elapsed(),
                leading_for: lead.as_ref().map(|lead| lead.since.elapsed()),
                is_trusted: self.is_trusted || self.bundles.iter().any(|trust| trust.borrow().live().may_trust()),
                is_found_trusted: found
                    .is_some_and(|found| self.bundles.iter().all(|trust| trust.borrow().live().have(found))),
                request: requested(secret),
                in_sync_for: held.as_ref().and_then(|held| self.in_sync_for(held)),
            };
            let change = match rotation::step(&observed, names, periods, now) {
                Action::Keep => return Ok(None),
                Action::Adopt => {
                    if let Some(authority) = diagnosis.authority {
                        self.hold(authority);
                    }
                    continue;
                }
                Action::Write(change) => change,
            };
            // A replica that takes itself for the first makes sure of it: events of what others have made may be on their way.
            if matches!(change, Change::New(_)) && !observed.is_trusted && self.is_trusted().await? {
                self.is_trusted = true;
                continue;
            }
            if let Err(wait) = self.writes.try_record(Instant::now()) {
                return Ok(Some(wait));
            }
            let authority = rotation::apply(change, &observed, names, periods, now)
                .map_err(|error| anyhow!("making a CA: {error}"))?;
            let Some(authority) = authority else { return Ok(None) };
            let client = lead.map_or_else(|| client.clone(), |lead| lead.fence.guard(client));
            let (secrets, name, wanted) = (self.secrets(&client), names.secret(), written(secret, &authority, change));
            match within(CALL_TIMEOUT, secrets.replace(&name, &PostParams::default(), &wanted)).await {
                Ok(written) => {
                    self.report(change, &diagnosis, secret, &authority);
                    self.hold(authority);
                    self.see(Some(written));
                }
                Err(error) if classify(&error) == Class::Conflict => {
                    let read = within(CALL_TIMEOUT, self.secrets(&context.client).get_opt(&name)).await;
                    self.see(read.map_err(|error| anyhow!("reading the Secret: {error}"))?);
                }
                Err(error) => bail!("writing the Secret: {error}"),
            }
        }
        bail!("other clients keep changing the Secret")
    }

    /// Whether API servers trust something by now, or another replica lives: it may hold a CA while the bundles are empty.
    async fn is_trusted(&self) -> anyhow::Result<bool> {
        let Context { client, names, .. } = &*self.context;
        let mutating: Api<MutatingWebhookConfiguration> = Api::all_with(client.clone(), &());
        let validating: Api<ValidatingWebhookConfiguration> = Api::all_with(client.clone(), &());
        let name = names.configuration();
        let read = async { try_join!(trust::read(&mutating, name), trust::read(&validating, name)) };
        let (mutating, validating) =
            within(CALL_TIMEOUT, read).await.map_err(|error| anyhow!("reading what API servers trust: {error}"))?;
        if Bundles::of(mutating.as_ref()).may_trust() || Bundles::of(validating.as_ref()).may_trust() {
            return Ok(true);
        }
        // Without the right to read the Lease, there is a certificate all the same.
        Ok(self.presence.others_live().await.unwrap_or_else(|error| {
            tracing::warn!(%error, "reading which other replicas live");
            false
        }))
    }

    /// For how long both webhook configurations have been seen to have the bundle of `held`.
    fn in_sync_for(&self, held: &Authority) -> Option<Duration> {
        let (bundle, now) = (held.bundle(), Instant::now());
        let [mutating, validating] = self.bundles.each_ref().map(|trust| trust.borrow().are_for(&bundle, now));
        Some(mutating?.min(validating?))
    }
}

/// Until the next check if no event comes.
fn pause(held: Option<&Authority>, failed: Option<Duration>, periods: &Periods, now: SystemTime) -> Duration {
    let Some(held) = held.filter(|held| held.is_valid_at(now)) else { return failed.unwrap_or(START) };
    let check = match held.phase {
        Phase::Stable => periods.clock_check(),
        _ => periods.rotation_check(),
    };
    failed.map_or(check, |failed| failed.min(check))
}

fn requested(secret: &Secret) -> Request {
    let annotations = secret.annotations();
    if annotations.contains_key(REVOKE) {
        Request::Revocation
    } else if annotations.contains_key(ROTATE) {
        Request::Rotation
    } else {
        Request::Nothing
    }
}

/// `found` with `authority` in it, and without the requests that this fulfils.
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
#[path = "keeper_tests.rs"]
mod tests;
#[cfg(test)]
#[path = "keeper_values_tests.rs"]
mod values_tests;
