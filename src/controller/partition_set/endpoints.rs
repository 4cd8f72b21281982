//! What the group's Service resolves to: published in one write, and withdrawn when another owner has the name.

use k8s_openapi::api::core::v1::Endpoints;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::ResourceExt;

use super::build;
use super::member::Existing;
use super::plan::GroupEndpoints;
use crate::api::PartitionSet;
use crate::api::names::{self, ADDRESS_FAMILIES, ObjectKey};
use crate::controller::context::Context;
use crate::controller::trouble::{NAMED, Trouble};
use crate::text::listed;

/// Writes the endpoints of the group, and removes those that are none any more. Returns all that was in the way.
pub(super) async fn publish(
    context: &Context,
    key: &ObjectKey,
    set: &PartitionSet,
    endpoints: GroupEndpoints,
) -> Vec<Trouble> {
    let GroupEndpoints { slices, legacy, stale_slices } = endpoints;
    let (writer, uid) = (&context.writer, set.uid().unwrap_or_default());
    let mut errors = Vec::new();
    for slice in &slices {
        errors.extend(writer.ensure(slice).await.err());
    }
    for name in stale_slices {
        let stale = ObjectKey::new(key.namespace.as_str(), name);
        errors.extend(writer.remove::<EndpointSlice>(&stale, &uid).await.err());
    }
    let legacy = match &legacy {
        Some(legacy) => writer.ensure(legacy).await.map(drop),
        None => writer.remove::<Endpoints>(key, &uid).await.map(drop),
    };
    errors.extend(legacy.err());
    errors
}

/// The objects of others that have the names of the group's endpoints, while these cannot be published yet: all that is
/// in the way can then be removed at once. Of EndpointSlices, those of the families in which partitions have addresses.
pub(super) async fn collisions(context: &Context, set: &PartitionSet, existing: &Existing) -> Vec<Trouble> {
    let (writer, settings) = (&context.writer, &context.settings);
    let mut collisions = Vec::new();
    for family in ADDRESS_FAMILIES {
        let mut addresses = existing.partitions.values().flat_map(|member| &member.addresses);
        if addresses.any(|address| names::address_family(address) == family) {
            collisions.extend(writer.collision(&build::slice(set, family, &[], settings).into()).await);
        }
    }
    if settings.legacy_endpoints {
        collisions.extend(writer.collision(&build::legacy_endpoints(set, &[], settings).into()).await);
    }
    collisions
}

/// Removes the endpoints of a group whose Service has another owner: under that name, its clients would be answered with
/// partitions.
pub(super) async fn withdraw(context: &Context, key: &ObjectKey, set: &PartitionSet) -> Result<(), Trouble> {
    let (writer, uid) = (&context.writer, set.uid().unwrap_or_default());
    for family in ADDRESS_FAMILIES {
        writer.remove::<EndpointSlice>(&slice_key(key, family), &uid).await?;
    }
    writer.remove::<Endpoints>(key, &uid).await.map(drop)
}

/// The EndpointSlice of a set's addresses of one family.
pub(super) fn slice_key(set: &ObjectKey, family: &str) -> ObjectKey {
    ObjectKey::new(set.namespace.as_str(), names::endpoint_slice(&set.name, family))
}

/// Whether the group's endpoints, as they are stored, name a partition.
pub(super) fn name(context: &Context, key: &ObjectKey, set: &PartitionSet, partition: &str) -> bool {
    let caches = &*context.caches;
    let slices = ADDRESS_FAMILIES.map(|family| caches.endpoint_slices.get(&slice_key(key, family)));
    let published = slices.into_iter().chain([caches.endpoints.get(key)]).flatten();
    let ours = published.filter(|known| set.metadata.uid.as_deref().is_some_and(|uid| known.is_owned_by(uid)));
    ours.into_iter().any(|known| known.facts.contains_key(partition))
}

/// Treats EndpointSlices of the group's Service that this controller has not made: those that Kubernetes made while the
/// Service had a selector are deleted, and all others are reported.
pub(super) async fn foreign_slices(context: &Context, key: &ObjectKey, service_is_ours: bool) -> Option<Trouble> {
    if !service_is_ours {
        return None;
    }
    let caches = &*context.caches;
    for (name, slice) in caches.leftover_slices.with_prefix(&key.namespace, &format!("{}-", key.name)) {
        if slice.service == key.name {
            let leftover = ObjectKey::new(key.namespace.as_str(), name);
            if let Err(error) = context.writer.delete::<EndpointSlice>(&leftover, &slice.uid).await {
                return Some(error);
            }
        }
    }
    let foreign = caches.foreign_slices.with_prefix(&key.namespace, "");
    let foreign = foreign.into_iter().filter(|(_, slice)| slice.service == key.name);
    let mut names: Vec<String> = foreign.map(|(name, _)| format!("{name:?}")).collect();
    names.sort_unstable();
    let (count, names, service) = (names.len(), listed(names, NAMED), &key.name);
    let message = match count {
        0 => return None,
        1 => format!(
            "EndpointSlice {names} belongs to Service {service:?} by its label kubernetes.io/service-name, and is not this controller's: clients of the group get its addresses as well. Delete it"
        ),
        _ => format!(
            "EndpointSlices {names} belong to Service {service:?} by their label kubernetes.io/service-name, and are not this controller's: clients of the group get their addresses as well. Delete them"
        ),
    };
    Some(Trouble::new(true, "ForeignEndpoints", message))
}
