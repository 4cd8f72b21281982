//! The state of the Partition controller.

use std::sync::Arc;

use super::creation_failures::CreationFailures;
use super::disruption_slots::DisruptionSlots;
use super::roll_state::{ObstacleTimer, RollState};
use super::verified::Versions;
use crate::api::names::ObjectKey;
use crate::controller::context::Context;
use crate::controller::per_object::PerObject;
use crate::controller::ready_timers::ReadyTimers;
use crate::controller::status_writer::StatusWriter;

/// The Partition controller of one term.
pub(crate) struct Partitions {
    pub(super) context: Arc<Context>,
    pub(super) states: PerObject<PartitionState>,
    pub(super) statuses: StatusWriter,
    pub(super) creation_failures: CreationFailures,
    pub(super) slots: DisruptionSlots,
}

/// What is remembered of one partition.
#[derive(Debug, Default)]
pub(super) struct PartitionState {
    /// The versions in which its objects were last found right.
    pub(super) verified: Option<Versions>,
    pub(super) roll: RollState,
    pub(super) obstacle: ObstacleTimer,
    pub(super) ready_pods: ReadyTimers,
    /// Uid of the Partition that the set controller has deleted: until the watch shows it, nothing of it is made anew.
    pub(super) deleted: Option<String>,
}

impl Partitions {
    pub(crate) fn new(context: Arc<Context>) -> Self {
        Self {
            statuses: StatusWriter::new(context.triggers.partitions.clone()),
            context,
            states: PerObject::default(),
            creation_failures: CreationFailures::default(),
            slots: DisruptionSlots::default(),
        }
    }

    /// Records that the Partition of that uid is being deleted, or with none that its deletion has failed.
    pub(crate) fn record_deletion(&self, key: &ObjectKey, uid: Option<&str>) {
        self.states.with(key, |state| state.deleted = uid.map(str::to_owned));
    }

    /// Why the status of a Partition cannot be written, if it was refused when that was last tried.
    pub(crate) fn unwritten_status(&self, key: &ObjectKey) -> Option<String> {
        self.statuses.refused(key)
    }
}
