//! How far a PartitionSet is, by its conditions, as kstatus and `kubectl rollout status` decide it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use crate::api::PartitionSet;
use crate::api::conditions::{self, READY, RECONCILING, STALLED};
use crate::text::on_one_line;

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

/// How far a set is, and why.
pub(super) struct State {
    pub(super) progress: Progress,
    /// One word in CamelCase.
    pub(super) reason: String,
    /// A sentence on one line.
    pub(super) message: String,
}

impl State {
    pub(super) fn of(set: &PartitionSet) -> Self {
        let state = |progress, reason: &str, message: &str| Self {
            progress,
            reason: reason.to_owned(),
            message: on_one_line(message),
        };
        if set.metadata.deletion_timestamp.is_some() {
            return state(Progress::UnderWay, "Terminating", "the set is being deleted");
        }
        // Nothing is written for a paused set, whatever it lacks.
        let under_way = if set.is_paused() { Progress::Halted } else { Progress::UnderWay };
        let status = set.status.as_ref();
        let conditions = status.map(|status| status.conditions.as_slice()).unwrap_or_default();
        let of = |progress, condition: &Condition| state(progress, &condition.reason, &condition.message);
        let true_one = |kind| conditions::find(conditions, kind).filter(|condition| condition.status == "True");
        if status.and_then(|status| status.observed_generation) < set.metadata.generation {
            state(under_way, "NotObserved", "the controller has not observed the spec yet")
        } else if let Some(stalled) = true_one(STALLED) {
            of(Progress::Halted, stalled)
        } else if let Some(reconciling) = true_one(RECONCILING) {
            of(under_way, reconciling)
        } else if let Some(ready) = true_one(READY) {
            of(Progress::Done, ready)
        } else {
            conditions::find(conditions, READY).map_or_else(|| state(under_way, "", ""), |ready| of(under_way, ready))
        }
    }
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
            let state = State::of(&set(&status, &json!({})));
            (state.progress, state.reason)
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
        assert_eq!(State::of(&set(&status("False"), &paused)).progress, Progress::Halted);
        assert_eq!(State::of(&set(&status("True"), &paused)).progress, Progress::Done);
        assert_eq!(State::of(&set(&json!({}), &paused)).progress, Progress::Halted);
    }
}
