//! One cache for each kind.

use super::cache::Cache;
use super::cached::{Cached, Published, Rollout, SliceOf};
use super::pods::PodFacts;
use super::sets::freshness::FreshnessReporter;
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
