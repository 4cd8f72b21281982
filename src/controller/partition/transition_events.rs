//! Events about the objects of a partition: what was put right, and which data a new one has found.

use crate::api::Partition;
use crate::api::conditions::{self, READY, STALLED};
use crate::controller::context::Context;
use crate::controller::writer::{ChildResult, Done};
use crate::events::Severity;
use crate::store::cache::key_of;

/// Reasons of a partition some object of which may not have been made, or not been brought up to date, for a while: see
/// [`crate::controller::trouble`].
const OBSTACLES: [&str; 4] = ["WaitingForDeletion", "QuotaExceeded", "ApiError", "NamespaceTerminating"];

/// Publishes what was put right or taken over. Making the children of a new partition, or changing them with it, causes no
/// event.
pub(super) fn publish(context: &Context, partition: &Partition, results: &[ChildResult]) {
    let was_right = was_right(partition);
    for ChildResult { kind, name, done } in results {
        let (reason, verb) = match done {
            Done::Nothing | Done::BookkeepingUpdated | Done::Removed => continue,
            Done::Adopted => ("Adopted", "had no owner and belongs to this Partition now"),
            Done::Created | Done::Replaced if !was_right => continue,
            Done::Created => ("Recreated", "was missing and has been created again"),
            Done::Replaced => ("Restored", "differed from what the Partition says and has been put right"),
        };
        tracing::info!(partition = %key_of(partition), kind, name, reason, "child put right");
        context.events.publish(partition, Severity::Normal, reason, format!("{kind} {name} {verb}"));
    }
}

/// Publishes that a new partition starts with the data of a former one.
pub(super) fn publish_retained_claims(
    context: &Context,
    partition: &Partition,
    retained: &[String],
    results: &[ChildResult],
) {
    let created = results.iter().any(|result| result.kind == "StatefulSet" && result.done == Done::Created);
    if created && !retained.is_empty() {
        let note = format!("claims that an earlier partition has left are used again: {}", retained.join(", "));
        context.events.publish(partition, Severity::Warning, "RetainedClaims", note);
    }
}

/// Whether the objects of a partition were as they should be now, by its last status: that speaks of what the partition
/// is now, and of nothing that stood in their way.
pub(super) fn was_right(partition: &Partition) -> bool {
    let Some(status) = &partition.status else { return false };
    let current = status.observed_generation == partition.metadata.generation;
    current && conditions::find(&status.conditions, READY).is_some() && !is_obstructed(partition)
}

/// Whether something stands in the way of the objects of a partition, by its last status.
pub(super) fn is_obstructed(partition: &Partition) -> bool {
    let conditions = partition.status.as_ref().map_or(&[][..], |status| &status.conditions);
    conditions::find(conditions, STALLED).is_some()
        || conditions::find(conditions, READY).is_some_and(|ready| OBSTACLES.contains(&ready.reason.as_str()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn partition(kind: &str, status: &str, reason: &str) -> Partition {
        let condition = json!({"type": kind, "status": status, "reason": reason, "message": "m",
            "lastTransitionTime": "2020-01-01T00:00:00Z"});
        let ready = json!({"type": "Ready", "status": "False", "reason": reason, "message": "m",
            "lastTransitionTime": "2020-01-01T00:00:00Z"});
        let conditions = if kind == READY { vec![condition] } else { vec![ready, condition] };
        serde_json::from_value(json!({
            "apiVersion": "k8s.atomix.io/v1alpha1", "kind": "Partition",
            "metadata": {"name": "g-1", "generation": 2, "labels": {"team": "a"}}, "spec": {"protocol": "raft"},
            "status": {"observedGeneration": 2, "image": "r:1", "conditions": conditions},
        }))
        .unwrap()
    }

    #[test]
    fn a_repair_of_a_partition_whose_objects_were_right_is_an_event() {
        for (status, reason) in [("True", "PodsReady"), ("False", "PodsNotReady"), ("False", "PodUnschedulable")] {
            assert!(was_right(&partition(READY, status, reason)), "{reason}");
        }
        for reason in OBSTACLES {
            assert!(!was_right(&partition(READY, "False", reason)), "{reason}");
        }
        assert!(!was_right(&partition(STALLED, "True", "NameCollision")));
    }

    #[test]
    fn a_change_with_the_partition_is_no_event_of_a_repair() {
        let mut changed = partition(READY, "True", "PodsReady");
        changed.metadata.generation = Some(3);
        assert!(!was_right(&changed));
        let new = Partition { status: None, ..changed };
        assert!(!was_right(&new));
    }
}
