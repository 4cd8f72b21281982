//! The kinds that the controllers make.

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{self as core, ConfigMap, Endpoints, Service, ServiceSpec};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::cache::Cache;
use super::cached::{Cached, Published, Rollout};
use super::caches::Caches;
use super::fields::Comparison;
use super::kind::Kind;
use crate::api::labels::annotations;
use crate::api::names::CONTAINER;
use crate::api::{Partition, labels};

impl Kind for Partition {
    /// The partition itself, without labels unless those of its pods are among them, and with only those annotations by
    /// which it is recognised.
    type Facts = Partition;

    const KIND: &'static str = "Partition";
    const WATCH: &'static str = "watch partitions";
    const COMPARISON: Comparison = Comparison { no_extra_fields: &["spec"], ..Comparison::RULE };

    fn selector(_: &str) -> String {
        String::new()
    }

    fn cache(caches: &Caches) -> &Cache<Cached<Partition>> {
        &caches.partitions
    }

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

impl Kind for ConfigMap {
    type Facts = ();

    const KIND: &'static str = "ConfigMap";
    const WATCH: &'static str = "watch configmaps";

    fn cache(caches: &Caches) -> &Cache<Cached<()>> {
        &caches.config_maps
    }

    fn facts(&self) {}

    /// One that was made immutable. The pods that read it have done so when they started.
    fn is_replaced_by_another(stored: &Value, wanted: &Value) -> bool {
        let mut wanted = wanted.get("data").and_then(Value::as_object).into_iter().flatten();
        stored.get("immutable") == Some(&Value::Bool(true))
            && wanted.any(|(file, text)| stored.pointer("/data").and_then(|data| data.get(file)) != Some(text))
    }
}

impl Kind for StatefulSet {
    type Facts = Rollout;

    const KIND: &'static str = "StatefulSet";
    const WATCH: &'static str = "watch statefulsets";
    const COMPARISON: Comparison =
        Comparison { replaced_whole: &["spec.updateStrategy", "spec.volumeClaimTemplates"], ..Comparison::RULE };

    fn cache(caches: &Caches) -> &Cache<Cached<Rollout>> {
        &caches.stateful_sets
    }

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

/// A selector has no keys but ours: each more would select fewer pods, or none. A Service has no ports but ours: each
/// more would double the answers of DNS.
const SERVICE: Comparison =
    Comparison { no_extra_fields: &["spec.selector"], no_extra_elements: &["spec.ports"], ..Comparison::RULE };

impl Kind for Service {
    /// Its cluster IPs.
    type Facts = Vec<String>;

    const KIND: &'static str = "Service";
    const WATCH: &'static str = "watch services";
    const COMPARISON: Comparison = SERVICE;

    fn cache(caches: &Caches) -> &Cache<Cached<Vec<String>>> {
        &caches.services
    }

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

/// The Service of a whole group: a Service that is selected, and so watched and kept, apart from those of partitions.
#[derive(Clone, Debug, Default, Deserialize, Serialize, kube::Resource)]
#[resource(inherit = "core::Service")]
#[serde(rename_all = "camelCase")]
pub(crate) struct GroupService {
    /// Absent, as is the kind, from the items of a list.
    #[serde(default)]
    pub(crate) api_version: String,
    #[serde(default)]
    pub(crate) kind: String,
    pub(crate) metadata: ObjectMeta,
    pub(crate) spec: Option<ServiceSpec>,
}

impl Kind for GroupService {
    type Facts = ();

    const KIND: &'static str = "Service";
    const WATCH: &'static str = "watch services of groups";
    const COMPARISON: Comparison = SERVICE;

    fn selector(_: &str) -> String {
        labels::GROUP_OF.to_owned()
    }

    fn cache(caches: &Caches) -> &Cache<Cached<()>> {
        &caches.group_services
    }

    fn facts(&self) {}

    fn is_replaced_by_another(stored: &Value, wanted: &Value) -> bool {
        Service::is_replaced_by_another(stored, wanted)
    }
}

impl Kind for PodDisruptionBudget {
    type Facts = ();

    const KIND: &'static str = "PodDisruptionBudget";
    const WATCH: &'static str = "watch poddisruptionbudgets";
    const COMPARISON: Comparison =
        Comparison { no_extra_fields: &["spec.selector", "spec.minAvailable"], ..Comparison::RULE };

    fn cache(caches: &Caches) -> &Cache<Cached<()>> {
        &caches.disruption_budgets
    }

    fn facts(&self) {}
}

impl Kind for EndpointSlice {
    /// Address of each partition by name: a recreated Service of a partition requests it.
    type Facts = Published;

    const KIND: &'static str = "EndpointSlice";
    const WATCH: &'static str = "watch endpointslices";
    const COMPARISON: Comparison = Comparison { no_extra_fields: &["endpoints", "ports"], ..Comparison::RULE };

    fn selector(controller: &str) -> String {
        format!("{}={}", labels::SLICE_MANAGED_BY, labels::slice_manager(controller))
    }

    fn cache(caches: &Caches) -> &Cache<Cached<Published>> {
        &caches.endpoint_slices
    }

    fn facts(&self) -> Published {
        let endpoints = self.endpoints.iter();
        endpoints
            .filter_map(|endpoint| Some((endpoint.hostname.clone()?, endpoint.addresses.first()?.clone())))
            .collect()
    }
}

impl Kind for Endpoints {
    /// As for EndpointSlices.
    type Facts = Published;

    const KIND: &'static str = "Endpoints";
    const WATCH: &'static str = "watch endpoints";
    const COMPARISON: Comparison = Comparison { no_extra_fields: &["subsets"], ..Comparison::RULE };

    fn selector(_: &str) -> String {
        format!("{}=true", labels::SKIP_MIRROR)
    }

    fn cache(caches: &Caches) -> &Cache<Cached<Published>> {
        &caches.endpoints
    }

    fn facts(&self) -> Published {
        let subsets = self.subsets.iter().flatten();
        let addresses = subsets.flat_map(|subset| subset.addresses.iter().flatten());
        addresses.filter_map(|address| Some((address.hostname.clone()?, address.ip.clone()))).collect()
    }
}
