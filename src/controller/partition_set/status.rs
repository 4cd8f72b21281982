//! The status of a PartitionSet, as a function of what is known of its partitions.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::super::trouble::Trouble;
use super::plan::{Existing, Member};
use crate::api::conditions::{self, Draft, READY, RECONCILING, STALLED};
use crate::api::{DEFAULT_COUNT, PartitionSet, PartitionSetStatus, names};
use crate::rules::SetObject;

/// Partitions that a message names before it says how many more there are.
const NAMED: usize = 3;

/// The status that `set` should have.
pub(super) fn status(
    set: &PartitionSet,
    object: &SetObject,
    existing: &Existing,
    trouble: Option<&Trouble>,
    now: &Time,
) -> PartitionSetStatus {
    let before = set.status.as_ref().map_or(&[][..], |status| &status.conditions);
    let generation = set.metadata.generation;
    let ready = existing.partitions.values().filter(|member| is_ready(member)).count();
    PartitionSetStatus {
        observed_generation: generation,
        partitions: i64::try_from(existing.partitions.len()).unwrap_or(i64::MAX),
        ready_partitions: i64::try_from(ready).unwrap_or(i64::MAX),
        conditions: conditions::settle(before, drafts(object, existing, trouble), generation, now),
    }
}

/// Ready now, for the spec that it has now.
fn is_ready(member: &Member) -> bool {
    let partition = &member.known.facts;
    partition.status.as_ref().is_some_and(|status| {
        status.observed_generation == partition.metadata.generation
            && conditions::find(&status.conditions, READY).is_some_and(|ready| ready.status == "True")
    }) && !member.known.deleting
}

fn stall(member: &Member) -> Option<&str> {
    let status = member.known.facts.status.as_ref()?;
    conditions::find(&status.conditions, STALLED).map(|stalled| stalled.message.as_str())
}

fn drafts(object: &SetObject, existing: &Existing, trouble: Option<&Trouble>) -> Vec<Draft> {
    let asked = object.spec.partitions.unwrap_or(DEFAULT_COUNT);
    let waiting: Vec<i64> = (1..=asked).filter(|index| !existing.partitions.get(index).is_some_and(is_ready)).collect();
    let ready = asked - i64::try_from(waiting.len()).unwrap_or(asked);
    let surplus = existing.partitions.range(asked + 1..).count();
    let unreachable = existing.partitions.values().any(|member| member.addresses.is_empty());
    let draft = |kind, status, reason, message: &str| Draft { kind, status, reason, message: message.to_owned() };
    if let Some(Trouble { stalled, reason, message }) = trouble {
        return vec![
            draft(READY, false, reason, message),
            draft(if *stalled { STALLED } else { RECONCILING }, true, reason, message),
        ];
    }
    let counted = format!("{ready} of {asked} partitions are ready");
    if waiting.is_empty() && surplus == 0 && !unreachable {
        return vec![draft(READY, true, "AllPartitionsReady", &counted)];
    }
    let stuck = existing.partitions.iter().find_map(|(index, member)| Some((index, stall(member)?)));
    if let Some((index, why)) = stuck {
        let message = format!("{counted}; {}: {why}", names::partition(&object.name, *index));
        return vec![
            draft(READY, false, "PartitionStalled", &message),
            draft(STALLED, true, "PartitionStalled", &message),
        ];
    }
    let message = if waiting.is_empty() && surplus > 0 {
        format!("{counted}; {surplus} more are being removed")
    } else if waiting.is_empty() {
        format!("{counted}; a Service of theirs is missing")
    } else {
        format!("{counted}; waiting for {}", list(&object.name, &waiting))
    };
    vec![
        draft(READY, false, "PartitionsNotReady", &message),
        draft(RECONCILING, true, "WaitingForPartitions", &message),
    ]
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
