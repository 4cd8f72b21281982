//! What all children have in common: labels, owner references, and what the caches keep of them.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, Endpoints, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::{Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::desired::{self, FieldSet, Ignored, Rules};
use crate::api::labels::annotations;
use crate::api::names::CONTAINER;
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
    let mut labels = group_selector(set);
    labels.insert(labels::PARTITION.to_owned(), index.to_string());
    labels
}

/// The labels by which the pods of all partitions of a set are selected.
#[must_use]
pub fn group_selector(set: &str) -> Labels {
    [(labels::APP, labels::values::APP), (labels::TYPE, labels::values::PARTITION), (labels::GROUP, set)]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
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
    /// Its fields, to compare with what is wanted.
    pub fields: FieldSet,
    /// The fields that are left to others.
    pub ignored: Option<Ignored>,
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

/// A kind of object that the controllers make.
pub trait Child:
    Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
    + Clone
    + std::fmt::Debug
    + Serialize
    + DeserializeOwned
    + Send
    + Sync
    + 'static
{
    /// What is needed of this kind beyond what every child has.
    type Facts: Clone + PartialEq + Send + Sync + 'static;

    /// How its fields are compared and written.
    const RULES: Rules;

    /// Reads the facts off an object.
    fn facts(&self) -> Self::Facts;

    /// Whether a stored object can only be deleted and created again to become what is wanted, and that costs nothing.
    fn is_replaced_by_another(_stored: &Value, _wanted: &Value) -> bool {
        false
    }

    /// The labels and annotations that were copied to a stored object from its set, by the name of the map.
    fn copied_before(stored: &Value) -> Vec<(&'static str, Vec<String>)> {
        vec![("labels", desired::copied_labels(stored))]
    }

    /// Reduces the object to what the cache keeps of it.
    fn known(self) -> Known<Self::Facts> {
        // The types have only string keys: there is no way not to be JSON.
        let fields = serde_json::to_value(&self).map(|object| FieldSet::of(&object, &Self::RULES)).unwrap_or_default();
        let owner = controller_of(self.meta()).map(|owner| Owner {
            kind: owner.kind.clone(),
            name: owner.name.clone(),
            uid: owner.uid.clone(),
        });
        Known {
            uid: self.uid().unwrap_or_default(),
            owner,
            fields,
            ignored: Ignored::of(self.annotations()),
            deleting: self.meta().deletion_timestamp.is_some(),
            facts: self.facts(),
        }
    }
}

/// A selector has no keys but ours: each more would select fewer pods, or none. A Service has no ports but ours: each
/// more would double the answers of DNS.
const SERVICE: Rules = Rules { exact: &["spec.selector"], closed: &["spec.ports"], whole: &[] };

/// What the StatefulSet controller has made of a StatefulSet. How many pods there are is read off the pods themselves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rollout {
    /// Whether the StatefulSet controller has seen the current spec.
    pub observed: bool,
    /// Revision of the current pod template: what the pods' `controller-revision-hash` should be.
    pub revision: String,
    /// Generation of the StatefulSet.
    pub generation: i64,
    /// Image of the nodes.
    pub image: String,
}

/// Addresses that the endpoints of a group publish, by the name of the partition.
pub type Published = BTreeMap<String, String>;

impl Child for StatefulSet {
    type Facts = Rollout;

    const RULES: Rules =
        Rules { exact: &[], closed: &[], whole: &["spec.updateStrategy", "spec.volumeClaimTemplates"] };

    fn facts(&self) -> Rollout {
        let containers = self.spec.iter().flat_map(|spec| spec.template.spec.iter().flat_map(|spec| &spec.containers));
        let container = containers.into_iter().find(|container| container.name == CONTAINER);
        let image = container.and_then(|container| container.image.clone()).unwrap_or_default();
        let generation = self.metadata.generation.unwrap_or_default();
        let Some(status) = &self.status else { return Rollout { generation, image, ..Rollout::default() } };
        Rollout {
            observed: status.observed_generation >= self.metadata.generation,
            revision: status.update_revision.clone().unwrap_or_default(),
            generation,
            image,
        }
    }
}

impl Child for Service {
    /// Its cluster IPs.
    type Facts = Vec<String>;

    const RULES: Rules = SERVICE;

    fn facts(&self) -> Vec<String> {
        let ips = self.spec.as_ref().and_then(|spec| spec.cluster_ips.clone()).unwrap_or_default();
        ips.into_iter().filter(|ip| ip != "None" && !ip.is_empty()).collect()
    }

    /// A Service cannot get or lose its address.
    fn is_replaced_by_another(stored: &Value, wanted: &Value) -> bool {
        let text = |object: &Value, path| object.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned();
        let is_headless = |object: &Value| text(object, "/spec/clusterIP") == "None";
        let has_address = text(stored, "/spec/type") != "ExternalName" && !text(stored, "/spec/clusterIP").is_empty();
        has_address && is_headless(stored) != is_headless(wanted)
    }
}

impl Child for EndpointSlice {
    /// Address of each partition by name: what a deleted Service of a partition is asked to come back with.
    type Facts = Published;

    const RULES: Rules = Rules { exact: &["endpoints", "ports"], closed: &[], whole: &[] };

    fn facts(&self) -> Published {
        let endpoints = self.endpoints.iter();
        endpoints
            .filter_map(|endpoint| Some((endpoint.hostname.clone()?, endpoint.addresses.first()?.clone())))
            .collect()
    }
}

impl Child for ConfigMap {
    type Facts = ();

    const RULES: Rules = Rules { exact: &[], closed: &[], whole: &[] };

    fn facts(&self) {}

    /// One that was made immutable. The pods that read it have done so when they started.
    fn is_replaced_by_another(stored: &Value, wanted: &Value) -> bool {
        let wanted = wanted.get("data").and_then(Value::as_object).into_iter().flatten();
        stored.get("immutable") == Some(&Value::Bool(true))
            && wanted
                .into_iter()
                .any(|(file, text)| stored.pointer("/data").and_then(|data| data.get(file)) != Some(text))
    }
}

impl Child for Endpoints {
    /// As for EndpointSlices.
    type Facts = Published;

    const RULES: Rules = Rules { exact: &["subsets"], closed: &[], whole: &[] };

    fn facts(&self) -> Published {
        let subsets = self.subsets.iter().flatten();
        let addresses = subsets.flat_map(|subset| subset.addresses.iter().flatten());
        addresses.filter_map(|address| Some((address.hostname.clone()?, address.ip.clone()))).collect()
    }
}

impl Child for PodDisruptionBudget {
    type Facts = ();

    const RULES: Rules = Rules { exact: &["spec.selector", "spec.minAvailable"], closed: &[], whole: &[] };

    fn facts(&self) {}
}

impl Child for Partition {
    /// The partition itself, without labels unless those of its pods are among them, and with only those annotations by
    /// which it is recognised.
    type Facts = Partition;

    const RULES: Rules = Rules { exact: &["spec"], closed: &[], whole: &[] };

    fn facts(&self) -> Partition {
        let meta = &self.metadata;
        let annotations = self.annotations().iter().filter(|(key, _)| annotations::READ.contains(&key.as_str()));
        let metadata = ObjectMeta {
            name: meta.name.clone(),
            namespace: meta.namespace.clone(),
            uid: meta.uid.clone(),
            resource_version: meta.resource_version.clone(),
            generation: meta.generation,
            creation_timestamp: meta.creation_timestamp.clone(),
            deletion_timestamp: meta.deletion_timestamp.clone(),
            owner_references: meta.owner_references.clone(),
            annotations: Some(annotations.map(|(key, value)| (key.clone(), value.clone())).collect()),
            labels: meta.labels.clone().filter(|_| self.spec.template_metadata.is_none()),
            ..ObjectMeta::default()
        };
        Self { metadata, spec: self.spec.clone(), status: self.status.clone() }
    }

    fn copied_before(stored: &Value) -> Vec<(&'static str, Vec<String>)> {
        let keys = |map: &str| {
            let map = stored.pointer(&format!("/spec/templateMetadata/{map}")).and_then(Value::as_object);
            map.into_iter().flat_map(|map| map.keys().cloned()).collect()
        };
        ["labels", "annotations"].map(|map| (map, keys(map))).into()
    }
}
