//! What the controllers know of the cluster, and the watches that keep it so.

use std::future::Future;
use std::sync::Arc;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, Endpoints, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::core::PartialObjectMeta;
use kube::{Client, ResourceExt};

use super::elections;
use super::objects::{Child, Known};
use super::partition_set::{CHILD_DELAY, PARTITION_DELAY};
use super::pods::{Pod, PodFacts};
use crate::api::names::{self, ObjectKey};
use crate::api::{Partition, PartitionSet, labels};
use crate::cache::Cache;
use crate::queue::Trigger;
use crate::scope::Scope;
use crate::sets::Currency;
use crate::watch::{self, Pace, Sink};

/// Annotation in which kubectl keeps a copy of what was applied: nothing here reads it.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// Who makes the EndpointSlices of Services with a selector, and those of Endpoints, in Kubernetes.
const SLICE_CONTROLLER: &str = "endpointslice-controller.k8s.io";
const MIRRORING_CONTROLLER: &str = "endpointslicemirroring-controller.k8s.io";

/// Told of every change of a Partition, after the cache has it.
pub type Told = Arc<dyn Fn(&ObjectKey) + Send + Sync>;
/// Called when one watch has its first list.
pub type Synced = Box<dyn FnOnce() + Send>;

/// One cache a kind.
#[derive(Default)]
pub struct Caches {
    /// All PartitionSets.
    pub sets: Cache<PartitionSet>,
    /// Whether they are.
    pub sets_currency: Currency,
    /// All Partitions.
    pub(super) partitions: Cache<Known<Partition>>,
    pub(super) config_maps: Cache<Known<()>>,
    pub(super) stateful_sets: Cache<Known<<StatefulSet as Child>::Facts>>,
    pub(super) pods: Cache<PodFacts>,
    /// The Services of partitions.
    pub(super) services: Cache<Known<<Service as Child>::Facts>>,
    /// The Services of whole groups.
    pub(super) group_services: Cache<Known<<Service as Child>::Facts>>,
    pub(super) disruption_budgets: Cache<Known<()>>,
    /// The EndpointSlices of groups.
    pub(super) endpoint_slices: Cache<Known<<EndpointSlice as Child>::Facts>>,
    /// EndpointSlices that Kubernetes made for Services of groups while these had a selector.
    pub(super) leftover_slices: Cache<SliceOf>,
    /// EndpointSlices that neither Kubernetes nor this controller makes.
    pub(super) foreign_slices: Cache<SliceOf>,
    pub(super) endpoints: Cache<Known<<Endpoints as Child>::Facts>>,
}

/// What is kept of an EndpointSlice that is not this controller's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SliceOf {
    /// Unique identity of the slice.
    pub uid: String,
    /// The Service that it belongs to.
    pub service: String,
}

impl Caches {
    /// Watches everything in `scope`, for ever. `controller` selects the children; `told` is told of Partitions; `gate`
    /// makes, for each kind, what is called when its first list is in.
    pub fn watch(
        self: Arc<Self>,
        client: Client,
        scope: Scope,
        controller: &str,
        (sets, partitions, told): (Trigger, Trigger, Told),
        gate: impl FnMut(&'static str) -> Synced,
    ) -> impl Future<Output = ()> + Send + 'static {
        let gates = [
            "partitionsets",
            "partitions",
            "configmaps",
            "statefulsets",
            "pods",
            "services",
            "services of groups",
            "poddisruptionbudgets",
            "endpointslices",
            "leftover endpointslices",
            "foreign endpointslices",
            "endpoints",
        ]
        .map(gate);
        // A policy of the cluster may rewrite the labels under app.kubernetes.io: objects are selected by others, and are
        // known by their owner.
        let of_partitions =
            format!("{}={},{}={}", labels::APP, labels::values::APP, labels::TYPE, labels::values::PARTITION);
        let slice_manager = labels::slice_manager(controller);
        let our_slices = format!("{}={slice_manager}", labels::SLICE_MANAGED_BY);
        // Kubernetes copies the labels of a Service to the slices that it makes for it.
        let leftover_slices = format!("{},{}={SLICE_CONTROLLER}", labels::GROUP_OF, labels::SLICE_MANAGED_BY);
        let foreign_slices = format!(
            "{},{} notin ({slice_manager},{SLICE_CONTROLLER},{MIRRORING_CONTROLLER})",
            labels::SERVICE_NAME,
            labels::SLICE_MANAGED_BY
        );
        let our_endpoints = format!("{}=true", labels::SKIP_MIRROR);
        let route = Route { sets, partitions };
        async move {
            let [
                sets,
                partitions,
                config_maps,
                stateful_sets,
                pods,
                services,
                group_services,
                budgets,
                slices,
                leftovers,
                foreign,
                endpoints,
            ] = gates;
            let (caches, ours, at) = (&*self, of_partitions.as_str(), (&client, &scope));
            let sets_synced = || {
                caches.sets_currency.synced();
                sets();
            };
            tokio::join!(
                watch::run(at, "", &caches.sets, Sets(&route, &caches.sets_currency), sets_synced),
                watch::run(at, "", &caches.partitions, Partitions { route: route.clone(), told }, partitions),
                children::<ConfigMap>(at, ours, &caches.config_maps, &route, config_maps),
                children::<StatefulSet>(at, ours, &caches.stateful_sets, &route, stateful_sets),
                watch::run(at, ours, &caches.pods, Pods(route.clone()), pods),
                children::<Service>(at, ours, &caches.services, &route, services),
                children::<Service>(at, labels::GROUP_OF, &caches.group_services, &route, group_services),
                children::<PodDisruptionBudget>(at, ours, &caches.disruption_budgets, &route, budgets),
                children::<EndpointSlice>(at, &our_slices, &caches.endpoint_slices, &route, slices),
                watch::run(at, &leftover_slices, &caches.leftover_slices, Slices(route.clone()), leftovers),
                watch::run(at, &foreign_slices, &caches.foreign_slices, Slices(route.clone()), foreign),
                children::<Endpoints>(at, &our_endpoints, &caches.endpoints, &route, endpoints),
            );
        }
    }
}

async fn children<K: Child>(
    at: (&Client, &Scope),
    labels: &str,
    cache: &Cache<Known<K::Facts>>,
    route: &Route,
    synced: Synced,
) {
    watch::run::<K, _>(at, labels, cache, Children(route.clone()), synced).await;
}

/// Tells the queues whom a change concerns.
#[derive(Clone)]
struct Route {
    sets: Trigger,
    partitions: Trigger,
}

impl Route {
    fn set_of(&self, partition: &ObjectKey) {
        if let Some((set, _)) = names::set_of_partition(partition) {
            self.sets.after(set, PARTITION_DELAY);
        }
    }
}

struct Sets<'a>(&'a Route, &'a Currency);

impl Sink<PartitionSet> for Sets<'_> {
    type Kept = PartitionSet;

    fn keep(&self, set: PartitionSet) -> PartitionSet {
        slim(set)
    }

    fn changed(&self, key: &ObjectKey, _: &PartitionSet) {
        self.0.sets.now(key.clone());
    }

    fn pace(&self) -> Pace {
        Pace::Close
    }

    fn interrupted(&self, namespace: Option<&str>) {
        self.1.interrupted(namespace);
    }

    fn listed(&self, namespace: Option<&str>) {
        self.1.listed(namespace);
    }
}

/// A set without what only the API server and kubectl need.
#[must_use]
pub fn slim(mut set: PartitionSet) -> PartitionSet {
    set.metadata.managed_fields = None;
    set.metadata.annotations.iter_mut().for_each(|annotations| drop(annotations.remove(LAST_APPLIED)));
    set
}

struct Partitions {
    route: Route,
    told: Told,
}

impl Sink<Partition> for Partitions {
    type Kept = Known<Partition>;

    fn keep(&self, partition: Partition) -> Known<Partition> {
        partition.known()
    }

    fn pace(&self) -> Pace {
        Pace::Close
    }

    /// What a controller has written may hold an election that others have written and that nobody here was told of.
    fn known(&self, key: &ObjectKey) {
        (self.told)(key);
    }

    fn changed(&self, key: &ObjectKey, _: &Known<Partition>) {
        (self.told)(key);
        self.route.partitions.now(key.clone());
        self.route.set_of(key);
    }

    fn replaced(&self, key: &ObjectKey, before: &Known<Partition>, kept: &Known<Partition>) {
        if elections::is_all_that_changed(before, kept) {
            // Nothing that a controller makes depends on who is primary.
            (self.told)(key);
        } else {
            self.changed(key, kept);
        }
    }
}

struct Children(Route);

impl<K: Child> Sink<K> for Children {
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

/// EndpointSlices that are not this controller's, of which only the metadata is read.
struct Slices(Route);

impl Sink<PartialObjectMeta<EndpointSlice>> for Slices {
    type Kept = SliceOf;

    fn keep(&self, slice: PartialObjectMeta<EndpointSlice>) -> SliceOf {
        let service = slice.labels().get(labels::SERVICE_NAME).cloned().unwrap_or_default();
        SliceOf { uid: slice.uid().unwrap_or_default(), service }
    }

    fn changed(&self, key: &ObjectKey, slice: &SliceOf) {
        self.0.sets.after(ObjectKey::new(key.namespace.as_str(), slice.service.as_str()), CHILD_DELAY);
    }
}

struct Pods(Route);

impl Sink<Pod> for Pods {
    type Kept = PodFacts;

    fn keep(&self, pod: Pod) -> PodFacts {
        pod.facts()
    }

    fn changed(&self, key: &ObjectKey, pod: &PodFacts) {
        if !pod.owner.is_empty() {
            self.0.partitions.after(ObjectKey::new(key.namespace.as_str(), pod.owner.as_str()), CHILD_DELAY);
        }
    }
}
