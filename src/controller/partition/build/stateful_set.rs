//! The StatefulSet of a partition.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::apps::v1::{
    StatefulSet, StatefulSetPersistentVolumeClaimRetentionPolicy, StatefulSetSpec, StatefulSetUpdateStrategy,
};
use k8s_openapi::api::core::v1::{
    ConfigMap, PersistentVolumeClaim, PersistentVolumeClaimSpec, PodTemplateSpec, VolumeResourceRequirements,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};

use super::context::BuildContext;
use crate::api::labels::annotations;
use crate::api::{Protocol, names};
use crate::controller::desired::{Desired, hash_of_entries, hash_of_value};

/// Name of the data volume and of the claim template behind it.
pub(super) const DATA: &str = "data";

impl BuildContext<'_> {
    pub(super) fn stateful_set(&self, config: &ConfigMap) -> Desired<StatefulSet> {
        let name = &self.identity.name;
        let retention = self.partition.spec.persistent_volume_claim_retention_policy.clone().unwrap_or_default();
        let action = |action: Option<String>| Some(action.unwrap_or_else(|| "Retain".to_owned()));
        let template = PodTemplateSpec {
            metadata: Some(ObjectMeta {
                labels: Some(self.labels.clone()),
                annotations: Some(BTreeMap::from([(annotations::CONFIG_HASH.to_owned(), config_hash(config))])),
                ..ObjectMeta::default()
            }),
            spec: Some(self.pod_spec()),
        };
        let mut metadata = self.metadata(name.clone());
        // The type has only string keys: there is no way not to be JSON.
        let hash = serde_json::to_value(&template).map(|template| hash_of_value(&template)).unwrap_or_default();
        metadata.annotations.get_or_insert_default().insert(annotations::POD_TEMPLATE_HASH.to_owned(), hash);
        StatefulSet {
            metadata,
            spec: Some(StatefulSetSpec {
                service_name: Some(names::headless_service(name)),
                replicas: i32::try_from(self.size).ok(),
                min_ready_seconds: Some(self.protocol.facts().min_ready_seconds).filter(|seconds| *seconds > 0),
                persistent_volume_claim_retention_policy: Some(StatefulSetPersistentVolumeClaimRetentionPolicy {
                    when_deleted: action(retention.when_deleted),
                    when_scaled: action(retention.when_scaled),
                }),
                pod_management_policy: Some("Parallel".to_owned()),
                selector: LabelSelector { match_labels: Some(self.selector.clone()), ..LabelSelector::default() },
                template,
                // The StatefulSet controller replaces Parallel pods without looking at the others: pods change only
                // when they are evicted one by one.
                update_strategy: Some(StatefulSetUpdateStrategy {
                    type_: Some("OnDelete".to_owned()),
                    rolling_update: None,
                }),
                volume_claim_templates: self.claim_template().map(|claim| vec![claim]),
                ..StatefulSetSpec::default()
            }),
            status: None,
        }
        .into()
    }

    fn claim_template(&self) -> Option<PersistentVolumeClaim> {
        let size = self.spec.storage_size.as_ref()?;
        let storage = (String::from("storage"), size.clone());
        Some(PersistentVolumeClaim {
            metadata: ObjectMeta {
                name: Some(DATA.to_owned()),
                labels: Some(self.selector.clone()),
                ..ObjectMeta::default()
            },
            spec: Some(PersistentVolumeClaimSpec {
                access_modes: Some(vec!["ReadWriteOnce".to_owned()]),
                resources: Some(VolumeResourceRequirements {
                    requests: Some(BTreeMap::from([storage])),
                    ..VolumeResourceRequirements::default()
                }),
                storage_class_name: self.spec.claimed_class().map(str::to_owned),
                ..PersistentVolumeClaimSpec::default()
            }),
            status: None,
        })
    }
}

/// A hash of the files: it decides whether pods are replaced.
fn config_hash(config: &ConfigMap) -> String {
    hash_of_entries(config.data.iter().flatten())
}

/// How long a pod of the protocol has to be ready before it counts for a quorum.
pub(crate) fn min_ready(protocol: Protocol) -> Duration {
    Duration::from_secs(protocol.facts().min_ready_seconds.unsigned_abs().into())
}
