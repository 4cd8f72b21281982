//! What is kept of each watched kind, and which reconciliations a change requests.

use std::sync::Arc;

use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::ResourceExt;
use kube::core::PartialObjectMeta;

use super::cached::{Cached, Owner, SliceOf};
use super::caches::Caches;
use super::kind::Kind;
use super::pods::{Pod, PodFacts};
use super::sets::slim;
use super::triggers::Triggers;
use super::watch::Sink;
use crate::api::names::ObjectKey;
use crate::api::{Partition, PartitionSet, labels};

/// Called with the key of each changed Partition, after the cache has it.
pub(crate) type PartitionListener = Arc<dyn Fn(&ObjectKey) + Send + Sync>;

pub(super) struct Sets {
    pub(super) triggers: Triggers,
    pub(super) caches: Arc<Caches>,
}

impl Sink<PartitionSet> for Sets {
    type Kept = PartitionSet;

    const SERVES_CLIENTS: bool = true;

    fn keep(&self, set: PartitionSet) -> PartitionSet {
        slim(set)
    }

    fn changed(&self, key: &ObjectKey, _: &PartitionSet) {
        self.triggers.sets.now(key.clone());
    }

    fn interrupted(&self, namespace: Option<&str>) {
        self.caches.sets_freshness.interrupted(namespace);
    }

    fn listed(&self, namespace: Option<&str>) {
        self.caches.sets_freshness.confirm_complete(namespace);
    }

    fn synced(&self) {
        self.caches.sets_freshness.synced();
    }
}

pub(super) struct Partitions {
    pub(super) triggers: Triggers,
    pub(super) listener: PartitionListener,
}

impl Sink<Partition> for Partitions {
    type Kept = Cached<Partition>;

    const SERVES_CLIENTS: bool = true;

    fn keep(&self, partition: Partition) -> Cached<Partition> {
        partition.cached()
    }

    /// The answer to a status write may hold an election that another replica has written and the listener has not seen.
    fn known(&self, key: &ObjectKey) {
        (self.listener)(key);
    }

    fn changed(&self, key: &ObjectKey, _: &Cached<Partition>) {
        (self.listener)(key);
        self.triggers.partitions.now(key.clone());
        self.triggers.set_of(key);
    }

    fn replaced(&self, key: &ObjectKey, before: &Cached<Partition>, kept: &Cached<Partition>) {
        if only_election_differs(before, kept) {
            // Nothing that a controller makes depends on which pod is primary.
            (self.listener)(key);
        } else {
            self.changed(key, kept);
        }
    }
}

/// Whether two states of a Partition differ in nothing but its election.
fn only_election_differs(before: &Cached<Partition>, now: &Cached<Partition>) -> bool {
    let election = |known: &Cached<Partition>| known.facts.status.as_ref().and_then(|status| status.election.clone());
    let rest = |known: &Cached<Partition>| {
        let mut known = known.clone();
        known.facts.metadata.resource_version = None;
        known.facts.status.iter_mut().for_each(|status| status.election = None);
        known
    };
    election(before) != election(now) && rest(before) == rest(now)
}

/// Objects that the controllers make: a change requests the reconciliation of the owner.
pub(super) struct Children(pub(super) Triggers);

impl<K: Kind> Sink<K> for Children {
    type Kept = Cached<K::Facts>;

    fn keep(&self, object: K) -> Cached<K::Facts> {
        object.cached()
    }

    fn changed(&self, key: &ObjectKey, known: &Cached<K::Facts>) {
        if let Some(owner) = &known.owner {
            self.owner_changed::<K>(key, owner);
        }
    }

    /// The former owner adopts an object that has lost it.
    fn replaced(&self, key: &ObjectKey, before: &Cached<K::Facts>, kept: &Cached<K::Facts>) {
        if let Some(former) = before.owner.as_ref().filter(|former| kept.owner.as_ref() != Some(*former)) {
            self.owner_changed::<K>(key, former);
        }
        Sink::<K>::changed(self, key, kept);
    }
}

impl Children {
    fn owner_changed<K: Kind>(&self, key: &ObjectKey, owner: &Owner) {
        let Self(triggers) = self;
        let owner_key = ObjectKey::new(key.namespace.as_str(), owner.name.as_str());
        match owner.kind.as_str() {
            "Partition" => {
                // A group's endpoints follow the Services of its partitions.
                if K::KIND == "Service" {
                    triggers.set_of(&owner_key);
                }
                triggers.child_of_partition(owner_key);
            }
            "PartitionSet" => triggers.child_of_set(owner_key),
            _ => {}
        }
    }
}

/// EndpointSlices that this controller does not manage, of which only the metadata is read.
pub(super) struct Slices(pub(super) Triggers);

impl Sink<PartialObjectMeta<EndpointSlice>> for Slices {
    type Kept = SliceOf;

    fn keep(&self, slice: PartialObjectMeta<EndpointSlice>) -> SliceOf {
        let service = slice.labels().get(labels::SERVICE_NAME).cloned().unwrap_or_default();
        SliceOf { uid: slice.uid().unwrap_or_default(), service }
    }

    fn changed(&self, key: &ObjectKey, slice: &SliceOf) {
        self.0.child_of_set(ObjectKey::new(key.namespace.as_str(), slice.service.as_str()));
    }
}

pub(super) struct Pods(pub(super) Triggers);

impl Sink<Pod> for Pods {
    type Kept = PodFacts;

    fn keep(&self, pod: Pod) -> PodFacts {
        pod.into()
    }

    fn changed(&self, key: &ObjectKey, pod: &PodFacts) {
        if !pod.owner.is_empty() {
            self.0.child_of_partition(ObjectKey::new(key.namespace.as_str(), pod.owner.as_str()));
        }
    }

    /// A StatefulSet releases a pod that loses a label: its partition has one pod less.
    fn replaced(&self, key: &ObjectKey, before: &PodFacts, kept: &PodFacts) {
        if before.owner != kept.owner {
            self.changed(key, before);
        }
        self.changed(key, kept);
    }
}

#[cfg(test)]
#[path = "sinks_tests.rs"]
mod tests;
