//! Rules of sets and partitions: by themselves, and compared with what they were.

mod changes;
mod collisions;
mod template;

pub(super) use self::changes::{removal, template_change};
pub(super) use self::collisions::collisions;
use self::template::template;
use super::read::SetObject;
use super::report::{self, Report};
use super::violation::Violation;
use super::{labels, syntax};
use crate::api::labels::annotations;
use crate::api::names::{self, MAX_PARTITION_NAME};
use crate::api::{
    ClaimRetentionPolicy, DEFAULT_COUNT, MAX_PARTITIONS, MAX_SIZE, PartitionSetSpec, TemplateMetadata, TemplateSpec,
};

/// Most labels, and most annotations, of a template.
const MAX_METADATA: usize = 256;
/// Most bytes of all annotations of a template together: the limit of Kubernetes, less what the controller's own
/// annotations of Partitions and pods need.
const MAX_ANNOTATIONS: usize = labels::MAX_ANNOTATIONS - 4 * 1024;
/// Most bytes of a spec as JSON. A Partition holds its template, and the template's labels and annotations once more; the
/// API server adds managedFields, and etcd accepts 1.5 MiB.
const MAX_SPEC: usize = 512 * 1024;
const RETENTION_ACTIONS: [&str; 2] = ["Retain", "Delete"];
const MEMBER_PORTS: [&str; 2] = ["split", "shared"];

/// Every violation of a set by itself. Defaults are filled in already.
pub(super) fn set(set: &SetObject, violations: &mut Vec<Violation>) {
    let spec = &set.spec;
    let missing = report::missing(violations);
    let mut root = Report::new("", &missing, violations);
    let mut report = root.field("spec");
    report.field("partitions").within(spec.partitions, 1, MAX_PARTITIONS);
    if serde_json::to_vec(spec).is_ok_and(|json| json.len() > MAX_SPEC) {
        report.too_long(MAX_SPEC);
    }
    name(set, &mut root);
    let mut report = root.field("spec");
    max_unavailable(spec, &mut report.field("maxUnavailablePartitions"));
    retention_policy(spec.persistent_volume_claim_retention_policy.as_ref(), &mut report);
    if let Some(metadata) = &spec.template.metadata {
        template_metadata(metadata, &mut report.field("template.metadata"));
    }
    template(&spec.template.spec, &mut report.field("template.spec"));
    // The alias is equal to the size here, or reported already: it is checked only where it is given alone.
    if spec.partition_size != spec.template.spec.size {
        report.field("partitionSize").within(spec.partition_size, 1, MAX_SIZE);
    }
}

/// Every violation of the spec of a Partition.
pub(super) fn partition(spec: &TemplateSpec, policy: Option<&ClaimRetentionPolicy>, violations: &mut Vec<Violation>) {
    let missing = report::missing(violations);
    let mut report = Report::new("spec", &missing, violations);
    template(spec, &mut report);
    retention_policy(policy, &mut report);
}

fn name(set: &SetObject, report: &mut Report<'_>) {
    let (name, mut report) = (&set.name, report.field(set.name_path()));
    if name.is_empty() {
        return;
    }
    if !syntax::is_dns_1035_label(name) {
        let detail = "must be a DNS-1035 label, because a Service is named after it: at most 63 lower case letters, digits and '-', starting with a letter, ending with a letter or digit";
        return report.invalid(name, detail);
    }
    let partitions = set.spec.partitions.unwrap_or(DEFAULT_COUNT);
    let longest = names::partition(name, partitions);
    if longest.len() > MAX_PARTITION_NAME {
        let detail = format!(
            "must be short enough for the name of partition {partitions} ({longest}) to have at most {MAX_PARTITION_NAME} characters, which is what a StatefulSet's pods can carry"
        );
        report.invalid(name, detail);
    }
}

fn max_unavailable(spec: &PartitionSetSpec, report: &mut Report<'_>) {
    match (spec.max_unavailable_partitions, spec.partitions) {
        (Some(unavailable @ 1..=MAX_PARTITIONS), Some(partitions @ 1..)) if unavailable > partitions => {
            report.invalid(&unavailable, format!("must be less than or equal to spec.partitions ({partitions})"));
        }
        (unavailable, _) => report.within(unavailable, 1, MAX_PARTITIONS),
    }
}

fn template_metadata(metadata: &TemplateMetadata, report: &mut Report<'_>) {
    if let Some(map) = &metadata.labels {
        let mut report = report.field("labels");
        report.at_most(map.len(), MAX_METADATA);
        labels::labels(map, &mut report);
    }
    if let Some(map) = &metadata.annotations {
        let mut report = report.field("annotations");
        report.at_most(map.len(), MAX_METADATA);
        labels::annotations(map, MAX_ANNOTATIONS, &mut report);
        if let Some(ports) = map.get(annotations::MEMBER_PORTS) {
            report.item(annotations::MEMBER_PORTS).supported(ports, &MEMBER_PORTS);
        }
    }
}

/// Reports on a claim retention policy in the spec of a set or of a partition.
fn retention_policy(policy: Option<&ClaimRetentionPolicy>, report: &mut Report<'_>) {
    let Some(policy) = policy else { return };
    let mut report = report.field("persistentVolumeClaimRetentionPolicy");
    for (field, action) in [("whenDeleted", &policy.when_deleted), ("whenScaled", &policy.when_scaled)] {
        report.field(field).supported_if_given(action.as_deref(), &RETENTION_ACTIONS);
    }
}
