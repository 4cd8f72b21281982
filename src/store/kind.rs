//! What the controllers declare of a kind of object that they make.

use std::fmt::Debug;

use kube::core::NamespaceResourceScope;
use kube::{Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::cache::Cache;
use super::cached::{Cached, Ignored, Owner};
use super::caches::Caches;
use super::fields::{Comparison, FieldSet};
use crate::api::labels::{self, annotations};

/// A kind of object that the controllers make. A new child of a partition is
///
/// - its name in `api/names.rs`, and a file in `controller/partition/build` that makes it, with a field of `Children`;
/// - an implementation of this trait in `store/kinds.rs`, a field of [`Caches`], and its watch and its line of `WATCHED` in
///   [`super::watches`];
/// - its turn in `controller/partition/apply.rs`, which takes `Children` apart, and its version in
///   `controller/partition/verified.rs`;
/// - its rights in the `ClusterRole` of `deploy/atomix-controller.yaml`;
/// - its tests: `rbac.rs`, `children.rs` and `expected` in `webhook-tests/tests/controllers`.
pub(crate) trait Kind:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Clone
    + Debug
    + Serialize
    + DeserializeOwned
    + Send
    + Sync
    + 'static
{
    /// What is needed of this kind beyond what every object has.
    type Facts: Clone + PartialEq + Send + Sync + 'static;

    /// Name of the kind, for messages and metrics.
    const KIND: &'static str;
    /// Name of the task that watches it. From the second word on, also of its readiness gate.
    const WATCH: &'static str;
    /// How its fields are compared and written.
    const COMPARISON: Comparison = Comparison::RULE;

    /// The labels by which its objects are selected, given the name of the controller: those of a partition's objects by
    /// default. A policy of the cluster may rewrite the labels under app.kubernetes.io, so none of these is among them.
    fn selector(_controller: &str) -> String {
        labels_of_partitions()
    }

    /// Where its objects are kept.
    fn cache(caches: &Caches) -> &Cache<Cached<Self::Facts>>;

    /// Reads the facts off an object.
    fn facts(&self) -> Self::Facts;

    /// Whether a stored object can only be deleted and created again to become what is wanted, and that costs nothing.
    fn is_replaced_by_another(_stored: &Value, _wanted: &Value) -> bool {
        false
    }

    /// The labels and annotations that were copied to a stored object from its set, by the name of the map.
    fn copied_before(stored: &Value) -> Vec<(&'static str, Vec<String>)> {
        let copied = stored.pointer("/metadata/annotations").and_then(|notes| notes.get(annotations::COPIED_LABELS));
        let keys = copied.and_then(Value::as_str).unwrap_or_default().split(',').filter(|key| !key.is_empty());
        vec![("labels", keys.map(str::to_owned).collect())]
    }

    /// Reduces the object to what the cache keeps of it.
    fn cached(self) -> Cached<Self::Facts> {
        // The types have only string keys: there is no way not to be JSON.
        let fields =
            serde_json::to_value(&self).map(|object| FieldSet::of(&object, &Self::COMPARISON)).unwrap_or_default();
        Cached {
            uid: self.uid().unwrap_or_default(),
            owner: Owner::of(self.meta()),
            fields,
            ignored: Ignored::of(self.annotations()),
            deleting: self.meta().deletion_timestamp.is_some(),
            facts: self.facts(),
        }
    }
}

/// Selects the objects and pods of partitions.
pub(super) fn labels_of_partitions() -> String {
    format!("{}={},{}={}", labels::APP, labels::values::APP, labels::TYPE, labels::values::PARTITION)
}
