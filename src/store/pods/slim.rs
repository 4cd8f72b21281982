//! The fields of a pod that are read. The rest is not parsed, since a cluster has thousands of pods.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1 as core;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference, Time};
use serde::{Deserialize, Deserializer};

/// Label of a pod with the revision of the template that the StatefulSet controller created it from.
pub(super) const REVISION: &str = "controller-revision-hash";

/// A pod without its annotations and managed fields, and nearly all of its spec.
#[derive(Clone, Debug, Default, Deserialize, kube::Resource)]
#[resource(inherit = "core::Pod")]
pub(crate) struct Pod {
    /// Name, labels, owner, deletion, finalizers: nothing else of a pod's metadata.
    #[serde(deserialize_with = "slim_metadata")]
    pub(crate) metadata: ObjectMeta,
    #[serde(default)]
    pub(super) spec: Spec,
    #[serde(default)]
    pub(super) status: core::PodStatus,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Spec {
    pub node_name: String,
    pub scheduling_gates: Vec<core::PodSchedulingGate>,
}

fn slim_metadata<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ObjectMeta, D::Error> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Slim {
        name: Option<String>,
        namespace: Option<String>,
        uid: Option<String>,
        resource_version: Option<String>,
        #[serde(default)]
        labels: BTreeMap<String, String>,
        owner_references: Option<Vec<OwnerReference>>,
        deletion_timestamp: Option<Time>,
        deletion_grace_period_seconds: Option<i64>,
        finalizers: Option<Vec<String>>,
    }
    let slim = Slim::deserialize(deserializer)?;
    Ok(ObjectMeta {
        name: slim.name,
        namespace: slim.namespace,
        uid: slim.uid,
        resource_version: slim.resource_version,
        labels: Some(slim.labels.into_iter().filter(|(key, _)| key == REVISION).collect()),
        owner_references: slim.owner_references,
        deletion_timestamp: slim.deletion_timestamp,
        deletion_grace_period_seconds: slim.deletion_grace_period_seconds,
        finalizers: slim.finalizers,
        ..ObjectMeta::default()
    })
}

impl Pod {
    pub(super) fn condition(&self, kind: &str) -> Option<&core::PodCondition> {
        self.status.conditions.iter().flatten().find(|condition| condition.type_ == kind)
    }

    pub(super) fn has_phase(&self, phase: &str) -> bool {
        self.status.phase.as_deref() == Some(phase)
    }
}
