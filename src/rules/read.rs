//! From the JSON of an admission review to the typed object, reporting every mistyped field.

use std::collections::BTreeMap;

use serde_json::Value;

use super::fields::Fields;
use super::violation::Violation;
use crate::api::{
    ClaimRetentionPolicy, PartitionSet, PartitionSetSpec, PartitionTemplate, TemplateMetadata, TemplateSpec,
};

/// Characters that the API server appends to a `generateName`.
const GENERATED: &str = "xxxxx";
/// Longest prefix of a generated name that the API server keeps.
const MAX_GENERATE_NAME: usize = 58;

/// The parts of a PartitionSet that rules depend on.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SetObject {
    /// Name, or an example of it if the API server has yet to generate it.
    pub name: String,
    /// Whether the name is yet to be generated.
    pub generated: bool,
    /// Generation of the spec; none if the set is not stored yet.
    pub generation: Option<i64>,
    /// Annotations of the set itself.
    pub annotations: BTreeMap<String, String>,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// The spec, with mistyped fields absent.
    pub spec: PartitionSetSpec,
}

impl SetObject {
    /// Reads a set out of an admission review, reporting mistyped and missing fields.
    pub(super) fn read(object: &Value, violations: &mut Vec<Violation>) -> Self {
        let root = Fields::root(object);
        let mut set = Self::default();
        // The API server validates the metadata's types before it calls webhooks.
        if let Some(metadata) = root.object("metadata", &mut Vec::new()) {
            let ignored = &mut Vec::new();
            set.name = metadata.text("name", ignored).unwrap_or_default();
            set.generation = metadata.integer("generation", ignored);
            set.annotations = metadata.typed("annotations", ignored).unwrap_or_default();
            set.deleting = metadata.text("deletionTimestamp", ignored).is_some();
            if set.name.is_empty() {
                let mut prefix = metadata.text("generateName", ignored).unwrap_or_default();
                set.generated = !prefix.is_empty();
                if let Some((cut, _)) = prefix.char_indices().nth(MAX_GENERATE_NAME) {
                    prefix.truncate(cut);
                }
                set.name = if set.generated { prefix + GENERATED } else { prefix };
            }
        }
        if let Some(spec) = root.required_object("spec", violations) {
            set.spec = set_spec(&spec, violations);
        }
        set
    }

    /// The path that messages about the name have.
    pub(super) const fn name_path(&self) -> &'static str {
        if self.generated { "metadata.generateName" } else { "metadata.name" }
    }
}

impl From<&PartitionSet> for SetObject {
    fn from(set: &PartitionSet) -> Self {
        Self {
            name: set.metadata.name.clone().unwrap_or_default(),
            generated: false,
            generation: set.metadata.generation,
            annotations: set.metadata.annotations.clone().unwrap_or_default(),
            deleting: set.metadata.deletion_timestamp.is_some(),
            spec: set.spec.clone(),
        }
    }
}

fn set_spec(spec: &Fields<'_>, violations: &mut Vec<Violation>) -> PartitionSetSpec {
    let mut template = PartitionTemplate::default();
    let partitions = spec.integer("partitions", violations);
    let partition_size = spec.integer("partitionSize", violations);
    let max_unavailable_partitions = spec.integer("maxUnavailablePartitions", violations);
    let policy = claim_retention_policy(spec, violations);
    if let Some(fields) = spec.required_object("template", violations) {
        template.metadata = fields.object("metadata", violations).map(|metadata| TemplateMetadata {
            labels: metadata.typed("labels", violations),
            annotations: metadata.typed("annotations", violations),
        });
        if let Some(fields) = fields.required_object("spec", violations) {
            template.spec = template_spec(&fields, violations);
        }
    }
    PartitionSetSpec {
        partitions,
        partition_size,
        max_unavailable_partitions,
        persistent_volume_claim_retention_policy: policy,
        template,
    }
}

pub(super) fn claim_retention_policy(
    spec: &Fields<'_>,
    violations: &mut Vec<Violation>,
) -> Option<ClaimRetentionPolicy> {
    spec.object("persistentVolumeClaimRetentionPolicy", violations).map(|policy| ClaimRetentionPolicy {
        when_deleted: policy.text("whenDeleted", violations),
        when_scaled: policy.text("whenScaled", violations),
    })
}

/// Reads the fields of a template, which are those of a Partition's spec as well.
pub(super) fn template_spec(spec: &Fields<'_>, violations: &mut Vec<Violation>) -> TemplateSpec {
    TemplateSpec {
        size: spec.integer("size", violations),
        protocol: spec.text("protocol", violations).unwrap_or_default(),
        config: spec.text("config", violations),
        image: spec.text("image", violations),
        image_pull_policy: spec.text("imagePullPolicy", violations),
        pull_policy: spec.text("pullPolicy", violations),
        env: spec.shaped("env", violations),
        resources: spec.shaped("resources", violations),
        storage_class: spec.text("storageClass", violations),
        storage_size: spec.shaped("storageSize", violations),
        image_pull_secrets: spec.shaped("imagePullSecrets", violations),
        node_selector: spec.shaped("nodeSelector", violations),
        affinity: spec.shaped("affinity", violations),
        tolerations: spec.shaped("tolerations", violations),
        topology_spread_constraints: spec.shaped("topologySpreadConstraints", violations),
        priority_class_name: spec.text("priorityClassName", violations),
        service_account_name: spec.text("serviceAccountName", violations),
        security_context: spec.shaped("securityContext", violations),
        pod_security_context: spec.shaped("podSecurityContext", violations),
        ip_family_policy: spec.text("ipFamilyPolicy", violations),
        ip_families: spec.shaped("ipFamilies", violations),
        termination_grace_period_seconds: spec.integer("terminationGracePeriodSeconds", violations),
    }
}
