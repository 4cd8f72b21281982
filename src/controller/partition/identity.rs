//! Which partition of which set an object is.

use kube::ResourceExt;

use super::super::objects::controller_of;
use crate::api::labels::annotations;
use crate::api::{Partition, names};

/// Which partition of which set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Namespace of both.
    pub namespace: String,
    /// Name of the PartitionSet.
    pub set: String,
    /// Index in the set, from 1.
    pub index: i64,
    /// Name of the partition: `<set>-<index>`.
    pub name: String,
}

/// Why a Partition cannot be told which one it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a Partition is named <PartitionSet>-<index>, and {name:?} is not partition of {set:?}")]
pub struct NotAPartition {
    name: String,
    set: String,
}

impl Identity {
    /// Reads it off the owner, or off the annotations of a partition that was orphaned, and checks it with the name.
    ///
    /// # Errors
    /// [`NotAPartition`] if they do not go together.
    pub fn of(partition: &Partition) -> Result<Self, NotAPartition> {
        let name = partition.name_any();
        let owner = controller_of(&partition.metadata).map(|owner| owner.name.as_str());
        let annotated = partition.annotations().get(annotations::GROUP).map(String::as_str);
        let set = owner.or(annotated).unwrap_or_default().to_owned();
        match names::split_partition(&name) {
            Some((prefix, index)) if prefix == set => {
                Ok(Self { namespace: partition.namespace().unwrap_or_default(), set, index, name })
            }
            _ => Err(NotAPartition { name, set }),
        }
    }
}
