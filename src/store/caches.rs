//! One cache for each kind.

use std::sync::Arc;

use super::cache::Cache;
use super::cached::{Cached, Published, Rollout, SliceOf};
use super::freshness::FreshnessReporter;
use super::pods::PodFacts;
use crate::api::names::{self, ObjectKey};
use crate::api::{Partition, PartitionSet};

/// One cache for each kind.
#[derive(Default)]
pub struct Caches {
    /// All PartitionSets, whichever controller runs them: the webhooks and the Atomix API answer from this cache.
    pub(crate) sets: Cache<PartitionSet>,
    /// Whether these are all PartitionSets.
    pub(crate) sets_freshness: FreshnessReporter,
    pub(crate) partitions: Cache<Cached<Partition>>,
    pub(crate) config_maps: Cache<Cached<()>>,
    pub(crate) stateful_sets: Cache<Cached<Rollout>>,
    pub(crate) pods: Cache<PodFacts>,
    /// The Services of partitions, with their cluster IPs.
    pub(crate) services: Cache<Cached<Vec<String>>>,
    pub(crate) group_services: Cache<Cached<()>>,
    pub(crate) disruption_budgets: Cache<Cached<()>>,
    /// The EndpointSlices of groups.
    pub(crate) endpoint_slices: Cache<Cached<Published>>,
    /// EndpointSlices that Kubernetes made for Services of groups while these had a selector.
    pub(crate) leftover_slices: Cache<SliceOf>,
    /// EndpointSlices that neither Kubernetes nor this controller makes.
    pub(crate) foreign_slices: Cache<SliceOf>,
    pub(crate) endpoints: Cache<Cached<Published>>,
}

impl Caches {
    /// The Partitions that belong to a set by their names, each with its index.
    pub(crate) fn partitions_of(&self, set: &ObjectKey) -> Vec<(i64, ObjectKey, Arc<Cached<Partition>>)> {
        let named = self.partitions.with_prefix(&set.namespace, &format!("{}-", set.name)).into_iter();
        let partitions = named.filter_map(|(name, known)| {
            let key = ObjectKey::new(set.namespace.as_str(), name);
            let (of, index) = names::set_of_partition(&key)?;
            (of == *set).then_some((index, key, known))
        });
        partitions.collect()
    }
}
