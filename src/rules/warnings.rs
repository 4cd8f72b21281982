//! Warnings about what is valid and unwise; kubectl prints them.

use super::pod;
use super::read::SetObject;
use crate::api::labels::{self, annotations};
use crate::api::protocol::Facts;
use crate::api::{DEFAULT_COUNT, Protocol, TemplateSpec, names};

/// From this many partitions on, a DNS answer with all of them nears the 64 KiB that fit.
const MANY_PARTITIONS: i64 = 300;

/// Warnings for a set that is created (`old` is none) or changed.
pub(super) fn set(new: &SetObject, old: Option<&SetObject>) -> Vec<String> {
    let mut warnings = Vec::new();
    let count = |set: &SetObject| set.spec.partitions.unwrap_or(DEFAULT_COUNT);
    let partitions = count(new);
    if partitions >= MANY_PARTITIONS {
        warnings.push(format!(
            "spec.partitions: the DNS answer of a group of {partitions} partitions may be truncated; clients should find them over the Atomix API"
        ));
    }
    let grown_from = old.map(count).filter(|before| *before < partitions);
    if let Some(before) = grown_from {
        warnings.push(format!(
            "spec.partitions: growing from {before} to {partitions} re-homes keys (clients pick a partition by hash modulo the number), and no data moves"
        ));
    }
    if let Some(old) = old.filter(|old| partitions >= 1 && count(old) > partitions) {
        warnings.push(removal(old, count(old), partitions));
    }
    template(&new.spec.template.spec, &mut warnings);
    replaced_defaults(&new.spec.template.spec, &mut warnings);
    warnings.extend(pod::warnings(&new.spec.template.spec, "spec.template.spec"));
    metadata(new, &mut warnings);
    warnings
}

/// The partitions that a shrink removes, with the template of `old`: they are not rolled to the new one first.
fn removal(old: &SetObject, from: i64, to: i64) -> String {
    let removed = from - to;
    let (verb, owner) = if removed == 1 { ("is", "its") } else { ("are", "their") };
    let (first, last) = (names::partition(&old.name, to + 1), names::partition(&old.name, from));
    let which = match removed {
        1 => last,
        2 => format!("{first} and {last}"),
        _ => format!("{first} to {last}"),
    };
    let spec = &old.spec;
    let pods = removed.saturating_mul(spec.template.spec.size.unwrap_or(DEFAULT_COUNT));
    let pods = if pods == 1 { "1 pod".to_owned() } else { format!("{pods} pods") };
    let policy = spec.persistent_volume_claim_retention_policy.as_ref();
    let deletes = policy.is_some_and(|policy| policy.when_deleted.as_deref() == Some("Delete"));
    let with_data = format!(" with {owner} data");
    let claims = |fate: &str| format!("; {owner} PersistentVolumeClaims are {fate}");
    let (data, claims) = match (spec.template.spec.storage_size.is_some(), deletes) {
        (false, _) => (with_data, String::new()),
        (true, true) => (with_data, claims("deleted (whenDeleted: Delete)")),
        (true, false) => (String::new(), claims("retained with the data (whenDeleted: Retain)")),
    };
    format!("spec.partitions: {removed} of {from} partitions {verb} removed{data}: {which} ({pods}){claims}")
}

fn template(spec: &TemplateSpec, warnings: &mut Vec<String>) {
    let size = spec.size.unwrap_or(DEFAULT_COUNT);
    let Some(protocol) = Protocol::parse(&spec.protocol) else { return };
    let (name, Facts { title, needs_majority, is_published, .. }) = (protocol.as_str(), protocol.facts());
    if *needs_majority && size <= 2 {
        warnings.push(format!(
            "spec.template.spec.size: a {title} partition of {size} cannot lose a pod, nor be rolled, without losing its quorum, and nodes keep their state in memory; use 3 or more"
        ));
    } else if *needs_majority && size % 2 == 0 {
        warnings.push(format!(
            "spec.template.spec.size: a {title} partition of {size} tolerates no more failures than one of {}",
            size - 1
        ));
    }
    if !is_published && spec.image.as_deref().unwrap_or_default().is_empty() {
        warnings.push(format!(
            "spec.template.spec.image: the default image of the {name} protocol is not known to be published; set an image here, or the controller's --{name}-image"
        ));
    }
}

/// Defaults of whole structures, which a set replaces when it sets the structure.
fn replaced_defaults(spec: &TemplateSpec, warnings: &mut Vec<String>) {
    let spreads = spec.topology_spread_constraints.as_ref().is_some_and(|constraints| !constraints.is_empty());
    let apart = spec.affinity.as_ref().is_none_or(|affinity| affinity.pod_anti_affinity.is_some());
    if !apart && !spreads && spec.size.unwrap_or(DEFAULT_COUNT) > 1 {
        warnings.push("spec.template.spec.affinity: replaces the default, by which pods of a partition prefer different nodes; without podAntiAffinity or topologySpreadConstraints all may run on one".to_owned());
    }
    let owned = spec.pod_security_context.as_ref().is_none_or(|context| context.fs_group.is_some());
    if !owned && spec.storage_size.is_some() {
        warnings.push("spec.template.spec.podSecurityContext: replaces the default, fsGroup 65534 of the volumes; without fsGroup, nodes that do not run as root may be unable to write to them, unless the cluster sets one, as OpenShift does".to_owned());
    }
}

fn metadata(set: &SetObject, warnings: &mut Vec<String>) {
    let paused = set.annotations.get(annotations::PAUSED);
    if paused.is_some_and(|value| !["true", "false"].contains(&value.as_str())) {
        warnings.push(format!(
            "metadata.annotations[{}]: is neither \"true\" nor \"false\": the set is not paused",
            annotations::PAUSED
        ));
    }
    let Some(template) = &set.spec.template.metadata else { return };
    let ours = [
        ("labels", template.labels.as_ref(), labels::RESERVED.as_slice()),
        ("annotations", template.annotations.as_ref(), annotations::RESERVED.as_slice()),
    ];
    for (field, map, reserved) in ours {
        for key in map.into_iter().flat_map(|map| map.keys()).filter(|key| reserved.contains(&key.as_str())) {
            warnings.push(format!(
                "spec.template.metadata.{field}[{key}]: is set by the controller; the value here is not used"
            ));
        }
    }
}
