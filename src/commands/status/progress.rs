//! How far a PartitionSet is, by its conditions, as kstatus and `kubectl rollout status` decide it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use crate::api::PartitionSet;
use crate::api::conditions::{READY, RECONCILING, STALLED};

/// How far a set is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// It is ready and as its spec requires.
    Done,
    /// The controller is at work, or has not observed the spec yet.
    UnderWay,
    /// Nothing changes without help: it is stalled or paused.
    Halted,
}

/// How far a set is, the reason in one word, and a sentence about it.
pub(super) fn of(set: &PartitionSet) -> (Progress, String, String) {
    if set.metadata.deletion_timestamp.is_some() {
        return (Progress::UnderWay, "Terminating".to_owned(), "the set is being deleted".to_owned());
    }
    let status = set.status.clone().unwrap_or_default();
    let find = |kind| find(&status.conditions, kind);
    let said = |condition: &Condition| (condition.reason.clone(), condition.message.clone());
    let (progress, (reason, message)) = if status.observed_generation < set.metadata.generation {
        let message = "the controller has not observed the spec yet".to_owned();
        (Progress::UnderWay, ("NotObserved".to_owned(), message))
    } else if let Some(stalled) = find(STALLED) {
        (Progress::Halted, said(stalled))
    } else if let Some(reconciling) = find(RECONCILING) {
        (Progress::UnderWay, said(reconciling))
    } else {
        let ready = status.conditions.iter().find(|condition| condition.type_ == READY);
        let is_ready = ready.is_some_and(|ready| ready.status == "True");
        (if is_ready { Progress::Done } else { Progress::UnderWay }, ready.map(said).unwrap_or_default())
    };
    // Whatever else is true of it, nothing is written for it.
    let progress = if set.is_paused() && progress == Progress::UnderWay { Progress::Halted } else { progress };
    (progress, reason, message)
}

fn find<'a>(conditions: &'a [Condition], kind: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.type_ == kind && condition.status == "True")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn set(status: &Value, annotations: &Value) -> PartitionSet {
        serde_json::from_value(json!({
            "apiVersion": "k8s.atomix.io/v1alpha1",
            "kind": "PartitionSet",
            "metadata": {"name": "raft", "generation": 2, "annotations": annotations},
            "spec": {"partitions": 1, "template": {"spec": {"protocol": "raft", "size": 1}}},
            "status": status,
        }))
        .unwrap()
    }

    fn condition(kind: &str, status: &str, reason: &str) -> Value {
        let time = "2026-01-02T03:04:05Z";
        json!({"type": kind, "status": status, "reason": reason, "message": reason, "lastTransitionTime": time})
    }

    #[test]
    fn a_set_is_done_when_the_controller_has_observed_its_spec_and_it_is_ready() {
        let progress = |generation: i64, conditions: &[Value]| {
            let status = json!({"observedGeneration": generation, "conditions": conditions});
            let (progress, reason, _) = of(&set(&status, &json!({})));
            (progress, reason)
        };
        let ready = condition("Ready", "True", "Ready");
        let not_ready = condition("Ready", "False", "RollingOut");
        let of = |progress, reason: &str| (progress, reason.to_owned());
        assert_eq!(progress(2, std::slice::from_ref(&ready)), of(Progress::Done, "Ready"));
        assert_eq!(progress(1, std::slice::from_ref(&ready)), of(Progress::UnderWay, "NotObserved"));
        assert_eq!(progress(2, &[]), of(Progress::UnderWay, ""));
        assert_eq!(progress(2, std::slice::from_ref(&not_ready)), of(Progress::UnderWay, "RollingOut"));
        let rolling = condition("Reconciling", "True", "Rolling");
        assert_eq!(progress(2, &[ready, rolling.clone()]), of(Progress::UnderWay, "Rolling"));
        let stalled = condition("Stalled", "True", "NameTaken");
        assert_eq!(progress(2, &[not_ready, rolling, stalled]), of(Progress::Halted, "NameTaken"));
    }

    #[test]
    fn a_paused_set_changes_nothing_by_itself() {
        let paused = json!({"k8s.atomix.io/paused": "true"});
        let status = |status| json!({"observedGeneration": 2, "conditions": [condition("Ready", status, "Paused")]});
        assert_eq!(of(&set(&status("False"), &paused)).0, Progress::Halted);
        assert_eq!(of(&set(&status("True"), &paused)).0, Progress::Done);
        assert_eq!(of(&set(&json!({}), &paused)).0, Progress::Halted);
    }
}
