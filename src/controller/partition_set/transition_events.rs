//! Events about a set: what was done for its partitions, and what changes in its status.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt;

use super::rollout::Rollout;
use super::status::{COUNTED_CURRENT, COUNTED_READY, ROLLING_OUT, WAITING};
use crate::api::conditions::{self, PAUSED, READY, STALLED};
use crate::api::{Partition, PartitionSet, PartitionSetStatus, names};
use crate::controller::context::Context;
use crate::controller::trouble::Trouble;
use crate::controller::writer::Done;
use crate::events::Severity;
use crate::text::listed;

/// Partitions that an event names before it says how many more there are.
const NAMED: usize = 10;

/// Publishes what was done for the partitions of a set.
pub(super) fn publish_writes(
    context: &Context,
    set: &PartitionSet,
    partitions: &[(Partition, Result<Done, Trouble>)],
    rollout: &Rollout,
) {
    let did = |wanted: Done| {
        let done = partitions.iter().filter(move |(_, done)| matches!(done, Ok(done) if *done == wanted));
        done.map(|(partition, _)| partition.name_any()).collect::<Vec<_>>()
    };
    for (done, reason, verb) in [
        (Done::Created, "PartitionsCreated", "created"),
        (Done::Replaced, "PartitionsUpdated", "brought up to date"),
        (Done::Adopted, "PartitionsAdopted", "without an owner adopted"),
    ] {
        let mut names = did(done);
        if names.is_empty() {
            continue;
        }
        names.sort_by_key(|name| names::split_partition(name).map(|(_, index)| index));
        let plural = if names.len() == 1 { "" } else { "s" };
        let note = format!("{} partition{plural} {verb}: {}", names.len(), listed(names, NAMED));
        tracing::info!(set = %set.name_any(), namespace = set.namespace(), reason, note, "partitions written");
        // A rollout goes through them one after the other: events report its beginning and its end.
        if done == Done::Replaced && (!rollout.held.is_empty() || rollout.changes || was_rolling_out(set)) {
            continue;
        }
        context.events.publish(set, Severity::Normal, reason, note);
    }
}

fn was_rolling_out(set: &PartitionSet) -> bool {
    let ready = set.status.as_ref().and_then(|status| conditions::find(&status.conditions, READY));
    ready.is_some_and(|ready| ready.reason == ROLLING_OUT)
}

/// What is worth an event in the change from one status to the next, as severity, reason and note: that a set is paused
/// or goes on, becomes ready or ceases to be, gets a changed template, or is stuck.
pub(super) fn of_status<'a>(
    before: &PartitionSetStatus,
    after: &'a PartitionSetStatus,
) -> Vec<(Severity, &'a str, &'a str)> {
    let mut events = Vec::new();
    let was = conditions::find(&before.conditions, READY);
    if let Some(ready) = conditions::find(&after.conditions, READY) {
        let (was_ready, is_ready) = (was.is_some_and(|was| was.status == "True"), ready.status == "True");
        let was_for = |reason: &str| was.is_some_and(|was| was.reason == reason);
        let mut add = |severity, reason| events.push((severity, reason, ready.message.as_str()));
        if was_for(PAUSED) && ready.reason != PAUSED {
            add(Severity::Normal, "Resumed");
        }
        match (was_ready, is_ready) {
            (_, false) if ready.reason == PAUSED && was_for(PAUSED) => {}
            (_, false) if ready.reason == PAUSED => add(Severity::Normal, PAUSED),
            (_, false) if ready.reason == ROLLING_OUT && was_for(ROLLING_OUT) => {}
            (_, false) if ready.reason == ROLLING_OUT => add(Severity::Normal, ROLLING_OUT),
            (true, false) => add(Severity::Warning, "NotReady"),
            (false, true) if was_for(ROLLING_OUT) => add(Severity::Normal, "RolledOut"),
            (false, true) => add(Severity::Normal, "Ready"),
            _ => {}
        }
    }
    if let Some(stalled) = conditions::find(&after.conditions, STALLED)
        && conditions::find(&before.conditions, STALLED).is_none_or(|was| obstacle(was) != obstacle(stalled))
    {
        events.push((Severity::Warning, &stalled.reason, &stalled.message));
    }
    events
}

/// What stands in the way, whatever number of partitions is ready or up to date meanwhile, and whichever is waited for.
fn obstacle(stalled: &Condition) -> (&str, &str) {
    let mut obstacle = stalled.message.as_str();
    for counted in [COUNTED_READY, COUNTED_CURRENT] {
        let rest = obstacle.split_once("; ").filter(|(count, _)| count.ends_with(counted));
        obstacle = rest.map_or(obstacle, |(_, rest)| rest);
    }
    let obstacle = obstacle.split_once(&format!("; {WAITING}")).map_or(obstacle, |(obstacle, _)| obstacle);
    (&stalled.reason, obstacle)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A status of conditions that are each given as type, status, reason and message.
    fn status(conditions: &[[&str; 4]]) -> PartitionSetStatus {
        let conditions = conditions.iter().map(|[kind, status, reason, message]| {
            serde_json::from_value(json!({"type": kind, "status": status, "reason": reason, "message": message,
                "lastTransitionTime": "2020-01-01T00:00:00Z"}))
            .unwrap()
        });
        PartitionSetStatus { conditions: conditions.collect(), ..PartitionSetStatus::default() }
    }

    fn events(before: [&str; 4], after: [&str; 4]) -> Vec<(Severity, String)> {
        let (before, after) = (status(&[before]), status(&[after]));
        of_status(&before, &after).into_iter().map(|(severity, reason, _)| (severity, reason.to_owned())).collect()
    }

    const IS_READY: [&str; 4] = [READY, "True", "AllPartitionsReady", "2 of 2"];
    const IS_NOT: [&str; 4] = [READY, "False", "PartitionsNotReady", "1 of 2"];
    const IS_PAUSED: [&str; 4] = [READY, "False", PAUSED, "the annotation is set"];
    const ROLLS: [&str; 4] = [READY, "False", ROLLING_OUT, "0 of 2"];

    #[test]
    fn what_becomes_of_a_set_is_published_once() {
        let normal = |reason: &str| (Severity::Normal, reason.to_owned());
        assert_eq!(events(IS_NOT, IS_READY), [normal("Ready")]);
        assert_eq!(events(IS_READY, IS_NOT), [(Severity::Warning, "NotReady".to_owned())]);
        assert_eq!(events(IS_READY, ROLLS), [normal("RollingOut")]);
        assert_eq!(events(ROLLS, IS_READY), [normal("RolledOut")]);
        for same in [IS_READY, IS_NOT, ROLLS, IS_PAUSED] {
            assert_eq!(events(same, same), []);
        }
    }

    #[test]
    fn that_a_set_is_paused_is_no_warning_and_that_its_resumption_is_published() {
        let normal = |reason: &str| (Severity::Normal, reason.to_owned());
        for before in [IS_READY, IS_NOT, ROLLS] {
            assert_eq!(events(before, IS_PAUSED), [normal("Paused")]);
        }
        assert_eq!(events(IS_PAUSED, IS_READY), [normal("Resumed"), normal("Ready")]);
        assert_eq!(events(IS_PAUSED, IS_NOT), [normal("Resumed")]);
        assert_eq!(events(IS_PAUSED, ROLLS), [normal("Resumed"), normal("RollingOut")]);
    }

    #[test]
    fn a_stuck_set_causes_another_event_when_something_else_is_in_the_way_and_not_when_more_is_ready() {
        let stuck = |message| status(&[[STALLED, "True", "PartitionStalled", message]]);
        let before = stuck("0 of 3 partitions are ready; g-1: Service is in the way");
        assert_eq!(of_status(&before, &stuck("1 of 3 partitions are ready; g-1: Service is in the way")), []);
        let current = stuck("3 of 3 partitions are ready; 2 of 3 are up to date; g-1: Service is in the way");
        assert_eq!(of_status(&before, &current), []);
        let waits = stuck("2 of 3 partitions are ready; g-1: Service is in the way; waiting for g-2; g-2: m");
        assert_eq!(of_status(&before, &waits), []);
        let other = stuck("1 of 3 partitions are ready; g-2: Service is in the way");
        let note = "1 of 3 partitions are ready; g-2: Service is in the way";
        assert_eq!(of_status(&before, &other), [(Severity::Warning, "PartitionStalled", note)]);
    }
}
