//! Whether an object is as it should be, told by a hash: the cache need not keep the object.
//!
//! Children are built with every default that the API server would fill in, so that a stored child equals the wanted
//! one in all but what the API server allocates ([`Child::strip`]). Labels and annotations that others added are not
//! ours to judge: of a stored object only those count that its managed fields say we own.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, HashSet};
use std::hash::Hasher;
use std::io;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, Endpoints, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, ObjectMeta};
use kube::Resource;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::api::Partition;

/// Name under which the controller writes: `metadata.managedFields[].manager` of its objects.
pub const FIELD_MANAGER: &str = "atomix-controller";

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
    /// Removes what the API server or other controllers fill in.
    fn strip(&mut self);

    /// Takes over from the stored object what cannot be said anew when it is replaced.
    fn carry_over(&mut self, stored: &Self);
}

/// Hash of an object that the controller wants.
#[must_use]
pub fn digest<K: Child>(object: &K) -> u64 {
    digest_of(object.clone())
}

/// Hash of an object of which nothing else is needed any more, such as one that a watch has told of.
#[must_use]
pub fn digest_of<K: Child>(mut object: K) -> u64 {
    object.strip();
    let meta = std::mem::take(object.meta_mut());
    let mut hasher = HashWriter(DefaultHasher::new());
    let owners: Vec<_> =
        meta.owner_references.iter().flatten().filter(|owner| owner.controller == Some(true)).collect();
    let owned = OwnedKeys::of(meta.managed_fields.as_deref());
    let parts = (
        owned.select(meta.labels.as_ref(), |owned| &owned.labels),
        owned.select(meta.annotations.as_ref(), |owned| &owned.annotations),
        owners,
        &object,
    );
    // Writing into a hasher cannot fail, and these types have only string keys.
    if serde_json::to_writer(&mut hasher, &parts).is_err() {
        return 0;
    }
    hasher.0.finish()
}

struct HashWriter(DefaultHasher);

impl io::Write for HashWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The labels and annotations of a stored object that are ours by its managed fields.
#[derive(Debug, Default)]
pub struct OwnedKeys<'a> {
    stored: bool,
    labels: HashSet<&'a str>,
    annotations: HashSet<&'a str>,
}

impl<'a> OwnedKeys<'a> {
    /// Reads managed fields; an object without them was not stored yet, and everything in it is ours.
    #[must_use]
    pub fn of(managed: Option<&'a [ManagedFieldsEntry]>) -> Self {
        let Some(managed) = managed else { return Self::default() };
        let mut owned = Self { stored: true, ..Self::default() };
        let ours = managed.iter().filter(|entry| {
            entry.manager.as_deref() == Some(FIELD_MANAGER)
                && entry.subresource.as_deref().unwrap_or_default().is_empty()
        });
        for fields in ours.filter_map(|entry| entry.fields_v1.as_ref()) {
            let keys = |map: &str| {
                let map = fields.0.pointer(&format!("/f:metadata/f:{map}")).and_then(|map| map.as_object());
                map.into_iter().flat_map(|map| map.keys()).filter_map(|key| key.strip_prefix("f:"))
            };
            owned.labels.extend(keys("labels"));
            owned.annotations.extend(keys("annotations"));
        }
        owned
    }

    /// Whether a label is ours.
    #[must_use]
    pub fn label(&self, key: &str) -> bool {
        !self.stored || self.labels.contains(key)
    }

    /// Whether an annotation is ours.
    #[must_use]
    pub fn annotation(&self, key: &str) -> bool {
        !self.stored || self.annotations.contains(key)
    }

    fn select<'m>(
        &self,
        map: Option<&'m BTreeMap<String, String>>,
        keys: impl Fn(&Self) -> &HashSet<&'a str>,
    ) -> Vec<(&'m String, &'m String)> {
        let map = map.into_iter().flatten();
        map.filter(|(key, _)| !self.stored || keys(self).contains(key.as_str())).collect()
    }
}

impl Child for ConfigMap {
    fn strip(&mut self) {}

    fn carry_over(&mut self, _stored: &Self) {}
}

impl Child for Endpoints {
    fn strip(&mut self) {}

    fn carry_over(&mut self, _stored: &Self) {}
}

impl Child for EndpointSlice {
    fn strip(&mut self) {}

    fn carry_over(&mut self, _stored: &Self) {}
}

impl Child for Partition {
    fn strip(&mut self) {
        self.status = None;
    }

    fn carry_over(&mut self, _stored: &Self) {}
}

impl Child for PodDisruptionBudget {
    fn strip(&mut self) {
        self.status = None;
    }

    fn carry_over(&mut self, _stored: &Self) {}
}

impl Child for Service {
    fn strip(&mut self) {
        self.status = None;
        if let Some(spec) = &mut self.spec {
            if spec.cluster_ip.as_deref() != Some("None") {
                spec.cluster_ip = None;
            }
            spec.cluster_ips = None;
            spec.ip_families = None;
            spec.ip_family_policy = None;
        }
    }

    fn carry_over(&mut self, stored: &Self) {
        if let (Some(spec), Some(stored)) = (&mut self.spec, &stored.spec)
            && (stored.cluster_ip.as_deref() == Some("None")) == (spec.cluster_ip.as_deref() == Some("None"))
        {
            spec.cluster_ip.clone_from(&stored.cluster_ip);
            spec.cluster_ips.clone_from(&stored.cluster_ips);
            spec.ip_families.clone_from(&stored.ip_families);
            spec.ip_family_policy.clone_from(&stored.ip_family_policy);
        }
    }
}

impl Child for StatefulSet {
    fn strip(&mut self) {
        self.status = None;
        for claim in self.spec.iter_mut().flat_map(|spec| spec.volume_claim_templates.iter_mut().flatten()) {
            claim.status = None;
        }
    }

    fn carry_over(&mut self, _stored: &Self) {}
}

/// `wanted` as the replacement of `stored`: what is ours anew, and what is others' as it was.
#[must_use]
pub fn replacement<K: Child>(wanted: &K, stored: &K) -> K {
    let mut object = wanted.clone();
    object.carry_over(stored);
    let (meta, before) = (object.meta_mut(), stored.meta());
    let owned = OwnedKeys::of(before.managed_fields.as_deref());
    keep_foreign(&mut meta.labels, before.labels.as_ref(), |key| owned.label(key));
    keep_foreign(&mut meta.annotations, before.annotations.as_ref(), |key| owned.annotation(key));
    let foreign = before.owner_references.iter().flatten().filter(|owner| owner.controller != Some(true)).cloned();
    meta.owner_references.get_or_insert_default().extend(foreign);
    *meta = ObjectMeta {
        uid: before.uid.clone(),
        resource_version: before.resource_version.clone(),
        finalizers: before.finalizers.clone(),
        ..std::mem::take(meta)
    };
    object
}

fn keep_foreign(
    wanted: &mut Option<BTreeMap<String, String>>,
    stored: Option<&BTreeMap<String, String>>,
    ours: impl Fn(&str) -> bool,
) {
    for (key, value) in stored.into_iter().flatten().filter(|(key, _)| !ours(key)) {
        wanted.get_or_insert_default().entry(key.clone()).or_insert_with(|| value.clone());
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::needless_pass_by_value, reason = "fixtures read best with literals")]

    use serde_json::json;

    use super::*;

    fn stored(labels: serde_json::Value, ours: serde_json::Value, data: &str) -> ConfigMap {
        serde_json::from_value(json!({
            "metadata": {
                "name": "c", "uid": "u", "resourceVersion": "7", "labels": labels,
                "managedFields": [
                    {"manager": FIELD_MANAGER, "operation": "Update", "fieldsV1": {"f:metadata": {"f:labels": ours}}},
                    {"manager": "kubectl", "operation": "Update", "fieldsV1": {"f:metadata": {"f:labels": {"f:team": {}}}}},
                ],
            },
            "data": {"k": data},
        }))
        .unwrap()
    }

    fn wanted() -> ConfigMap {
        serde_json::from_value(json!({"metadata": {"name": "c", "labels": {"app": "atomix"}}, "data": {"k": "v"}}))
            .unwrap()
    }

    #[test]
    fn labels_that_others_added_do_not_count() {
        let object = stored(json!({"app": "atomix", "team": "x"}), json!({"f:app": {}}), "v");
        assert_eq!(digest(&object), digest(&wanted()));
    }

    #[test]
    fn an_edit_of_anything_of_ours_counts() {
        for object in [
            stored(json!({"app": "atomix"}), json!({"f:app": {}}), "edited"),
            stored(json!({"app": "changed"}), json!({}), "v"),
            stored(json!({}), json!({}), "v"),
            stored(json!({"app": "atomix", "old": "y"}), json!({"f:app": {}, "f:old": {}}), "v"),
        ] {
            assert_ne!(digest(&object), digest(&wanted()), "{object:?}");
        }
    }

    #[test]
    fn a_replacement_drops_our_old_labels_and_keeps_foreign_ones() {
        let object = stored(json!({"app": "x", "old": "y", "team": "z"}), json!({"f:app": {}, "f:old": {}}), "v");
        let object = replacement(&wanted(), &object);
        let labels = object.metadata.labels.unwrap();
        assert_eq!(
            labels.into_iter().collect::<Vec<_>>(),
            [("app", "atomix"), ("team", "z")].map(|(k, v)| (k.to_owned(), v.to_owned()))
        );
        assert_eq!(object.metadata.resource_version.as_deref(), Some("7"));
    }

    #[test]
    fn what_the_api_server_allocates_does_not_count() {
        let service = |spec: serde_json::Value| serde_json::from_value::<Service>(json!({"spec": spec})).unwrap();
        let wanted = service(json!({"type": "ClusterIP"}));
        let stored = service(
            json!({"type": "ClusterIP", "clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1"], "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack"}),
        );
        assert_eq!(digest(&stored), digest(&wanted));
        assert_ne!(digest(&service(json!({"type": "ClusterIP", "clusterIP": "None"}))), digest(&wanted));
    }
}
