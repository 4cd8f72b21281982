//! What the controllers know of the cluster, and the watches that keep it so.

use std::fmt::Debug;
use std::hash::Hash;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, Endpoints, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::core::{NamespaceResourceScope, PartialObjectMeta};
use kube::{Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;

use super::elections;
use super::objects::{Child, Known, Owner};
use super::partition_set::{CHILD_DELAY, PARTITION_DELAY};
use super::pods::{Pod, PodFacts};
use crate::api::names::{self, ObjectKey};
use crate::api::{Partition, PartitionSet, labels};
use crate::queue::Trigger;
use crate::scope::Scope;
use crate::store::cache::Cache;
use crate::store::sets::FreshnessReporter;
use crate::store::watch::{self, FirstLists, Pace, Sink};

/// Annotation in which kubectl keeps a copy of what was applied: nothing here reads it.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// Who makes the EndpointSlices of Services with a selector, and those of Endpoints, in Kubernetes.
const SLICE_CONTROLLER: &str = "endpointslice-controller.k8s.io";
const MIRRORING_CONTROLLER: &str = "endpointslicemirroring-controller.k8s.io";

/// Told of every change of a Partition, after the cache has it.
pub type Told = Arc<dyn Fn(&ObjectKey) + Send + Sync>;

/// One cache a kind.
#[derive(Default)]
pub struct Caches {
    /// All PartitionSets.
    pub sets: Cache<PartitionSet>,
    /// Whether they are.
    pub(crate) sets_freshness: FreshnessReporter,
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
    /// What watches everything in `scope`, for ever: one task a kind, with its name. `controller` selects the children;
    /// `told` is called for each changed Partition; `gate` makes, for each kind, what is called with the end of its
    /// first lists.
    pub fn watches(
        self: &Arc<Self>,
        (client, scope): (&Client, &Scope),
        controller: &str,
        (sets, partitions, told): (Trigger, Trigger, Told),
        mut gate: impl FnMut(&'static str) -> FirstLists,
    ) -> Vec<(&'static str, BoxFuture<'static, ()>)> {
        // A policy of the cluster may rewrite the labels under app.kubernetes.io: objects are selected by others, and are
        // known by their owner.
        let ours = format!("{}={},{}={}", labels::APP, labels::values::APP, labels::TYPE, labels::values::PARTITION);
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
        let children = || Children(route.clone());
        let from = Source { caches: self, client, scope };
        let (mut sets_listed, caches) = (gate("partitionsets"), Arc::clone(self));
        let sets_synced: FirstLists = Box::new(move |heard| {
            if heard.is_ok() {
                caches.sets_freshness.synced();
            }
            sets_listed(heard);
        });
        let (sets, partitions) = (Sets(route.clone(), Arc::clone(self)), Partitions { route: route.clone(), told });
        vec![
            ("watch partitionsets", from.watch("", |caches| &caches.sets, sets, sets_synced)),
            ("watch partitions", from.watch("", |caches| &caches.partitions, partitions, gate("partitions"))),
            (
                "watch configmaps",
                from.watch::<ConfigMap, _>(&ours, |caches| &caches.config_maps, children(), gate("configmaps")),
            ),
            (
                "watch statefulsets",
                from.watch::<StatefulSet, _>(&ours, |caches| &caches.stateful_sets, children(), gate("statefulsets")),
            ),
            ("watch pods", from.watch(&ours, |caches| &caches.pods, Pods(route.clone()), gate("pods"))),
            (
                "watch services",
                from.watch::<Service, _>(&ours, |caches| &caches.services, children(), gate("services")),
            ),
            (
                "watch services of groups",
                from.watch::<Service, _>(
                    labels::GROUP_OF,
                    |caches| &caches.group_services,
                    children(),
                    gate("services of groups"),
                ),
            ),
            (
                "watch poddisruptionbudgets",
                from.watch::<PodDisruptionBudget, _>(
                    &ours,
                    |caches| &caches.disruption_budgets,
                    children(),
                    gate("poddisruptionbudgets"),
                ),
            ),
            (
                "watch endpointslices",
                from.watch::<EndpointSlice, _>(
                    &our_slices,
                    |caches| &caches.endpoint_slices,
                    children(),
                    gate("endpointslices"),
                ),
            ),
            (
                "watch leftover endpointslices",
                from.watch(
                    &leftover_slices,
                    |caches| &caches.leftover_slices,
                    Slices(route.clone()),
                    gate("leftover endpointslices"),
                ),
            ),
            (
                "watch foreign endpointslices",
                from.watch(
                    &foreign_slices,
                    |caches| &caches.foreign_slices,
                    Slices(route.clone()),
                    gate("foreign endpointslices"),
                ),
            ),
            (
                "watch endpoints",
                from.watch::<Endpoints, _>(&our_endpoints, |caches| &caches.endpoints, children(), gate("endpoints")),
            ),
        ]
    }
}

/// Where the watches read from, and which caches they fill.
struct Source<'a> {
    caches: &'a Arc<Caches>,
    client: &'a Client,
    scope: &'a Scope,
}

impl Source<'_> {
    /// Watches what `labels` selects, for ever.
    fn watch<K, S>(
        &self,
        labels: &str,
        cache: fn(&Caches) -> &Cache<S::Kept>,
        sink: S,
        first: FirstLists,
    ) -> BoxFuture<'static, ()>
    where
        K: Resource<Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug + Send + 'static,
        K::DynamicType: Default + Clone + Eq + Hash + Send,
        S: Sink<K> + Sync + 'static,
    {
        let (caches, client, scope) = (Arc::clone(self.caches), self.client.clone(), self.scope.clone());
        let labels = labels.to_owned();
        async move { watch::run::<K, S>((&client, &scope), &labels, cache(&caches), sink, first).await }.boxed()
    }
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

struct Sets(Route, Arc<Caches>);

impl Sink<PartitionSet> for Sets {
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
        self.1.sets_freshness.interrupted(namespace);
    }

    fn listed(&self, namespace: Option<&str>) {
        self.1.sets_freshness.confirm_complete(namespace);
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
        if let Some(owner) = &known.owner {
            self.notify::<K>(key, owner);
        }
    }

    /// An object that has lost its owner is adopted by it.
    fn replaced(&self, key: &ObjectKey, before: &Known<K::Facts>, kept: &Known<K::Facts>) {
        if let Some(former) = before.owner.as_ref().filter(|former| kept.owner.as_ref() != Some(*former)) {
            self.notify::<K>(key, former);
        }
        Sink::<K>::changed(self, key, kept);
    }
}

impl Children {
    fn notify<K: Child>(&self, key: &ObjectKey, owner: &Owner) {
        let Self(route) = self;
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

    /// A partition has a pod less when its StatefulSet gives the pod up, for want of a label.
    fn replaced(&self, key: &ObjectKey, before: &PodFacts, kept: &PodFacts) {
        if before.owner != kept.owner {
            self.changed(key, before);
        }
        self.changed(key, kept);
    }
}

#[cfg(test)]
#[path = "caches_tests.rs"]
mod tests;
