//! The state of the PartitionSet controller.

use std::sync::Arc;

use super::plan::ANOTHER_CONTROLLER;
use crate::api::PartitionSet;
use crate::api::conditions::{self, READY};
use crate::controller::context::Context;
use crate::controller::partition::Partitions;
use crate::controller::per_object::PerObject;
use crate::controller::ready_timers::ReadyTimers;
use crate::controller::status_writer::StatusWriter;

/// The PartitionSet controller of one term.
pub(crate) struct Sets {
    pub(super) context: Arc<Context>,
    /// The controller of their partitions.
    pub(super) partitions: Arc<Partitions>,
    pub(super) states: PerObject<SetState>,
    pub(super) statuses: StatusWriter,
}

/// What is remembered of one set.
#[derive(Debug, Default)]
pub(super) struct SetState {
    pub(super) ready_partitions: ReadyTimers,
    /// Whether this controller has run the set, and reports what has become of it.
    pub(super) is_own: bool,
}

impl Sets {
    pub(crate) fn new(context: Arc<Context>, partitions: Arc<Partitions>) -> Self {
        let statuses = StatusWriter::new(context.triggers.sets.clone());
        Self { context, partitions, states: PerObject::default(), statuses }
    }
}

impl SetState {
    /// Whether the status of a set that is handed over is this controller's to write. All Partitions of such a set name
    /// another controller, which writes the status; but there may be no controller of that name, so this one says what
    /// has become of the set that it has run until now, and keeps that true until another writes the status.
    pub(super) fn may_report(&self, set: &PartitionSet) -> bool {
        let ready = set.status.as_ref().and_then(|status| conditions::find(&status.conditions, READY));
        self.is_own || ready.is_some_and(|ready| ready.reason == ANOTHER_CONTROLLER)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_the_other_controller_says_of_a_set_is_not_overwritten() {
        let mut state = SetState::default();
        let set = |reason: &str| -> PartitionSet {
            serde_json::from_value(json!({
                "metadata": {"name": "g"}, "spec": {"template": {"spec": {"protocol": "raft"}}},
                "status": {"conditions": [{"type": "Ready", "status": "False", "reason": reason, "message": "m",
                    "lastTransitionTime": "2020-01-01T00:00:00Z"}]},
            }))
            .unwrap()
        };
        assert!(!state.may_report(&set("PartitionsNotReady")), "it has never been this controller's");
        state.is_own = true;
        assert!(state.may_report(&set("PartitionsNotReady")));
        state.is_own = false;
        assert!(state.may_report(&set("AnotherController")), "no other controller has written it");
        assert!(!state.may_report(&set("PartitionsNotReady")));
    }
}
