//! What a replica does about the CA: decided from what the Secret holds, what the replica has in memory and what it has
//! observed of the webhook configurations. No I/O, no clock.
//!
//! | Secret                            | in memory       | replica  | action                                    |
//! |-----------------------------------|-----------------|----------|-------------------------------------------|
//! | missing                           | any             | all      | keep serving; an administrator has to act |
//! | emptied or damaged                | valid           | all      | write that back                           |
//! | emptied or damaged                | none, expired   | all      | write what can be saved of it, or a new CA|
//! | the same, but API servers trust   | none            | leader   | the same after a wait, in which replicas  |
//! | something already                 |                 |          | that hold it write it back                |
//! | older than memory, or expired     | valid           | all      | write that back                           |
//! | usable                            | another, none   | all      | adopt it                                  |
//! | the same, but API servers trust   | none            | all      | the same after a wait, the leader first:  |
//! | something else                    |                 |          | it may come from a backup                 |
//! | expired                           | none, expired   | leader   | write a new CA, after the same wait       |
//! | usable                            | the same        | leader   | the next step of a rotation               |
//!
//! The steps of a rotation: *publish* the next CA, so that both webhook configurations trust both; a hold-down later
//! *promote* it, so that it signs, with a cross-certificate for API servers that do not trust it yet; a hold-down later,
//! in which every replica sees that in the Secret, *retire* the old CA.
//!
//! Every write is a compare-and-swap: a replica that writes too late reads the Secret and decides again.

use std::time::{Duration, SystemTime};

use super::authority::{Authority, Phase};
use super::issue::{self, Ca};
use super::periods::Periods;
use super::stored::{Diagnosis, render};
use crate::tls::names::Names;

/// How long a leader that holds nothing waits for other replicas to write back what has been lost.
const OTHERS_FIRST: Duration = Duration::from_secs(3);
/// How long a replica that does not lead waits before it uses what API servers do not trust, so that the leader does so
/// first: longer than an election takes, and bounded, since there may be no leader.
const LEADER_FIRST: Duration = Duration::from_secs(30);

/// What an administrator requests by an annotation on the Secret.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Request {
    #[default]
    Nothing,
    /// A rotation now.
    Rotation,
    /// No trust any more in anything that has been signed yet.
    Revocation,
}

/// The facts of a decision.
#[derive(Debug)]
pub(super) struct Observed<'a> {
    /// What the Secret holds; none if there is no Secret.
    pub(super) secret: Option<&'a Diagnosis>,
    /// What is in memory.
    pub(super) held: Option<&'a Authority>,
    /// For how long this replica has seen this version of the Secret.
    pub(super) seen_for: Duration,
    /// For how long this replica has been leading, if it does.
    pub(super) leading_for: Option<Duration>,
    /// Whether API servers trust something already, or may do so: then a replica may hold it.
    pub(super) is_trusted: bool,
    /// Whether they trust what the Secret holds.
    pub(super) is_found_trusted: bool,
    /// What an administrator requests.
    pub(super) request: Request,
    /// For how long both webhook configurations have been seen to have the bundle of what is in memory.
    pub(super) in_sync_for: Option<Duration>,
}

/// Why a CA is replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// Two thirds of its life are over.
    Age,
    /// Its lifetime is longer than configured: an earlier version made it, or other options did.
    Lifetime,
    /// The Service, or the domain of the cluster, has another name now.
    Names,
    /// An administrator requests it.
    Request,
}

/// What is written to the Secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// What is in memory.
    Back,
    /// What can be saved of what is there.
    Salvage,
    /// A new CA of this generation, which nothing leads to.
    New(u64),
    /// A next CA, to be trusted beside the current one.
    Publish(Cause),
    /// The next CA becomes the current one.
    Promote,
    /// The previous CA is not to be trusted any more.
    Retire,
    /// A new CA, and no trust in any other.
    Revoke,
}

impl Change {
    /// For logs and metrics.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Back => "written_back",
            Self::Salvage => "salvaged",
            Self::New(_) => "new",
            Self::Publish(_) => "published",
            Self::Promote => "promoted",
            Self::Retire => "retired",
            Self::Revoke => "revoked",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Keep,
    /// Use what the Secret holds from now on.
    Adopt,
    /// Write to the Secret, and use what was written.
    Write(Change),
}

pub(super) fn step(observed: &Observed<'_>, names: &Names, periods: &Periods, now: SystemTime) -> Action {
    let Some(secret) = observed.secret else { return Action::Keep };
    let held = observed.held.filter(|held| held.is_valid_at(now));
    let found = secret.authority.as_ref();
    let usable = found.filter(|found| found.is_valid_at(now));
    // Other replicas see a loss no later than this one: the time that it led before does not count.
    let waits =
        observed.is_trusted && observed.leading_for.is_none_or(|time| time.min(observed.seen_for) < OTHERS_FIRST);
    if secret.damage.is_some() {
        return match (held, usable) {
            (Some(_), _) => Action::Write(Change::Back),
            (None, _) if waits => Action::Keep,
            (None, Some(_)) => Action::Write(Change::Salvage),
            (None, None) => Action::Write(new_after(observed)),
        };
    }
    let is_held = found.zip(observed.held).is_some_and(|(found, held)| is_same(found, held));
    match (held, usable) {
        (Some(held), Some(_)) if is_held => advance(observed, held, names, periods, now),
        (Some(held), Some(found)) if found.rank() >= held.rank() => Action::Adopt,
        (Some(_), _) => Action::Write(Change::Back),
        (None, Some(_)) if waits && !observed.is_found_trusted && observed.seen_for < LEADER_FIRST => Action::Keep,
        (None, Some(_)) => Action::Adopt,
        (None, None) if waits || observed.leading_for.is_none() => Action::Keep,
        (None, None) => Action::Write(match found.map(|found| &found.phase) {
            // API servers trust it already.
            Some(Phase::Published { next }) if is_held && next.is_valid_at(now) => Change::Promote,
            _ => new_after(observed),
        }),
    }
}

/// What `change` writes to the Secret; nothing if what it would write is gone.
///
/// # Errors
/// [`issue::Error`] if a certificate cannot be made.
pub(super) fn apply(
    change: Change,
    observed: &Observed<'_>,
    names: &Names,
    periods: &Periods,
    now: SystemTime,
) -> Result<Option<Authority>, issue::Error> {
    let (held, found) = (observed.held, observed.secret.and_then(|secret| secret.authority.as_ref()));
    match (change, held) {
        (Change::New(generation), _) => Authority::mint(names, generation, periods, now).map(Some),
        (Change::Salvage, _) => Ok(found.cloned()),
        (_, None) => Ok(None),
        (Change::Back, Some(held)) => Ok(Some(held.clone())),
        (Change::Publish(_), Some(held)) => held.published(names, periods, now).map(Some),
        (Change::Promote, Some(held)) => held.promoted().map(Some),
        (Change::Retire, Some(held)) => Ok(Some(held.retired())),
        (Change::Revoke, Some(held)) => held.revoked(names, periods, now).map(Some),
    }
}

/// Why `authority` should be replaced at `now`, if it should be.
pub(super) fn cause(authority: &Authority, names: &Names, periods: &Periods, now: SystemTime) -> Option<Cause> {
    /// Certificates know whole seconds only.
    const ROUNDING: Duration = Duration::from_secs(2);
    let ca = &authority.current;
    let lifetime = ca.not_after.duration_since(ca.made_at()).unwrap_or_default();
    if ca.permitted != names.service() {
        return Some(Cause::Names);
    }
    if lifetime > periods.ca + ROUNDING {
        return Some(Cause::Lifetime);
    }
    (ca.made_at() + Periods::ca_replaced_after(lifetime) <= now).then_some(Cause::Age)
}

/// The next step of a rotation, where memory and Secret agree.
fn advance(observed: &Observed<'_>, held: &Authority, names: &Names, periods: &Periods, now: SystemTime) -> Action {
    let Some(leading_for) = observed.leading_for else { return Action::Keep };
    let is_in_sync = observed.in_sync_for.is_some_and(|time| time >= periods.hold_down);
    if observed.request == Request::Revocation {
        return Action::Write(Change::Revoke);
    }
    match &held.phase {
        Phase::Stable => {
            if observed.request == Request::Rotation {
                return Action::Write(Change::Publish(Cause::Request));
            }
            // Not in the midst of a rollout of another version, unless it is late.
            let is_settled = leading_for >= periods.hold_down || is_late(&held.current, periods, now);
            match cause(held, names, periods, now) {
                Some(cause) if is_settled => Action::Write(Change::Publish(cause)),
                _ => Action::Keep,
            }
        }
        Phase::Published { next } => {
            if !next.is_valid_at(now) || is_late(next, periods, now) {
                return Action::Write(Change::Publish(Cause::Age));
            }
            if is_in_sync || is_late(&held.current, periods, now) {
                return Action::Write(Change::Promote);
            }
            Action::Keep
        }
        Phase::Promoted { .. } => {
            let has_expired = held.previous_not_after().is_none_or(|not_after| not_after <= now);
            // Whatever was written to the Secret since the promotion, every replica has had the time to see it.
            if has_expired || is_in_sync && observed.seen_for >= periods.hold_down {
                return Action::Write(Change::Retire);
            }
            Action::Keep
        }
    }
}

/// Whether so little is left of a CA's lifetime that waiting is worse than going on.
fn is_late(ca: &Ca, periods: &Periods, now: SystemTime) -> bool {
    ca.not_after.duration_since(now).unwrap_or_default() < periods.last_part()
}

fn new_after(observed: &Observed<'_>) -> Change {
    let secret = observed.secret;
    let found = secret.and_then(|secret| secret.authority.as_ref()).map(Authority::last_generation);
    let stated = secret.and_then(|secret| secret.generation);
    let held = observed.held.map(Authority::last_generation);
    Change::New(found.max(stated).max(held).unwrap_or(0).saturating_add(1))
}

fn is_same(one: &Authority, other: &Authority) -> bool {
    one.rank() == other.rank() && render(one) == render(other)
}

#[cfg(test)]
#[path = "rotation_tests.rs"]
mod tests;
