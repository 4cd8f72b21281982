//! The status of a PartitionSet, as a function of what is known of its partitions.

use std::borrow::Cow;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::member::{Existing, Member};
use super::rollout::Rollout;
use crate::api::conditions::{self, Draft, READY, RECONCILING, STALLED};
use crate::api::{DEFAULT_COUNT, PartitionSet, PartitionSetStatus, names};
use crate::controller::partition::{PODS_NOT_READY, PodsOf};
use crate::controller::trouble::Trouble;
use crate::rules::SetObject;
use crate::text::listed;

/// Partitions that a message names before it says how many more there are.
const NAMED: usize = 3;

/// Reason of a set whose partitions get a changed template a few at a time.
pub(super) const ROLLING_OUT: &str = "RollingOut";

/// What follows the number of partitions that are ready, in messages.
pub(super) const COUNTED_READY: &str = "partitions are ready";
/// What follows the number of partitions that are as the set says, in messages.
pub(super) const COUNTED_CURRENT: &str = "are up to date";
/// What comes before the partitions that are waited for, in messages.
pub(super) const WAITING: &str = "waiting for ";

/// The status that `set` should have. `rollout` is none if it was not looked at what the set consists of.
pub(super) fn status(
    set: &PartitionSet,
    object: &SetObject,
    existing: &Existing,
    rollout: Option<&Rollout>,
    trouble: Option<&Trouble>,
    now: &Time,
) -> PartitionSetStatus {
    let before = set.status.as_ref().map_or(&[][..], |status| &status.conditions);
    let generation = set.metadata.generation;
    let ready = existing.partitions.values().filter(|member| serves(member)).count();
    let was_rolling_out = conditions::find(before, READY).is_some_and(|ready| ready.reason == ROLLING_OUT);
    PartitionSetStatus {
        observed_generation: generation,
        partitions: i64::try_from(existing.partitions.len()).unwrap_or(i64::MAX),
        ready_partitions: i64::try_from(ready).unwrap_or(i64::MAX),
        conditions: conditions::settle(
            before,
            drafts(object, existing, (rollout, was_rolling_out), trouble),
            generation,
            now,
        ),
    }
}

/// The pods of a partition of which no status of this controller speaks.
fn unreported(member: &Member) -> Option<PodsOf> {
    (!member.is_reported()).then(|| member.pods.unwrap_or_default())
}

/// Whether a partition is all that it should be.
fn is_ready(member: &Member) -> bool {
    if let Some(pods) = unreported(member) {
        return pods.whole && !pods.outdated && !member.known.deleting;
    }
    member.ready_since().is_some()
}

/// Whether all pods of a partition are ready and can be reached, of whatever template.
fn serves(member: &Member) -> bool {
    let is_reachable = !member.addresses.is_empty() && !member.known.deleting;
    if let Some(pods) = unreported(member) {
        return pods.whole && is_reachable;
    }
    let partition = &member.known.facts;
    let ready = partition.status.as_ref().map_or(0, |status| status.ready_replicas);
    let whole = ready >= partition.spec.template.size.unwrap_or(DEFAULT_COUNT);
    is_ready(member) || whole && is_reachable
}

fn drafts(
    object: &SetObject,
    existing: &Existing,
    (rollout, was_rolling_out): (Option<&Rollout>, bool),
    trouble: Option<&Trouble>,
) -> Vec<Draft> {
    let Some(rollout) = rollout else { return trouble.map(Trouble::drafts).unwrap_or_default() };
    let asked = object.spec.partitions.unwrap_or(DEFAULT_COUNT);
    let waiting: Vec<i64> = (1..=asked).filter(|index| !existing.partitions.get(index).is_some_and(is_ready)).collect();
    let surplus = existing.partitions.range(asked + 1..).count();
    let unreachable = existing.partitions.values().any(|member| member.addresses.is_empty());
    let done = (1..=asked).filter(|index| !rollout.keeps(*index) && !waiting.contains(index)).count();
    let counted = counted(asked, existing, done);
    let stuck = stuck(object, existing);
    if trouble.is_some() || !stuck.is_empty() {
        let (reason, kind) = match trouble {
            Some(trouble) if trouble.stalled => (trouble.reason, STALLED),
            Some(trouble) if stuck.is_empty() => (trouble.reason, RECONCILING),
            _ => ("PartitionStalled", STALLED),
        };
        // All that is in the way can be removed at the same time.
        let others =
            waiting.into_iter().filter(|index| existing.partitions.get(index).and_then(Member::stall).is_none());
        let waits = waits(object, existing, &others.collect::<Vec<_>>());
        let trouble = trouble.map(|trouble| trouble.message.clone()).unwrap_or_default();
        let parts = [counted, trouble, stuck, waits].into_iter().filter(|part| !part.is_empty());
        return Draft::not_ready(reason, kind, reason, parts.collect::<Vec<_>>().join("; "));
    }
    if waiting.is_empty() && surplus == 0 && !unreachable && rollout.held.is_empty() {
        return Draft::ready("AllPartitionsReady", counted);
    }
    // Until the set is ready again: the last of the partitions is not held back any more, and still part of it.
    let has_outdated_pods = || existing.partitions.values().any(|member| member.pods.is_some_and(|pods| pods.outdated));
    let rolls_out = rollout.changes || !rollout.held.is_empty() || was_rolling_out || has_outdated_pods();
    if rolls_out && surplus == 0 {
        let message = rolling_out(object, existing, rollout, done, &waiting);
        return Draft::not_ready(ROLLING_OUT, RECONCILING, ROLLING_OUT, message);
    }
    let message = if waiting.is_empty() && surplus > 0 {
        format!("{counted}; {surplus} more are being removed")
    } else if waiting.is_empty() {
        format!("{counted}; a Service of theirs is missing")
    } else {
        format!("{counted}; {}", waits(object, existing, &waiting))
    };
    Draft::not_ready("PartitionsNotReady", RECONCILING, "WaitingForPartitions", message)
}

/// What the partitions say that cannot be completed without help; empty if none does.
fn stuck(object: &SetObject, existing: &Existing) -> String {
    let stalls = existing.partitions.iter().filter_map(|(index, member)| Some((*index, member.stall()?)));
    let named = |(index, why): (i64, Cow<'_, str>)| format!("{}: {why}", names::partition(&object.name, index));
    let mut parts: Vec<String> = stalls.clone().take(NAMED).map(named).collect();
    match stalls.count() - parts.len() {
        0 => {}
        1 => parts.push("one more partition is stalled".to_owned()),
        more => parts.push(format!("{more} more partitions are stalled")),
    }
    parts.join("; ")
}

/// Which partitions are waited for, and why as far as they say so; empty if there are none.
fn waits(object: &SetObject, existing: &Existing, waiting: &[i64]) -> String {
    if waiting.is_empty() {
        return String::new();
    }
    let named = listed(waiting.iter().map(|index| names::partition(&object.name, *index)).collect(), NAMED);
    let parts = worst(existing, waiting)
        .map(|(index, why)| format!("; {}: {}", names::partition(&object.name, index), why.message));
    format!("{WAITING}{named}{}", parts.unwrap_or_default())
}

/// How many partitions are ready, and how many of them are up to date if these are fewer.
fn counted(asked: i64, existing: &Existing, current: usize) -> String {
    let ready = (1..=asked).filter(|index| existing.partitions.get(index).is_some_and(serves)).count();
    if ready > current {
        format!("{ready} of {asked} {COUNTED_READY}; {current} of {asked} {COUNTED_CURRENT}")
    } else {
        format!("{ready} of {asked} {COUNTED_READY}")
    }
}

/// The condition with the reason why a partition is not ready, if it has one.
fn why(member: &Member) -> Option<&Condition> {
    member.current(READY).filter(|ready| ready.status == "False" && unreported(member).is_none())
}

/// The first of the waiting partitions whose condition has another reason than pods that are not ready.
fn worst<'a>(existing: &'a Existing, waiting: &[i64]) -> Option<(i64, &'a Condition)> {
    let parts = waiting.iter().filter_map(|index| Some((*index, why(existing.partitions.get(index)?)?)));
    parts.into_iter().find(|(_, why)| why.reason != PODS_NOT_READY)
}

/// How far a rollout is of which `done` partitions are up to date, and what it waits for.
fn rolling_out(object: &SetObject, existing: &Existing, rollout: &Rollout, done: usize, waiting: &[i64]) -> String {
    let asked = object.spec.partitions.unwrap_or(DEFAULT_COUNT);
    let what = match worst(existing, waiting).map(|(index, _)| index).or(waiting.first().copied()) {
        Some(index) => {
            let why = existing.partitions.get(&index).and_then(why);
            let why = why.map(|why| format!(": {}", why.message)).unwrap_or_default();
            format!("{WAITING}{}{why}", names::partition(&object.name, index))
        }
        None if rollout.held.is_empty() => "a Service of theirs is missing".to_owned(),
        None => "the next one waits until all others have been ready for a while".to_owned(),
    };
    format!("{done} of {asked} partitions are up to date; {what}")
}

/// Whether more than the progress differs.
pub(super) fn is_urgent(before: &PartitionSetStatus, after: &PartitionSetStatus) -> bool {
    before.observed_generation != after.observed_generation
        || !conditions::same_outline(&before.conditions, &after.conditions)
}

#[cfg(test)]
#[path = "status_tests.rs"]
mod tests;
