//! Metadata that the objects of the controllers have in common.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::{Resource, ResourceExt};

use crate::api::labels;

pub(super) type Labels = BTreeMap<String, String>;

/// The four `app.kubernetes.io` labels of an object of `set`.
pub(super) fn recommended_labels(set: &str, component: &str, controller: &str) -> Labels {
    [
        (labels::NAME, labels::values::APP),
        (labels::INSTANCE, set),
        (labels::COMPONENT, component),
        (labels::MANAGED_BY, controller),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .into()
}

/// The labels by which the pods of a partition are selected.
pub(super) fn selector(set: &str, index: i64) -> Labels {
    let mut labels = group_selector(set);
    labels.insert(labels::PARTITION.to_owned(), index.to_string());
    labels
}

/// The labels by which the pods of all partitions of a set are selected.
pub(super) fn group_selector(set: &str) -> Labels {
    [(labels::APP, labels::values::APP), (labels::TYPE, labels::values::PARTITION), (labels::GROUP, set)]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()
}

/// A reference that makes `owner` the controller of an object, which the garbage collector then deletes with it.
pub(super) fn owned_by<O: Resource<DynamicType = ()>>(owner: &O) -> OwnerReference {
    OwnerReference {
        api_version: O::api_version(&()).into_owned(),
        block_owner_deletion: Some(true),
        controller: Some(true),
        kind: O::kind(&()).into_owned(),
        name: owner.name_any(),
        uid: owner.uid().unwrap_or_default(),
    }
}

pub(super) fn metadata(namespace: &str, name: String, labels: Labels, owner: OwnerReference) -> ObjectMeta {
    ObjectMeta {
        namespace: Some(namespace.to_owned()),
        name: Some(name),
        labels: Some(labels),
        owner_references: Some(vec![owner]),
        ..ObjectMeta::default()
    }
}
