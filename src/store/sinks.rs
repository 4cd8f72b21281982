//! What is kept of each watched kind, and which reconciliations a change requests.

use std::sync::Arc;

use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::ResourceExt;
use kube::core::PartialObjectMeta;

use super::cached::{Cached, Owner, SliceOf, slim};
use super::freshness::FreshnessReporter;
use super::kind::Kind;
use super::pods::{Pod, PodFacts};
use super::triggers::Triggers;
use super::watch::{Change, Sink};
use crate::api::names::ObjectKey;
use crate::api::{Partition, PartitionSet, labels};

/// Called with the key of each changed Partition, after the cache has it.
pub(crate) type PartitionListener = Arc<dyn Fn(&ObjectKey) + Send + Sync>;

pub(super) fn sets(triggers: Triggers, freshness: FreshnessReporter) -> Sink<PartitionSet, PartitionSet> {
    let sink = Sink::new(slim, move |key, change| {
        if !matches!(change, Change::Known) {
            triggers.sets.now(key.clone());
        }
    });
    Sink { serves_clients: true, freshness: Some(freshness), ..sink }
}

pub(super) fn partitions(triggers: Triggers, listener: PartitionListener) -> Sink<Partition, Cached<Partition>> {
    let sink = Sink::new(Partition::cached, move |key, change| {
        // Of a known state as well: the answer to a status write may hold an election that another replica has written.
        listener(key);
        let concerns_controllers = match change {
            Change::Known => false,
            // Nothing that a controller makes depends on which pod is primary.
            Change::Replaced(before, now) => !only_election_differs(before, now),
            Change::Added(_) | Change::Removed(_) => true,
        };
        if concerns_controllers {
            triggers.partitions.now(key.clone());
            triggers.set_of(key);
        }
    });
    Sink { serves_clients: true, ..sink }
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

/// Objects that the controllers make: a change requests the reconciliation of the owner. The former owner adopts an object
/// that has lost it.
pub(super) fn children<K: Kind>(triggers: Triggers) -> Sink<K, Cached<K::Facts>> {
    Sink::new(K::cached, move |key, change| {
        change.each(|known| known.owner.as_ref()).for_each(|owner| owner_changed::<K>(&triggers, key, owner));
    })
}

fn owner_changed<K: Kind>(triggers: &Triggers, key: &ObjectKey, owner: &Owner) {
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

/// EndpointSlices that this controller does not manage, of which only the metadata is read.
pub(super) fn slices(triggers: Triggers) -> Sink<PartialObjectMeta<EndpointSlice>, SliceOf> {
    let keep = |slice: PartialObjectMeta<EndpointSlice>| {
        let service = slice.labels().get(labels::SERVICE_NAME).cloned().unwrap_or_default();
        SliceOf { uid: slice.uid().unwrap_or_default(), service }
    };
    Sink::new(keep, move |key, change| {
        let services = change.each(|slice| Some(slice.service.as_str()));
        services.for_each(|service| triggers.child_of_set(ObjectKey::new(key.namespace.as_str(), service)));
    })
}

/// A StatefulSet releases a pod that loses a label: its partition has one pod less.
pub(super) fn pods(triggers: Triggers) -> Sink<Pod, PodFacts> {
    Sink::new(PodFacts::from, move |key, change| {
        let owners = change.each(|pod| Some(pod.owner.as_str()).filter(|owner| !owner.is_empty()));
        owners.for_each(|owner| triggers.child_of_partition(ObjectKey::new(key.namespace.as_str(), owner)));
    })
}

#[cfg(test)]
#[path = "sinks_tests.rs"]
mod tests;
