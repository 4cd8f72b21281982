//! What all children have in common: labels, owner references, and what the caches keep of them.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, Endpoints, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::{Resource, ResourceExt};

use super::digest::{Child, OwnedKeys, digest_of};
use crate::api::labels::annotations;
use crate::api::{Partition, labels};

/// Labels.
pub type Labels = BTreeMap<String, String>;

/// The four `app.kubernetes.io` labels of an object of `set`.
#[must_use]
pub fn recommended_labels(set: &str, component: &str, controller: &str) -> Labels {
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
#[must_use]
pub fn selector(set: &str, index: i64) -> Labels {
    [
        (labels::APP, labels::values::APP.to_owned()),
        (labels::TYPE, labels::values::PARTITION.to_owned()),
        (labels::GROUP, set.to_owned()),
        (labels::PARTITION, index.to_string()),
    ]
    .map(|(key, value)| (key.to_owned(), value))
    .into()
}

/// A reference that makes `owner` the controller of an object, which the garbage collector then deletes with it.
#[must_use]
pub fn owned_by<O: Resource<DynamicType = ()>>(owner: &O) -> OwnerReference {
    OwnerReference {
        api_version: O::api_version(&()).into_owned(),
        block_owner_deletion: Some(true),
        controller: Some(true),
        kind: O::kind(&()).into_owned(),
        name: owner.name_any(),
        uid: owner.uid().unwrap_or_default(),
    }
}

/// Metadata of a child.
#[must_use]
pub fn metadata(namespace: &str, name: String, labels: Labels, owner: OwnerReference) -> ObjectMeta {
    ObjectMeta {
        namespace: Some(namespace.to_owned()),
        name: Some(name),
        labels: Some(labels),
        owner_references: Some(vec![owner]),
        ..ObjectMeta::default()
    }
}

/// A hash of what the labels and annotations of a Partition, as the cache keeps it, say of its pods.
#[must_use]
pub fn metadata_hash(partition: &Partition) -> String {
    let labels = partition.labels().iter().filter(|(key, _)| !labels::RESERVED.contains(&key.as_str()));
    let annotations = partition.annotations().iter().filter(|(key, _)| *key == annotations::MEMBER_PORTS);
    short_hash(labels.chain(annotations))
}

/// A hash of keys and values, of 16 hexadecimal digits, that stays the same over versions of this program.
#[must_use]
pub fn short_hash<'a>(entries: impl Iterator<Item = (&'a String, &'a String)>) -> String {
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    for text in entries.flat_map(|(key, value)| [key, value]) {
        context.update(text.as_bytes());
        context.update(&[0]);
    }
    let hash = context.finish();
    let first = hash.as_ref().first_chunk().copied().unwrap_or_default();
    format!("{:016x}", u64::from_be_bytes(first))
}

/// The controller among the owners of an object.
pub fn controller_of(meta: &ObjectMeta) -> Option<&OwnerReference> {
    meta.owner_references.iter().flatten().find(|owner| owner.controller == Some(true))
}

/// What the cache keeps of a child.
#[derive(Clone, Debug, PartialEq)]
pub struct Known<F> {
    /// Unique identity of the object.
    pub uid: String,
    /// The controller among its owners, if any.
    pub owner: Option<Owner>,
    /// [`digest`] of the stored object.
    pub digest: u64,
    /// Whether it is on its way out.
    pub deleting: bool,
    /// What else is needed of this kind.
    pub facts: F,
}

/// Identity of an owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Kind of the owner.
    pub kind: String,
    /// Name of the owner, in the object's own namespace.
    pub name: String,
    /// Unique identity of the owner.
    pub uid: String,
}

/// How a child of a kind is reduced to what the cache keeps of it.
pub trait Keep: Child {
    /// What is needed of this kind beyond what every child has.
    type Facts: Clone + PartialEq + Send + Sync + 'static;

    /// Reads the facts off an object.
    fn facts(&self) -> Self::Facts;

    /// Reduces the object.
    fn known(self) -> Known<Self::Facts> {
        let owner = controller_of(self.meta()).map(|owner| Owner {
            kind: owner.kind.clone(),
            name: owner.name.clone(),
            uid: owner.uid.clone(),
        });
        Known {
            uid: self.uid().unwrap_or_default(),
            owner,
            deleting: self.meta().deletion_timestamp.is_some(),
            facts: self.facts(),
            digest: digest_of(self),
        }
    }
}

/// What the StatefulSet controller has made of a StatefulSet. How many pods there are is read off the pods themselves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rollout {
    /// Whether the StatefulSet controller has seen the current spec.
    pub observed: bool,
    /// Revision of the current pod template: what the pods' `controller-revision-hash` should be.
    pub revision: String,
}

impl Keep for StatefulSet {
    type Facts = Rollout;

    fn facts(&self) -> Rollout {
        let Some(status) = &self.status else { return Rollout::default() };
        Rollout {
            observed: status.observed_generation >= self.metadata.generation,
            revision: status.update_revision.clone().unwrap_or_default(),
        }
    }
}

impl Keep for Service {
    /// Its cluster IPs.
    type Facts = Vec<String>;

    fn facts(&self) -> Vec<String> {
        let ips = self.spec.as_ref().and_then(|spec| spec.cluster_ips.clone()).unwrap_or_default();
        ips.into_iter().filter(|ip| ip != "None" && !ip.is_empty()).collect()
    }
}

impl Keep for EndpointSlice {
    /// Address of each partition by name: what a deleted Service of a partition is asked to come back with.
    type Facts = BTreeMap<String, String>;

    fn facts(&self) -> BTreeMap<String, String> {
        let endpoints = self.endpoints.iter();
        endpoints
            .filter_map(|endpoint| Some((endpoint.hostname.clone()?, endpoint.addresses.first()?.clone())))
            .collect()
    }
}

impl Keep for ConfigMap {
    type Facts = ();

    fn facts(&self) {}
}

impl Keep for Endpoints {
    type Facts = ();

    fn facts(&self) {}
}

impl Keep for PodDisruptionBudget {
    type Facts = ();

    fn facts(&self) {}
}

impl Keep for Partition {
    /// The partition itself, with only the labels and annotations that its set gave it, and the name of its controller:
    /// what others added is not handed down to the pods.
    type Facts = Partition;

    fn facts(&self) -> Partition {
        let meta = &self.metadata;
        let owned = OwnedKeys::of(meta.managed_fields.as_deref());
        // Which controller runs it may be said by anybody.
        let annotation = |key: &str| owned.annotation(key) || key == annotations::CONTROLLER;
        let kept = |map: &Option<Labels>, counts: &dyn Fn(&str) -> bool| -> Option<Labels> {
            let map = map.as_ref()?.iter().filter(|(key, _)| counts(key));
            Some(map.map(|(key, value)| (key.clone(), value.clone())).collect())
        };
        let metadata = ObjectMeta {
            name: meta.name.clone(),
            namespace: meta.namespace.clone(),
            uid: meta.uid.clone(),
            resource_version: meta.resource_version.clone(),
            generation: meta.generation,
            creation_timestamp: meta.creation_timestamp.clone(),
            deletion_timestamp: meta.deletion_timestamp.clone(),
            owner_references: meta.owner_references.clone(),
            labels: kept(&meta.labels, &|key| owned.label(key)),
            annotations: kept(&meta.annotations, &annotation),
            ..ObjectMeta::default()
        };
        Self { metadata, spec: self.spec.clone(), status: self.status.clone() }
    }
}
