//! What the controllers know of the cluster, and the watches that keep it so.

use std::future::Future;
use std::sync::Arc;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, Endpoints, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::{Api, Client};

use super::objects::{Keep, Known};
use super::partition_set::{CHILD_DELAY, PARTITION_DELAY};
use crate::api::names::{self, ObjectKey};
use crate::api::{Partition, PartitionSet, labels};
use crate::cache::Cache;
use crate::queue::Trigger;
use crate::watch::{self, Sink};

/// Annotation in which kubectl keeps a copy of what was applied: nothing here reads it.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// Called when one watch has its first list.
pub type Synced = Box<dyn FnOnce() + Send>;

/// One cache a kind.
#[derive(Default)]
pub struct Caches {
    /// All PartitionSets.
    pub sets: Cache<PartitionSet>,
    /// All Partitions.
    pub(super) partitions: Cache<Known<Partition>>,
    pub(super) config_maps: Cache<Known<()>>,
    pub(super) stateful_sets: Cache<Known<<StatefulSet as Keep>::Facts>>,
    pub(super) services: Cache<Known<<Service as Keep>::Facts>>,
    pub(super) disruption_budgets: Cache<Known<()>>,
    pub(super) endpoint_slices: Cache<Known<<EndpointSlice as Keep>::Facts>>,
    pub(super) endpoints: Cache<Known<()>>,
}

impl Caches {
    /// Watches everything, for ever. `controller` selects the children; `gate` makes, for each kind, what is called
    /// when its first list is in.
    pub fn watch(
        self: Arc<Self>,
        client: Client,
        controller: &str,
        (sets, partitions): (Trigger, Trigger),
        gate: impl FnMut(&'static str) -> Synced,
    ) -> impl Future<Output = ()> + Send + 'static {
        let gates = [
            "partitionsets",
            "partitions",
            "configmaps",
            "statefulsets",
            "services",
            "poddisruptionbudgets",
            "endpointslices",
            "endpoints",
        ]
        .map(gate);
        let ours = format!("{}={controller}", labels::MANAGED_BY);
        let route = Route { sets, partitions };
        async move {
            let [sets, partitions, config_maps, stateful_sets, services, budgets, slices, endpoints] = gates;
            let (caches, ours) = (&*self, ours.as_str());
            tokio::join!(
                watch::run(Api::all(client.clone()), "", &caches.sets, route.clone(), sets),
                watch::run(Api::all(client.clone()), "", &caches.partitions, Partitions(route.clone()), partitions),
                children::<ConfigMap>(&client, ours, &caches.config_maps, &route, config_maps),
                children::<StatefulSet>(&client, ours, &caches.stateful_sets, &route, stateful_sets),
                children::<Service>(&client, ours, &caches.services, &route, services),
                children::<PodDisruptionBudget>(&client, ours, &caches.disruption_budgets, &route, budgets),
                children::<EndpointSlice>(&client, ours, &caches.endpoint_slices, &route, slices),
                children::<Endpoints>(&client, ours, &caches.endpoints, &route, endpoints),
            );
        }
    }
}

async fn children<K: Keep>(
    client: &Client,
    labels: &str,
    cache: &Cache<Known<K::Facts>>,
    route: &Route,
    synced: Synced,
) {
    watch::run::<K, _>(Api::all(client.clone()), labels, cache, Children(route.clone()), synced).await;
}

/// Tells the queues whom a change concerns.
#[derive(Clone)]
struct Route {
    sets: Trigger,
    partitions: Trigger,
}

impl Route {
    fn set_of(&self, partition: &ObjectKey) {
        if let Some((set, _)) = names::split_partition(&partition.name) {
            self.sets.after(ObjectKey::new(partition.namespace.as_str(), set), PARTITION_DELAY);
        }
    }
}

impl Sink<PartitionSet> for Route {
    type Kept = PartitionSet;

    fn keep(&self, set: PartitionSet) -> PartitionSet {
        slim(set)
    }

    fn changed(&self, key: &ObjectKey, _: &PartitionSet) {
        self.sets.now(key.clone());
    }
}

/// A set without what only the API server and kubectl need.
pub(super) fn slim(mut set: PartitionSet) -> PartitionSet {
    set.metadata.managed_fields = None;
    set.metadata.annotations.iter_mut().for_each(|annotations| drop(annotations.remove(LAST_APPLIED)));
    set
}

struct Partitions(Route);

impl Sink<Partition> for Partitions {
    type Kept = Known<Partition>;

    fn keep(&self, partition: Partition) -> Known<Partition> {
        partition.known()
    }

    fn changed(&self, key: &ObjectKey, _: &Known<Partition>) {
        self.0.partitions.now(key.clone());
        self.0.set_of(key);
    }
}

struct Children(Route);

impl<K: Keep> Sink<K> for Children {
    type Kept = Known<K::Facts>;

    fn keep(&self, object: K) -> Known<K::Facts> {
        object.known()
    }

    fn changed(&self, key: &ObjectKey, known: &Known<K::Facts>) {
        let (Some(owner), Self(route)) = (&known.owner, self) else { return };
        let owner_key = ObjectKey::new(key.namespace.as_str(), owner.name.as_str());
        match owner.kind.as_str() {
            "Partition" => {
                // A group's endpoints follow the Services of its partitions.
                if K::kind(&()) == "Service" {
                    route.set_of(&owner_key);
                }
                route.partitions.after(owner_key, CHILD_DELAY);
            }
            "PartitionSet" => route.sets.after(owner_key, CHILD_DELAY),
            _ => {}
        }
    }
}
