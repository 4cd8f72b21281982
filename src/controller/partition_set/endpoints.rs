//! What the group's Service resolves to: published in one write, and withdrawn when the name is somebody else's.

use k8s_openapi::api::core::v1::Endpoints;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::ResourceExt;

use super::super::context::Context;
use super::super::trouble::{NAMED, Trouble};
use super::super::write_error::Error;
use super::plan::{Existing, GroupEndpoints};
use super::{FAMILIES, build, slice_key};
use crate::api::PartitionSet;
use crate::api::names::ObjectKey;
use crate::text::listed;

/// Writes the endpoints of the group, and removes those that are none any more. Returns all that was in the way.
pub(super) async fn publish(
    context: &Context,
    key: &ObjectKey,
    set: &PartitionSet,
    endpoints: GroupEndpoints,
) -> Vec<Error> {
    let GroupEndpoints { slices, legacy, stale_slices } = endpoints;
    let (writer, caches, uid) = (&context.writer, &*context.caches, set.uid().unwrap_or_default());
    let mut errors = Vec::new();
    for slice in &slices {
        errors.extend(writer.ensure(slice, &caches.endpoint_slices).await.err());
    }
    for name in stale_slices {
        let stale = ObjectKey::new(key.namespace.as_str(), name);
        errors.extend(writer.remove::<EndpointSlice>(&stale, &uid, &caches.endpoint_slices).await.err());
    }
    let legacy = match &legacy {
        Some(legacy) => writer.ensure(legacy, &caches.endpoints).await.map(drop),
        None => writer.remove::<Endpoints>(key, &uid, &caches.endpoints).await.map(drop),
    };
    errors.extend(legacy.err());
    errors
}

/// The objects of others that have the names of the group's endpoints, while these cannot be published yet: all that is
/// in the way can then be removed at once. Of EndpointSlices, those of the families in which partitions have addresses.
pub(super) async fn collisions(context: &Context, set: &PartitionSet, existing: &Existing) -> Vec<Error> {
    let (writer, settings) = (&context.writer, &context.settings);
    let mut collisions = Vec::new();
    for family in FAMILIES {
        let mut addresses = existing.partitions.values().flat_map(|member| &member.addresses);
        if addresses.any(|address| address.contains(':') == (family == "IPv6")) {
            collisions.extend(writer.collision(&build::slice(set, family, &[], settings).into()).await);
        }
    }
    if settings.legacy_endpoints {
        collisions.extend(writer.collision(&build::legacy_endpoints(set, &[], settings).into()).await);
    }
    collisions
}

/// Removes the endpoints of a group whose Service is somebody else's: under that name, its clients would be answered with
/// partitions.
pub(super) async fn withdraw(context: &Context, key: &ObjectKey, set: &PartitionSet) -> Result<(), Error> {
    let (writer, caches, uid) = (&context.writer, &*context.caches, set.uid().unwrap_or_default());
    for family in FAMILIES {
        writer.remove::<EndpointSlice>(&slice_key(key, family), &uid, &caches.endpoint_slices).await?;
    }
    writer.remove::<Endpoints>(key, &uid, &caches.endpoints).await.map(drop)
}

/// Whether the group's endpoints, as they are stored, name a partition.
pub(super) fn name(context: &Context, key: &ObjectKey, set: &PartitionSet, partition: &str) -> bool {
    let caches = &*context.caches;
    let slices = FAMILIES.map(|family| caches.endpoint_slices.get(&slice_key(key, family)));
    let published = slices.into_iter().chain([caches.endpoints.get(key)]).flatten();
    let ours = published.filter(|known| known.owner.as_ref().map(|owner| &owner.uid) == set.metadata.uid.as_ref());
    ours.into_iter().any(|known| known.facts.contains_key(partition))
}

/// Looks after EndpointSlices of the group's Service that this controller has not made: those that Kubernetes made while
/// the Service had a selector are deleted, and anybody else's are reported.
pub(super) async fn foreign_slices(context: &Context, key: &ObjectKey, service_is_ours: bool) -> Option<Trouble> {
    if !service_is_ours {
        return None;
    }
    let caches = &*context.caches;
    for (name, slice) in caches.leftover_slices.with_prefix(&key.namespace, &format!("{}-", key.name)) {
        if slice.service == key.name {
            let leftover = ObjectKey::new(key.namespace.as_str(), name);
            if let Err(error) = context.writer.delete::<EndpointSlice>(&leftover, &slice.uid).await {
                return Some(error.into());
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
