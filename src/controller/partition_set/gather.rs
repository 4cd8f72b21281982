//! Reads off the caches what exists of a set.

use std::collections::BTreeMap;

use kube::ResourceExt;

use super::endpoints::slice_key;
use super::member::{self, Existing, Member};
use super::state::Sets;
use crate::api::names::{self, ADDRESS_FAMILIES, ObjectKey};
use crate::api::{PartitionSet, Protocol};
use crate::controller::partition::{min_ready, pods_of};
use crate::controller::ready_timers::Now;

pub(super) fn existing(sets: &Sets, key: &ObjectKey, set: &PartitionSet) -> Existing {
    let (caches, uid) = (&sets.context.caches, set.uid().unwrap_or_default());
    let partitions = caches.partitions_of(key).into_iter().filter(|(.., known)| known.is_owned_by(&uid));
    let partitions = partitions.map(|(index, partition, known)| {
        let service = caches.services.get(&partition);
        let service = service.filter(|service| !service.deleting && service.is_owned_by(&known.uid));
        let addresses = service.map(|service| service.facts.clone()).unwrap_or_default();
        let foreign = member::foreign(&known.facts, &sets.context.settings);
        let unwritten = sets.partitions.unwritten_status(&partition);
        (index, Member { addresses, known, available_in: None, pods: None, foreign, unwritten })
    });
    let mut partitions: BTreeMap<i64, Member> = partitions.collect();
    let ready: Vec<_> = partitions.values().map(|member| (member.known.uid.as_str(), member.ready_since())).collect();
    let min_ready = Protocol::parse(&set.spec.template.spec.protocol).map(min_ready).unwrap_or_default();
    let remaining = sets.states.with(key, |state| state.ready_partitions.remaining(min_ready, &ready, Now::read()));
    for ((index, member), remaining) in partitions.iter_mut().zip(remaining) {
        member.available_in = remaining;
        let partition = ObjectKey::new(key.namespace.as_str(), names::partition(&key.name, *index));
        if !member.is_reported() || member.ready_since().is_none() && was_changed(sets, &partition) {
            member.pods = Some(pods_of(&sets.partitions, &partition, &member.known.facts));
        }
    }
    let published = ADDRESS_FAMILIES.map(|family| {
        let slice = caches.endpoint_slices.get(&slice_key(key, family)).filter(|slice| slice.is_owned_by(&uid));
        (family, slice.map(|slice| slice.facts.clone()).unwrap_or_default())
    });
    Existing { partitions, published: published.into() }
}

/// Whether the template of a partition's pods has been changed since they were first made.
fn was_changed(sets: &Sets, partition: &ObjectKey) -> bool {
    sets.context.caches.stateful_sets.get(partition).is_some_and(|known| known.facts.generation > 1)
}
