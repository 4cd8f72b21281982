//! `Partition`: one replicated state machine of a set, made by the PartitionSet controller.
#![allow(clippy::duplicated_attributes, reason = "the lint takes the printer columns' equal keys for one attribute")]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ClaimRetentionPolicy, ElectionStatus, TemplateMetadata, TemplateSpec, schema};

/// What the object should be.
#[derive(CustomResource, Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[kube(
    group = "k8s.atomix.io",
    version = "v1alpha1",
    kind = "Partition",
    doc = "Partition is one replicated state machine of a PartitionSet. The PartitionSet controller creates and changes Partitions; edit the PartitionSet instead.",
    validation = schema::partition_root(),
    plural = "partitions",
    shortname = "atomixpart",
    category = "atomix",
    namespaced,
    status = "PartitionStatus",
    derive = "PartialEq",
    derive = "Default",
    printcolumn(
        name = "Size",
        type_ = "integer",
        json_path = ".spec.size",
        description = "Pods that the partition should have"
    ),
    printcolumn(
        name = "Ready",
        type_ = "integer",
        json_path = ".status.readyReplicas",
        description = "Pods that are ready"
    ),
    printcolumn(
        name = "Protocol",
        type_ = "string",
        json_path = ".spec.protocol",
        description = "Replication protocol"
    ),
    printcolumn(
        name = "Group",
        type_ = "string",
        json_path = ".metadata.labels.group",
        description = "PartitionSet that the partition belongs to"
    ),
    printcolumn(
        name = "Status",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason",
        description = "Why the partition is ready or not",
        priority = 1
    ),
    printcolumn(
        name = "Primary",
        type_ = "string",
        json_path = ".status.election.primary",
        description = "Member that the partition's nodes have elected, where their protocol elects one",
        priority = 1
    ),
    printcolumn(
        name = "Image",
        type_ = "string",
        json_path = ".status.image",
        description = "Image of the nodes",
        priority = 1
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = schema::partition_spec()))]
pub struct PartitionSpec {
    /// The template of the set, as it was copied.
    #[serde(flatten)]
    pub template: TemplateSpec,
    /// What happens to the claims of pods that go; copied from the set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub persistent_volume_claim_retention_policy: Option<ClaimRetentionPolicy>,
    /// Labels and annotations of the set's template, as they were copied. The pods carry these labels, whatever labels
    /// the Partition itself has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template_metadata: Option<TemplateMetadata>,
}

/// What the controller last observed of a Partition.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PartitionStatus {
    /// Generation of the partition that the controller observed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Pods that exist.
    #[serde(default)]
    #[schemars(with = "i32")]
    pub replicas: i64,
    /// Pods that are ready.
    #[serde(default)]
    #[schemars(with = "i32")]
    pub ready_replicas: i64,
    /// Label selector of the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    /// Image of the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// `Ready`; `Reconciling` while the partition is being brought to its spec; `Stalled` while that cannot succeed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("maxItems" = 16, "x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// The primary of the partition's nodes; absent until a node has entered an election.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub election: Option<ElectionStatus>,
}
