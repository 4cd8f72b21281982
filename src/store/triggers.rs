//! Requests for reconciliation that changes of objects cause.

use std::time::Duration;

use crate::api::names::{self, ObjectKey};
use crate::queue::Trigger;

/// How long a change of a child waits for more of them before its owner is reconciled.
const CHILD_DELAY: Duration = Duration::from_millis(20);
/// How long a change of a partition waits for more of them before its set is reconciled.
const PARTITION_DELAY: Duration = Duration::from_millis(50);

/// The work queues of both controllers. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Triggers {
    /// Requests the reconciliation of a PartitionSet.
    pub sets: Trigger,
    /// Requests the reconciliation of a Partition.
    pub partitions: Trigger,
}

impl Triggers {
    /// A child of a set has changed.
    pub(crate) fn child_of_set(&self, set: ObjectKey) {
        self.sets.after(set, CHILD_DELAY);
    }

    /// A child or a pod of a partition has changed.
    pub(crate) fn child_of_partition(&self, partition: ObjectKey) {
        self.partitions.after(partition, CHILD_DELAY);
    }

    /// A partition has changed, or what its set reads of it.
    pub(crate) fn set_of(&self, partition: &ObjectKey) {
        if let Some((set, _)) = names::set_of_partition(partition) {
            self.sets.after(set, PARTITION_DELAY);
        }
    }
}
