//! The status of a PartitionSet, as a function of what is known of its partitions.

use std::collections::BTreeSet;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;

use super::super::partition::PODS_NOT_READY;
use super::super::trouble::Trouble;
use super::plan::{Existing, Member};
use crate::api::conditions::{self, Draft, READY, RECONCILING, STALLED};
use crate::api::{DEFAULT_COUNT, PartitionSet, PartitionSetStatus, names};
use crate::rules::SetObject;

/// Partitions that a message names before it says how many more there are.
const NAMED: usize = 3;

/// Reason of a set whose partitions get a changed template a few at a time.
pub(super) const ROLLING_OUT: &str = "RollingOut";

/// What follows the number of partitions that are ready, in messages.
pub(super) const COUNTED_READY: &str = "partitions are ready";
/// What follows the number of partitions that are as the set says, in messages.
pub(super) const COUNTED_CURRENT: &str = "are up to date";

/// The status that `set` should have. `held` are the partitions that keep an earlier template for now.
pub(super) fn status(
    set: &PartitionSet,
    object: &SetObject,
    existing: &Existing,
    held: &BTreeSet<i64>,
    trouble: Option<&Trouble>,
    now: &Time,
) -> PartitionSetStatus {
    let before = set.status.as_ref().map_or(&[][..], |status| &status.conditions);
    let generation = set.metadata.generation;
    let ready = existing.partitions.values().filter(|member| serves(member)).count();
    // Until the set is ready again: the last of the partitions is not held back any more, and still part of it.
    let rolling_out =
        !held.is_empty() || conditions::find(before, READY).is_some_and(|ready| ready.reason == ROLLING_OUT);
    let progress = Progress { held, rolling_out };
    PartitionSetStatus {
        observed_generation: generation,
        partitions: i64::try_from(existing.partitions.len()).unwrap_or(i64::MAX),
        ready_partitions: i64::try_from(ready).unwrap_or(i64::MAX),
        conditions: conditions::settle(before, drafts(object, existing, progress, trouble), generation, now),
    }
}

/// How far a rollout is.
#[derive(Clone, Copy)]
struct Progress<'a> {
    held: &'a BTreeSet<i64>,
    rolling_out: bool,
}

/// Since when a partition is ready, if it is so now and for the spec that it has now.
pub(super) fn ready_since(member: &Member) -> Option<Timestamp> {
    let ready = current(member, READY).filter(|ready| ready.status == "True")?;
    (!member.known.deleting).then_some(ready.last_transition_time.0)
}

/// Whether a partition is all that it should be.
fn is_ready(member: &Member) -> bool {
    ready_since(member).is_some()
}

/// Whether all pods of a partition are ready and can be reached, of whatever template.
fn serves(member: &Member) -> bool {
    let partition = &member.known.facts;
    let ready = partition.status.as_ref().map_or(0, |status| status.ready_replicas);
    let whole = ready >= partition.spec.template.size.unwrap_or(DEFAULT_COUNT) && !member.addresses.is_empty();
    is_ready(member) || whole && !member.known.deleting
}

/// A condition of a partition, if it speaks of what the partition is now.
fn current<'a>(member: &'a Member, kind: &str) -> Option<&'a Condition> {
    let partition = &member.known.facts;
    let status =
        partition.status.as_ref().filter(|status| status.observed_generation == partition.metadata.generation)?;
    conditions::find(&status.conditions, kind)
}

/// What a partition needs help with, if it does, for the spec that it has now.
pub(super) fn stall(member: &Member) -> Option<&str> {
    current(member, STALLED).map(|stalled| stalled.message.as_str())
}

fn drafts(object: &SetObject, existing: &Existing, progress: Progress<'_>, trouble: Option<&Trouble>) -> Vec<Draft> {
    let asked = object.spec.partitions.unwrap_or(DEFAULT_COUNT);
    let waiting: Vec<i64> = (1..=asked).filter(|index| !existing.partitions.get(index).is_some_and(is_ready)).collect();
    let surplus = existing.partitions.range(asked + 1..).count();
    let unreachable = existing.partitions.values().any(|member| member.addresses.is_empty());
    let draft = |kind, status, reason, message: &str| Draft { kind, status, reason, message: message.to_owned() };
    if let Some(Trouble { stalled, reason, message, .. }) = trouble {
        // What is in the way of the partitions can be removed at the same time.
        let stuck = if *stalled { stuck(object, existing) } else { String::new() };
        let message = if stuck.is_empty() { message.clone() } else { format!("{message}; {stuck}") };
        return vec![
            draft(READY, false, reason, &message),
            draft(if *stalled { STALLED } else { RECONCILING }, true, reason, &message),
        ];
    }
    let counted = counted(asked, existing, up_to_date(asked, progress.held, &waiting));
    if waiting.is_empty() && surplus == 0 && !unreachable && progress.held.is_empty() {
        return vec![draft(READY, true, "AllPartitionsReady", &counted)];
    }
    let stuck = stuck(object, existing);
    if !stuck.is_empty() {
        let message = format!("{counted}; {stuck}");
        return vec![
            draft(READY, false, "PartitionStalled", &message),
            draft(STALLED, true, "PartitionStalled", &message),
        ];
    }
    if progress.rolling_out && surplus == 0 {
        let message = rolling_out(object, existing, progress.held, &waiting);
        return vec![draft(READY, false, ROLLING_OUT, &message), draft(RECONCILING, true, ROLLING_OUT, &message)];
    }
    let message = if waiting.is_empty() && surplus > 0 {
        format!("{counted}; {surplus} more are being removed")
    } else if waiting.is_empty() {
        format!("{counted}; a Service of theirs is missing")
    } else {
        let told = worst(existing, &waiting)
            .map(|(index, why)| format!("; {}: {}", names::partition(&object.name, index), why.message));
        format!("{counted}; waiting for {}{}", list(&object.name, &waiting), told.unwrap_or_default())
    };
    vec![
        draft(READY, false, "PartitionsNotReady", &message),
        draft(RECONCILING, true, "WaitingForPartitions", &message),
    ]
}

/// What the partitions say that cannot be completed without help; empty if none does.
fn stuck(object: &SetObject, existing: &Existing) -> String {
    let stalls = existing.partitions.iter().filter_map(|(index, member)| Some((*index, stall(member)?)));
    let named = |(index, why): (i64, &str)| format!("{}: {why}", names::partition(&object.name, index));
    let mut told: Vec<String> = stalls.clone().take(NAMED).map(named).collect();
    match stalls.count() - told.len() {
        0 => {}
        1 => told.push("one more partition is stalled".to_owned()),
        more => told.push(format!("{more} more partitions are stalled")),
    }
    told.join("; ")
}

/// How many partitions are all that the set says, of which `held` keep an earlier template and `waiting` are not ready.
fn up_to_date(asked: i64, held: &BTreeSet<i64>, waiting: &[i64]) -> usize {
    (1..=asked).filter(|index| !held.contains(index) && !waiting.contains(index)).count()
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

/// What says why a partition is not ready, if anything does.
fn why(member: &Member) -> Option<&Condition> {
    current(member, READY).filter(|ready| ready.status == "False")
}

/// The first of the waiting partitions of which there is more to tell than that pods are not ready.
fn worst<'a>(existing: &'a Existing, waiting: &[i64]) -> Option<(i64, &'a Condition)> {
    let told = waiting.iter().filter_map(|index| Some((*index, why(existing.partitions.get(index)?)?)));
    told.into_iter().find(|(_, why)| why.reason != PODS_NOT_READY)
}

/// How far a rollout is, and what it waits for.
fn rolling_out(object: &SetObject, existing: &Existing, held: &BTreeSet<i64>, waiting: &[i64]) -> String {
    let asked = object.spec.partitions.unwrap_or(DEFAULT_COUNT);
    let done = up_to_date(asked, held, waiting);
    let what = match worst(existing, waiting).map(|(index, _)| index).or(waiting.first().copied()) {
        Some(index) => {
            let why = existing.partitions.get(&index).and_then(why);
            let why = why.map(|why| format!(": {}", why.message)).unwrap_or_default();
            format!("waiting for {}{why}", names::partition(&object.name, index))
        }
        None if held.is_empty() => "a Service of theirs is missing".to_owned(),
        None => "the next one waits until all others have been ready for a while".to_owned(),
    };
    format!("{done} of {asked} partitions are up to date; {what}")
}

fn list(set: &str, indexes: &[i64]) -> String {
    let named: Vec<String> = indexes.iter().take(NAMED).map(|index| names::partition(set, *index)).collect();
    match indexes.len() - named.len() {
        0 => named.join(", "),
        more => format!("{} and {more} more", named.join(", ")),
    }
}

/// Whether more than the progress differs.
pub(super) fn is_urgent(before: &PartitionSetStatus, after: &PartitionSetStatus) -> bool {
    before.observed_generation != after.observed_generation
        || !conditions::same_outline(&before.conditions, &after.conditions)
}

#[cfg(test)]
#[path = "status_tests.rs"]
mod tests;
