//! `PartitionSet`: what a user writes.
#![allow(clippy::duplicated_attributes, reason = "the lint takes the printer columns' equal keys for one attribute")]

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Affinity, EnvVar, LocalObjectReference, PodSecurityContext, ResourceRequirements, SecurityContext, Toleration,
    TopologySpreadConstraint,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::labels::annotations;
use super::{Protocol, schema};

/// What the object should be.
#[derive(CustomResource, Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[kube(
    group = "k8s.atomix.io",
    version = "v1alpha1",
    kind = "PartitionSet",
    doc = "PartitionSet runs a group of Atomix partitions: `spec.partitions` replicated state machines of `spec.template.spec.size` pods each, all of one protocol.",
    validation = schema::partition_set_root()[0].clone(),
    validation = schema::partition_set_root()[1].clone(),
    plural = "partitionsets",
    shortname = "pset",
    category = "atomix",
    namespaced,
    status = "PartitionSetStatus",
    derive = "PartialEq",
    derive = "Default",
    scale(spec_replicas_path = ".spec.partitions", status_replicas_path = ".status.partitions"),
    printcolumn(
        name = "Partitions",
        type_ = "integer",
        json_path = ".spec.partitions",
        description = "Partitions that the set should have"
    ),
    printcolumn(
        name = "Ready",
        type_ = "integer",
        json_path = ".status.readyPartitions",
        description = "Partitions whose pods are all ready"
    ),
    printcolumn(
        name = "Protocol",
        type_ = "string",
        json_path = ".spec.template.spec.protocol",
        description = "Replication protocol of the partitions"
    ),
    printcolumn(
        name = "Size",
        type_ = "integer",
        json_path = ".spec.template.spec.size",
        description = "Pods per partition"
    ),
    printcolumn(
        name = "Status",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason",
        description = "Why the set is ready or not",
        priority = 1
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = schema::partition_set_spec()))]
pub struct PartitionSetSpec {
    /// Number of partitions in the group: 1 to 1000, 1 if left out. It may grow: the keys of existing data are then
    /// looked up in other partitions, and no data moves. It may shrink only with the annotation
    /// `k8s.atomix.io/allow-partition-removal: "<new number>@<metadata.generation>"` on the set, which works for one
    /// change: the data of removed partitions is lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<i32>", extend("x-kubernetes-validations" = schema::range(1, super::MAX_PARTITIONS)))]
    pub partitions: Option<i64>,

    /// Number of pods in each partition: another name of `spec.template.spec.size`. Give one of the two; admission
    /// fills the other and keeps them equal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<i32>", extend("x-kubernetes-validations" = schema::range(1, super::MAX_SIZE)))]
    pub partition_size: Option<i64>,

    /// How many partitions of the set may be rolled at once when the template changes: 1 to the number of partitions,
    /// 1 if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<i32>", extend("x-kubernetes-validations" = schema::range(1, super::MAX_PARTITIONS)))]
    pub max_unavailable_partitions: Option<i64>,

    /// What happens to the PersistentVolumeClaims of a partition that is scaled or deleted. Retain for both if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub persistent_volume_claim_retention_policy: Option<ClaimRetentionPolicy>,

    /// The partition that is created `spec.partitions` times.
    pub template: PartitionTemplate,
}

/// The partition that a set creates `spec.partitions` times.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PartitionTemplate {
    /// Labels and annotations of every Partition. Its pods carry the labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<TemplateMetadata>,
    /// The protocol of the partitions, its options, and how its pods run.
    pub spec: TemplateSpec,
}

/// Labels and annotations that every Partition of a set carries, and labels that its pods carry.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TemplateMetadata {
    /// Labels to add. The labels that the controller selects by cannot be changed here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxProperties" = 256))]
    pub labels: Option<BTreeMap<String, String>>,
    /// Annotations to add.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxProperties" = 256))]
    pub annotations: Option<BTreeMap<String, String>>,
}

/// The protocol of a partition, its options, and how its pods run.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = schema::template_spec()))]
pub struct TemplateSpec {
    /// Number of pods in the partition: 1 to 21, 1 if left out. Immutable with the raft protocol.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<i32>", extend("x-kubernetes-validations" = schema::range(1, super::MAX_SIZE)))]
    pub size: Option<i64>,

    /// Replication protocol: `raft` (strongly consistent consensus), `backup` (in-memory primary-backup) or `log`
    /// (primary-backup distributed log). Immutable.
    #[schemars(with = "Protocol")]
    pub protocol: String,

    /// Options of the protocol as YAML text, for instance `electionTimeout: 5s`. An unknown option is an error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16384))]
    pub config: Option<String>,

    /// Container image of the nodes. The controller's default for the protocol if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub image: Option<String>,

    /// When to pull the image: `Always`, `IfNotPresent` or `Never`. Kubernetes' own rule if left out: `Always` for
    /// the tag `latest`, else `IfNotPresent`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["Always", "IfNotPresent", "Never"]))]
    pub image_pull_policy: Option<String>,

    /// Another name of `imagePullPolicy`. Give one of the two; admission fills the other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["Always", "IfNotPresent", "Never"]))]
    pub pull_policy: Option<String>,

    /// Environment variables to add to the nodes, at most 256. `NODE_ID` is the controller's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxItems" = 256, "x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    #[schemars(transform = schema::variables)]
    pub env: Option<Vec<EnvVar>>,

    /// Compute resources of the container of each node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceRequirements>,

    /// Storage class of the nodes' volumes. Needs `storageSize`. Immutable. An empty text is no class: only volumes that
    /// exist and have none are bound, and none is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub storage_class: Option<String>,

    /// Size of the volume of each node, from the cluster's default storage class if `storageClass` is not given.
    /// Without either, nodes keep their data in an emptyDir. Immutable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = schema::storage_size()))]
    pub storage_size: Option<Quantity>,

    /// Secrets to pull the image with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxItems" = 64, "x-kubernetes-list-type" = "atomic"))]
    #[schemars(transform = schema::optional("/items", "name"))]
    pub image_pull_secrets: Option<Vec<LocalObjectReference>>,

    /// Labels that a Kubernetes node must have to run a pod of the partition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxProperties" = 64))]
    pub node_selector: Option<BTreeMap<String, String>>,

    /// Scheduling constraints. Pods of a partition prefer different Kubernetes nodes if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = schema::optional("/properties/nodeAffinity/properties/preferredDuringSchedulingIgnoredDuringExecution/items", "preference"))]
    pub affinity: Option<Affinity>,

    /// Taints of Kubernetes nodes that the pods tolerate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxItems" = 64, "x-kubernetes-list-type" = "atomic"))]
    pub tolerations: Option<Vec<Toleration>>,

    /// How the pods spread over zones and other topology domains.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxItems" = 64, "x-kubernetes-list-type" = "atomic"))]
    pub topology_spread_constraints: Option<Vec<TopologySpreadConstraint>>,

    /// Priority class of the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub priority_class_name: Option<String>,

    /// ServiceAccount that the pods run as.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub service_account_name: Option<String>,

    /// Security settings of the container of each node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub security_context: Option<SecurityContext>,

    /// Security settings of the pods. With storage, `fsGroup: 65534` if left out: the node images run as nobody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = schema::optional("/properties/sysctls/items", "value"))]
    pub pod_security_context: Option<PodSecurityContext>,

    /// Whether the Services of the partitions have addresses of one family or of two, as in a Service. The cluster's
    /// default, or that of the group's other Services, if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["SingleStack", "PreferDualStack", "RequireDualStack"]))]
    pub ip_family_policy: Option<String>,

    /// Address families of the Services of the partitions, as in a Service: `IPv4`, `IPv6` or both. The first cannot
    /// change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Vec<IpFamily>>", extend("maxItems" = 2, "x-kubernetes-list-type" = "atomic"))]
    pub ip_families: Option<Vec<String>>,

    /// Seconds that a pod has to stop by itself, 30 if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub termination_grace_period_seconds: Option<i64>,
}

impl PartitionSet {
    /// Whether the user has asked that nothing be written for the set.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        let annotations = self.metadata.annotations.as_ref();
        annotations.and_then(|annotations| annotations.get(annotations::PAUSED)).is_some_and(|value| value == "true")
    }
}

impl TemplateSpec {
    /// The storage class of the nodes' claims. An empty one means that no volume is provisioned; without claims it means
    /// nothing.
    #[must_use]
    pub fn claimed_class(&self) -> Option<&str> {
        let class = self.storage_class.as_deref();
        class.filter(|class| !class.is_empty() || self.storage_size.is_some())
    }
}

/// What happens to the claims of pods that go, as in a StatefulSet of apps/v1.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ClaimRetentionPolicy {
    /// When a partition, or the whole set, is deleted: Retain or Delete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<RetentionAction>")]
    pub when_deleted: Option<String>,
    /// When a partition gets fewer pods: Retain or Delete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<RetentionAction>")]
    pub when_scaled: Option<String>,
}

/// What happens to a PersistentVolumeClaim whose pod goes.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, PartialEq, Eq, Serialize)]
pub enum RetentionAction {
    /// The claim stays, and is used again by a pod of the same name.
    Retain,
    /// The claim is deleted with its pod.
    Delete,
}

/// Family of the addresses of a Service.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, PartialEq, Eq, Serialize)]
pub enum IpFamily {
    /// Addresses such as 10.96.0.1.
    IPv4,
    /// Addresses such as `fd00::1`.
    IPv6,
}

/// What the controller last observed of a PartitionSet.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PartitionSetStatus {
    /// Generation of the set that the controller observed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Partitions that exist.
    #[serde(default)]
    #[schemars(with = "i32")]
    pub partitions: i64,
    /// Partitions whose pods are all ready. The set is ready when this equals `spec.partitions`.
    #[serde(default)]
    #[schemars(with = "i32")]
    pub ready_partitions: i64,
    /// `Ready`; `Reconciling` while the set is being brought to its spec; `Stalled` while that cannot succeed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("maxItems" = 16, "x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}
