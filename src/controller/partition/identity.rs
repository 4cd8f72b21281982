//! Which partition of which set an object is.

use kube::ResourceExt;

use crate::api::labels::annotations;
use crate::api::{Partition, names};
use crate::controller::trouble::Trouble;
use crate::store::controller_of;

/// Which partition of which set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    /// Namespace of both.
    pub(super) namespace: String,
    /// Name of the PartitionSet.
    pub(super) set: String,
    /// Index in the set, from 1.
    pub(super) index: i64,
    /// Name of the partition: `<set>-<index>`.
    pub(super) name: String,
}

impl Identity {
    /// Reads it off the owner, or off the annotations of a partition that was orphaned, and checks it with the name.
    pub(super) fn of(partition: &Partition) -> Result<Self, Trouble> {
        let name = partition.name_any();
        let owner = controller_of(&partition.metadata).map(|owner| owner.name.as_str());
        let annotated = partition.annotations().get(annotations::GROUP).map(String::as_str);
        let set = owner.or(annotated).unwrap_or_default().to_owned();
        match names::split_partition(&name) {
            Some((prefix, index)) if prefix == set => {
                Ok(Self { namespace: partition.namespace().unwrap_or_default(), set, index, name })
            }
            _ => {
                let message =
                    format!("a Partition is named <PartitionSet>-<index>, and {name:?} is not partition of {set:?}");
                Err(Trouble::new(true, "InvalidName", message))
            }
        }
    }
}
