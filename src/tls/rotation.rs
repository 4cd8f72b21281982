//! What to do about the CA: by what its Secret holds, what is in memory and what is known of the API servers and the
//! other replicas. No I/O, no clock.
//!
//! | Secret                            | in memory       | who      | action                                    |
//! |-----------------------------------|-----------------|----------|-------------------------------------------|
//! | missing                           | any             | all      | keep serving; only a person can help      |
//! | emptied or damaged                | valid           | all      | write that back                           |
//! | emptied or damaged                | none, expired   | all      | write what can be saved of it, or a new CA|
//! | the same, but API servers trust   | none            | leader   | the same after a while, in which replicas |
//! | something already                 |                 |          | that hold it write it back                |
//! | older than memory, or expired     | valid           | all      | write that back                           |
//! | usable                            | another, none   | all      | adopt it                                  |
//! | the same, but API servers trust   | none            | all      | the same after a while, the leader first: |
//! | something else                    |                 |          | it may come from a backup                 |
//! | expired                           | none, expired   | leader   | write a new CA, after the same while      |
//! | usable                            | the same        | leader   | the next step of a rotation               |
//!
//! Every write is a compare-and-swap, so whoever comes too late looks again.

use std::time::{Duration, SystemTime};

use super::authority::{Authority, Phase};
use super::issue;
use super::names::Names;
use super::periods::Periods;
use super::stored::{Judgement, render};

/// How long a leader that holds nothing leaves it to the others to write back what has been lost.
const OTHERS_FIRST: Duration = Duration::from_secs(3);
/// How long a replica that does not lead leaves it to the leader to use what API servers do not trust: longer than it
/// takes to elect one, and not for ever, since there may be none.
const LEADER_FIRST: Duration = Duration::from_secs(30);

/// What was found out of whether API servers accept what is served, by asking one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Canary {
    /// Nobody has asked yet, or no API server could be asked.
    #[default]
    Unknown,
    /// Both webhooks were reached.
    Proven,
    /// The API server did not get to ask our webhooks: something before them has answered.
    NotAsked,
    /// The API server could not call a webhook, or does not trust it.
    Refused,
}

/// What a person has asked for by an annotation on the Secret.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wanted {
    /// Nothing.
    #[default]
    Nothing,
    /// A rotation now.
    Rotation,
    /// No trust any more in anything that has been signed yet.
    Revocation,
}

/// What is known beside the CA itself, of the state that is in memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Proof {
    /// For how long both webhook configurations have been seen to have the bundle.
    pub in_sync_for: Option<Duration>,
    /// For how long every live replica has been seen to serve what the current CA has signed.
    pub served_for: Option<Duration>,
    /// What an API server says.
    pub canary: Canary,
}

/// Everything that is decided by.
#[derive(Debug)]
pub struct Observed<'a> {
    /// What the Secret holds; none if there is no Secret.
    pub secret: Option<&'a Judgement>,
    /// What is in memory.
    pub held: Option<&'a Authority>,
    /// For how long the Secret has been seen as it is.
    pub seen_for: Duration,
    /// For how long this replica has been leading, if it does.
    pub leading_for: Option<Duration>,
    /// Whether API servers trust something already, or may do so: then a replica may hold it.
    pub is_trusted: bool,
    /// Whether that is what the Secret holds, or also that.
    pub is_found_trusted: bool,
    /// What a person wants.
    pub wanted: Wanted,
    /// What is known of API servers and replicas.
    pub proof: Proof,
}

/// Why a CA is replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Two thirds of its life are over.
    Age,
    /// It lives longer than it was told to: made by an earlier version, or with other options.
    Lifetime,
    /// The Service, or the domain of the cluster, has another name now.
    Names,
    /// A person wants it.
    Request,
}

/// What is written to the Secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
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
    #[must_use]
    pub const fn as_str(self) -> &'static str {
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

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Nothing.
    Keep,
    /// Use what the Secret holds from now on.
    Adopt,
    /// Write to the Secret, and use what was written.
    Write(Change),
}

/// Decides.
#[must_use]
pub fn step(observed: &Observed<'_>, names: &Names, periods: &Periods, now: SystemTime) -> Action {
    let Some(secret) = observed.secret else { return Action::Keep };
    let held = observed.held.filter(|held| held.is_valid_at(now));
    let found = secret.authority.as_ref();
    let usable = found.filter(|found| found.is_valid_at(now));
    // Others see what was lost no later than this replica does: not what time it has led before counts.
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

/// What `change` makes of what was decided by.
///
/// # Errors
/// [`issue::Error`] if a certificate cannot be made.
pub fn apply(
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
#[must_use]
pub fn cause(authority: &Authority, names: &Names, periods: &Periods, now: SystemTime) -> Option<Cause> {
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
    (ca.made_at() + lifetime * 2 / 3 <= now).then_some(Cause::Age)
}

/// The next step of the leader, whose memory and Secret agree.
fn advance(observed: &Observed<'_>, held: &Authority, names: &Names, periods: &Periods, now: SystemTime) -> Action {
    let Some(leading_for) = observed.leading_for else { return Action::Keep };
    if observed.wanted == Wanted::Revocation {
        return Action::Write(Change::Revoke);
    }
    match &held.phase {
        Phase::Stable => {
            if observed.wanted == Wanted::Rotation {
                return Action::Write(Change::Publish(Cause::Request));
            }
            // Not in the midst of a rollout of another version, unless it is late.
            let settled = leading_for >= periods.hold_down || is_late(held.current.not_after, periods, now);
            match cause(held, names, periods, now) {
                Some(cause) if settled => Action::Write(Change::Publish(cause)),
                _ => Action::Keep,
            }
        }
        Phase::Published { next } => {
            let is_fresh = next.is_valid_at(now) && !is_late(next.not_after, periods, now);
            if !is_fresh {
                return Action::Write(Change::Publish(Cause::Age));
            }
            if is_proven(&observed.proof, periods) || is_late(held.current.not_after, periods, now) {
                return Action::Write(Change::Promote);
            }
            Action::Keep
        }
        Phase::Promoted { .. } => {
            let served = observed.proof.served_for.is_some_and(|time| time >= periods.hold_down);
            let expired = held.previous_not_after().is_none_or(|not_after| not_after <= now);
            if expired || served && is_proven(&observed.proof, periods) {
                return Action::Write(Change::Retire);
            }
            Action::Keep
        }
    }
}

/// Whether API servers can be taken to have the bundle, and to accept what is served.
fn is_proven(proof: &Proof, periods: &Periods) -> bool {
    let Some(time) = proof.in_sync_for else { return false };
    match proof.canary {
        Canary::Proven => time >= periods.hold_down,
        Canary::NotAsked => time >= periods.patience(),
        Canary::Unknown | Canary::Refused => false,
    }
}

/// Whether so little is left of a CA that waiting for proofs is worse than going on without.
fn is_late(not_after: SystemTime, periods: &Periods, now: SystemTime) -> bool {
    not_after.duration_since(now).unwrap_or_default() < periods.ca / 12
}

fn new_after(observed: &Observed<'_>) -> Change {
    let secret = observed.secret;
    let found = secret.and_then(|secret| secret.authority.as_ref()).map(Authority::last_generation);
    let told = secret.and_then(|secret| secret.generation);
    let held = observed.held.map(Authority::last_generation);
    Change::New(found.max(told).max(held).unwrap_or(0).saturating_add(1))
}

fn is_same(one: &Authority, other: &Authority) -> bool {
    one.rank() == other.rank() && render(one) == render(other)
}

#[cfg(test)]
#[path = "rotation_tests.rs"]
mod tests;
