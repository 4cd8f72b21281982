//! The watch cache as elections see it.

use std::sync::Arc;

use super::store::{PartitionCache, PartitionView};
use crate::api::ElectionStatus;
use crate::api::names::ObjectKey;
use crate::store::Caches;

/// The watch cache as elections see it.
pub struct KnownPartitions {
    caches: Arc<Caches>,
    /// `<namespace>.<name>` of the controller.
    controller: String,
}

impl KnownPartitions {
    /// The Partitions of `caches` that `controller` (`<namespace>.<name>`) runs.
    #[must_use]
    pub fn new(caches: Arc<Caches>, controller: String) -> Self {
        Self { caches, controller }
    }
}

impl PartitionCache for KnownPartitions {
    fn view(&self, key: &ObjectKey) -> Option<PartitionView> {
        PartitionView::of(&self.caches.partitions.get(key)?.facts, &self.controller)
    }

    fn with_records(&self, wanted: &dyn Fn(&ObjectKey, &ElectionStatus) -> bool) -> Vec<(ObjectKey, PartitionView)> {
        let keys = self.caches.partitions.keys().into_iter();
        let known = keys.filter_map(|key| {
            let known = self.caches.partitions.get(&key)?;
            let election = known.facts.status.as_ref()?.election.as_ref()?;
            let view = wanted(&key, election).then(|| PartitionView::of(&known.facts, &self.controller))?;
            Some((key, view?))
        });
        known.collect()
    }
}
