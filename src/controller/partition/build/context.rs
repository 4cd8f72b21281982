//! What the builders of a partition's children read.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::super::identity::Identity;
use crate::api::{Partition, PartitionSet, Protocol, TemplateSpec, labels};
use crate::controller::desired::record_copied_labels;
use crate::controller::metadata::{self, Labels};
use crate::controller::settings::Settings;

/// What the builders of the single children read: the Partition, the settings, and what is derived from them once.
pub(super) struct BuildContext<'a> {
    pub(super) identity: &'a Identity,
    pub(super) partition: &'a Partition,
    pub(super) spec: &'a TemplateSpec,
    pub(super) settings: &'a Settings,
    pub(super) protocol: Protocol,
    pub(super) size: i64,
    pub(super) selector: Labels,
    /// Labels of the set's template.
    pub(super) copied: Labels,
    pub(super) labels: Labels,
}

/// The labels of the set's template. The Partition's own metadata may have labels of other programs; but one that an
/// earlier version or the project's first controller wrote has them there only, and without them its pods would be
/// replaced as soon as the Partition is brought up to date. The template of `set` decides which of these labels are
/// taken.
pub(super) fn copied_labels(partition: &Partition, set: Option<&PartitionSet>) -> Labels {
    if let Some(metadata) = &partition.spec.template_metadata {
        return metadata.labels.clone().unwrap_or_default();
    }
    let template = set.and_then(|set| set.spec.template.metadata.as_ref()?.labels.as_ref());
    let mut labels = partition.metadata.labels.clone().unwrap_or_default();
    labels.retain(|key, _| {
        !labels::RESERVED.contains(&key.as_str()) && template.is_some_and(|template| template.contains_key(key))
    });
    labels
}

impl BuildContext<'_> {
    pub(super) fn metadata(&self, name: String) -> ObjectMeta {
        let owner = metadata::owned_by(self.partition);
        let mut metadata = metadata::metadata(&self.identity.namespace, name, self.labels.clone(), owner);
        record_copied_labels(&mut metadata, &self.copied);
        metadata
    }

    /// The form of the members. A Partition that an earlier version wrote has it among its own annotations.
    pub(super) fn member_ports(&self) -> Option<&str> {
        let annotations = match &self.partition.spec.template_metadata {
            Some(metadata) => metadata.annotations.as_ref(),
            None => self.partition.metadata.annotations.as_ref(),
        };
        annotations?.get(labels::annotations::MEMBER_PORTS).map(String::as_str)
    }
}
