//! What a set and a partition have to be, by themselves and compared with what they were.

use k8s_openapi::api::core::v1::EnvVar;

use super::config;
use super::consent::{self, Consent};
use super::quantity::Quantity;
use super::read::SetObject;
use super::violation::{self, Violation};
use super::{labels, pod, syntax};
use crate::api::labels::annotations;
use crate::api::names::{self, MAX_PARTITION_NAME};
use crate::api::{
    ClaimRetentionPolicy, DEFAULT_COUNT, MAX_ENV, MAX_PARTITIONS, MAX_SIZE, PartitionSetSpec, Protocol, TemplateSpec,
};

/// Longest `spec.image`, in bytes.
const MAX_IMAGE: usize = 1024;
/// Most labels, and most annotations, of a template.
const MAX_METADATA: usize = 256;
/// Most bytes that all annotations of a template may have together: what Kubernetes takes of an object, less what the
/// controller's own annotations of Partitions and pods need.
const MAX_ANNOTATIONS: usize = labels::MAX_ANNOTATIONS - 4 * 1024;
/// Most names of other sets that one answer lists.
const MAX_COLLISIONS: usize = 20;
/// Most bytes of a spec as JSON. A Partition holds its template, and the template's labels and annotations once more; the
/// API server adds who owns which field, and etcd takes 1.5 MiB.
const MAX_SPEC: usize = 512 * 1024;
const PULL_POLICIES: [&str; 3] = ["Always", "IfNotPresent", "Never"];
const RETENTION_ACTIONS: [&str; 2] = ["Retain", "Delete"];
const MEMBER_PORTS: [&str; 2] = ["split", "shared"];
const SINGLE_STACK: &str = "SingleStack";
const IP_FAMILY_POLICIES: [&str; 3] = [SINGLE_STACK, "PreferDualStack", "RequireDualStack"];
const IP_FAMILIES: [&str; 2] = ["IPv4", "IPv6"];
const IMMUTABLE: &str = "field is immutable";

/// Everything wrong with a set by itself. Defaults are filled in already.
pub(super) fn set(set: &SetObject, violations: &mut Vec<Violation>) {
    let spec = &set.spec;
    bounds(spec.partitions, 1, MAX_PARTITIONS, "spec.partitions", violations);
    if json_size(spec) > MAX_SPEC {
        violations.push(Violation::too_long("spec", MAX_SPEC));
    }
    name(set, violations);
    max_unavailable(spec, violations);
    retention_policy(spec.persistent_volume_claim_retention_policy.as_ref(), violations);
    if let Some(metadata) = &spec.template.metadata {
        let path = "spec.template.metadata";
        if let Some(map) = &metadata.labels {
            at_most(map.len(), MAX_METADATA, &format!("{path}.labels"), violations);
            labels::labels(map, &format!("{path}.labels"), violations);
        }
        if let Some(map) = &metadata.annotations {
            at_most(map.len(), MAX_METADATA, &format!("{path}.annotations"), violations);
            labels::annotations(map, MAX_ANNOTATIONS, &format!("{path}.annotations"), violations);
            if let Some(ports) = map.get(annotations::MEMBER_PORTS)
                && !MEMBER_PORTS.contains(&ports.as_str())
            {
                let field = format!("{path}.annotations[{}]", annotations::MEMBER_PORTS);
                violations.push(Violation::not_supported(field, ports, &MEMBER_PORTS));
            }
        }
    }
    template(&spec.template.spec, "spec.template.spec", violations);
    // The alias is equal to the size here, or reported already: it is judged only where it stands alone.
    if spec.partition_size != spec.template.spec.size {
        bounds(spec.partition_size, 1, MAX_SIZE, "spec.partitionSize", violations);
    }
}

fn name(set: &SetObject, violations: &mut Vec<Violation>) {
    let (name, path) = (&set.name, set.name_path());
    if name.is_empty() {
        return;
    }
    if !syntax::is_dns_1035_label(name) {
        let detail = "must be a DNS-1035 label, because a Service is named after it: at most 63 lower case letters, digits and '-', starting with a letter, ending with a letter or digit";
        violations.push(Violation::invalid(path, name, detail));
        return;
    }
    let partitions = set.spec.partitions.unwrap_or(DEFAULT_COUNT);
    let longest = names::partition(name, partitions);
    if longest.len() > MAX_PARTITION_NAME {
        let detail = format!(
            "must be short enough for the name of partition {partitions} ({longest}) to have at most {MAX_PARTITION_NAME} characters, which is what a StatefulSet's pods can carry"
        );
        violations.push(Violation::invalid(path, name, detail));
    }
}

fn max_unavailable(spec: &PartitionSetSpec, violations: &mut Vec<Violation>) {
    const PATH: &str = "spec.maxUnavailablePartitions";
    let before = violations.len();
    bounds(spec.max_unavailable_partitions, 1, MAX_PARTITIONS, PATH, violations);
    if let (Some(unavailable), Some(partitions)) = (spec.max_unavailable_partitions, spec.partitions)
        && violations.len() == before
        && unavailable > partitions
        && partitions >= 1
    {
        let detail = format!("must be less than or equal to spec.partitions ({partitions})");
        violations.push(Violation::invalid(PATH, &unavailable, detail));
    }
}

/// Violations of a claim retention policy, which sets and partitions have at the same place.
pub(super) fn retention_policy(policy: Option<&ClaimRetentionPolicy>, violations: &mut Vec<Violation>) {
    let Some(policy) = policy else { return };
    for (field, action) in [("whenDeleted", &policy.when_deleted), ("whenScaled", &policy.when_scaled)] {
        let path = format!("spec.persistentVolumeClaimRetentionPolicy.{field}");
        supported(action.as_deref(), &RETENTION_ACTIONS, &path, violations);
    }
}

/// Everything wrong with a template, or with a Partition's spec, that stands at `path`.
pub(super) fn template(spec: &TemplateSpec, path: &str, violations: &mut Vec<Violation>) {
    bounds(spec.size, 1, MAX_SIZE, &format!("{path}.size"), violations);
    protocol_and_config(spec, path, violations);
    image(spec, path, violations);
    env(spec.env.as_deref().unwrap_or_default(), &format!("{path}.env"), violations);
    pod::check(spec, path, violations);
    storage(spec, path, violations);
    ip_families(spec, path, violations);
    for (field, name) in [
        ("storageClass", &spec.storage_class),
        ("priorityClassName", &spec.priority_class_name),
        ("serviceAccountName", &spec.service_account_name),
    ] {
        let Some(name) = name.as_deref().filter(|name| !name.is_empty()) else { continue };
        for wrong in syntax::dns_1123_subdomain(name) {
            violations.push(Violation::invalid(format!("{path}.{field}"), &name, wrong));
        }
    }
    if let Some(selector) = &spec.node_selector {
        labels::labels(selector, &format!("{path}.nodeSelector"), violations);
        at_most(selector.len(), 64, &format!("{path}.nodeSelector"), violations);
    }
    for (field, count) in [
        ("imagePullSecrets", spec.image_pull_secrets.as_ref().map(Vec::len)),
        ("tolerations", spec.tolerations.as_ref().map(Vec::len)),
        ("topologySpreadConstraints", spec.topology_spread_constraints.as_ref().map(Vec::len)),
    ] {
        at_most(count.unwrap_or_default(), 64, &format!("{path}.{field}"), violations);
    }
}

fn protocol_and_config(spec: &TemplateSpec, path: &str, violations: &mut Vec<Violation>) {
    let protocol = Protocol::parse(&spec.protocol);
    let field = format!("{path}.protocol");
    if protocol.is_none() {
        let mistyped = violations.iter().any(|violation| violation.field == field || violation.field == "spec");
        let missing = [path, "spec.template"].iter().any(|parent| violations.iter().any(|v| v.field == *parent));
        if !spec.protocol.is_empty() {
            violations.push(Violation::not_supported(field, &spec.protocol, &Protocol::ALL.map(Protocol::as_str)));
        } else if !mistyped && !missing {
            violations.push(Violation::required(field, "one of raft, backup, log"));
        }
    }
    if let Some(text) = &spec.config
        && let Err(found) = config::check(text, protocol, &format!("{path}.config"))
    {
        violations.extend(found);
    }
}

fn image(spec: &TemplateSpec, path: &str, violations: &mut Vec<Violation>) {
    if let Some(image) = &spec.image {
        let field = format!("{path}.image");
        if image.len() > MAX_IMAGE {
            violations.push(Violation::too_long(field, MAX_IMAGE));
        } else if image.chars().any(char::is_whitespace) {
            violations.push(Violation::invalid(field, image, "must not contain white space"));
        } else if image.chars().any(char::is_control) {
            violations.push(Violation::invalid(field, image, "must not contain control characters"));
        }
    }
    for (field, policy) in [("imagePullPolicy", &spec.image_pull_policy), ("pullPolicy", &spec.pull_policy)] {
        // The alias follows the field; reporting the same value twice helps nobody.
        if field == "imagePullPolicy" || spec.pull_policy != spec.image_pull_policy {
            supported(policy.as_deref(), &PULL_POLICIES, &format!("{path}.{field}"), violations);
        }
    }
}

/// Values of environment variables never appear in a message: they may be secret.
fn env(env: &[EnvVar], path: &str, violations: &mut Vec<Violation>) {
    if env.len() > MAX_ENV {
        violations.push(Violation::too_many(path, env.len(), MAX_ENV));
        return;
    }
    for (index, variable) in env.iter().enumerate() {
        let field = format!("{path}[{index}].name");
        let name = variable.name.as_str();
        if name.is_empty() {
            // One that is absent altogether is reported already.
            if !violations.iter().any(|violation| violation.field == field) {
                violations.push(Violation::required(field, ""));
            }
        } else if name == "NODE_ID" {
            violations.push(Violation::forbidden(field, "NODE_ID is set by the controller"));
        } else if !name.bytes().all(|byte| (b' '..=b'~').contains(&byte) && byte != b'=') {
            violations.push(Violation::invalid(
                field,
                &name,
                "a valid environment variable name must consist only of printable ASCII characters other than '='",
            ));
        } else if env[..index].iter().any(|earlier| earlier.name == name) {
            violations.push(Violation::duplicate(field, name));
        }
    }
}

fn storage(spec: &TemplateSpec, path: &str, violations: &mut Vec<Violation>) {
    let field = format!("{path}.storageSize");
    match &spec.storage_size {
        Some(size) => {
            const DETAIL: &str = "must be a quantity greater than 0, for instance 8Gi";
            let wrong = match Quantity::read(&size.0) {
                Ok(amount) => (!amount.is_positive()).then_some(DETAIL),
                Err(why) => Some(why.words(DETAIL)),
            };
            violations.extend(wrong.map(|wrong| Violation::invalid(field, &size.0, wrong)));
        }
        None if spec.storage_class.as_deref().is_some_and(|class| !class.is_empty())
            && !violations.iter().any(|violation| violation.field == field) =>
        {
            violations.push(Violation::required(field, "storageClass needs a size"));
        }
        None => {}
    }
}

fn ip_families(spec: &TemplateSpec, path: &str, violations: &mut Vec<Violation>) {
    supported(spec.ip_family_policy.as_deref(), &IP_FAMILY_POLICIES, &format!("{path}.ipFamilyPolicy"), violations);
    let (families, path) = (spec.ip_families.as_deref().unwrap_or_default(), format!("{path}.ipFamilies"));
    at_most(families.len(), IP_FAMILIES.len(), &path, violations);
    for (index, family) in families.iter().enumerate() {
        let path = format!("{path}[{index}]");
        if !IP_FAMILIES.contains(&family.as_str()) {
            violations.push(Violation::not_supported(path, family, &IP_FAMILIES));
        } else if families[..index].contains(family) {
            violations.push(Violation::duplicate(path, family));
        }
    }
    if families.len() > 1 && spec.ip_family_policy.as_deref().unwrap_or(SINGLE_STACK) == SINGLE_STACK {
        let detail = "must have one element unless ipFamilyPolicy is PreferDualStack or RequireDualStack";
        violations.push(Violation::invalid(path, &families.join(","), detail));
    }
}

/// What may not change from one template, or Partition's spec, to the next. Only well-formed values are compared.
pub(super) fn template_change(new: &TemplateSpec, old: &TemplateSpec, path: &str, violations: &mut Vec<Violation>) {
    if Protocol::parse(&new.protocol).is_some() && new.protocol != old.protocol {
        violations.push(Violation::invalid(format!("{path}.protocol"), &new.protocol, IMMUTABLE));
    }
    let size = |spec: &TemplateSpec| spec.size.unwrap_or(DEFAULT_COUNT);
    let raft = |spec: &TemplateSpec| Protocol::parse(&spec.protocol) == Some(Protocol::Raft);
    if raft(new) && raft(old) && size(new) != size(old) && (1..=MAX_SIZE).contains(&size(new)) {
        let detail =
            format!("{IMMUTABLE} with the raft protocol, whose members are configured once: create another set");
        violations.push(Violation::invalid(format!("{path}.size"), &size(new), detail));
    }
    let first_family = |spec: &TemplateSpec| spec.ip_families.as_ref().and_then(|families| families.first().cloned());
    if let (Some(new), Some(old)) = (first_family(new), first_family(old))
        && new != old
        && IP_FAMILIES.contains(&new.as_str())
    {
        let detail = format!("{IMMUTABLE}: a Service keeps its first address family");
        violations.push(Violation::invalid(format!("{path}.ipFamilies[0]"), &new, detail));
    }
    let detail = format!("{IMMUTABLE}: the claim templates of a StatefulSet cannot change");
    if new.claimed_class() != old.claimed_class() {
        violations.push(Violation::forbidden(format!("{path}.storageClass"), &detail));
    }
    let amount = |spec: &TemplateSpec| spec.storage_size.as_ref().map(|size| Quantity::parse(&size.0));
    let same = match (amount(new), amount(old)) {
        (Some(Some(new)), Some(Some(old))) => new.same_amount(old),
        (None, None) | (Some(None), _) => true,
        _ => false,
    };
    if !same {
        violations.push(Violation::forbidden(format!("{path}.storageSize"), &detail));
    }
}

/// Fewer partitions need the user's consent, in an annotation, that their data may go: for this count, and at the
/// generation that `old` has.
pub(super) fn removal(new: &SetObject, old: &SetObject, violations: &mut Vec<Violation>) {
    let count = |set: &SetObject| set.spec.partitions.unwrap_or(DEFAULT_COUNT);
    let (from, to) = (count(old), count(new));
    if to >= from || to < 1 {
        return;
    }
    if Consent::of(&new.annotations).is_some_and(|consent| consent.allows(to, old.generation)) {
        return;
    }
    let allow = annotations::ALLOW_PARTITION_REMOVAL;
    let wanted = consent::wanted(to, old.generation);
    let given = new.annotations.get(allow).map_or_else(String::new, |given| {
        format!(" (instead of {}: {})", violation::shown(given), consent::reason(given, to, old.generation))
    });
    let detail = format!(
        "reducing the number of partitions from {from} to {to} destroys the data of the removed ones; to agree, set the annotation {allow}: \"{wanted}\"{given}"
    );
    violations.push(Violation::forbidden("spec.partitions", detail));
}

/// Names that this set and another of its namespace would both want. `partitions_of` tells how many partitions the
/// other set of that name has. Only what `new` asks for beyond `old` is judged.
pub(super) fn collisions(
    new: &SetObject,
    old: Option<&SetObject>,
    partitions_of: &dyn Fn(&str) -> Option<i64>,
    violations: &mut Vec<Violation>,
) {
    if old.is_none()
        && let Some((other, index)) = names::service_of_partition(&new.name)
        && partitions_of(other).is_some_and(|count| index <= count)
    {
        let detail = format!("is the name of a Service of partition {index} of PartitionSet {other:?}");
        violations.push(Violation::invalid(new.name_path(), &new.name, detail));
    }
    let count = |set: &SetObject| set.spec.partitions.unwrap_or(DEFAULT_COUNT).clamp(0, MAX_PARTITIONS);
    let services = (old.map_or(0, count) + 1..=count(new)).flat_map(|index| {
        let partition = names::partition(&new.name, index);
        [(index, names::headless_service(&partition)), (index, partition)]
    });
    let taken = services.filter(|(_, service)| partitions_of(service).is_some());
    violations.extend(taken.take(MAX_COLLISIONS).map(|(index, service)| {
        let detail =
            format!("partition {index} needs a Service named {service:?}, and PartitionSet {service:?} has it");
        Violation::invalid("spec.partitions", &count(new), detail)
    }));
}

/// Bytes of a value as JSON.
fn json_size(value: &impl serde::Serialize) -> usize {
    struct Counter(usize);
    impl std::io::Write for Counter {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut counter = Counter(0);
    // The types have only string keys, and counting cannot fail.
    serde_json::to_writer(&mut counter, value).map_or(usize::MAX, |()| counter.0)
}

fn bounds(value: Option<i64>, min: i64, max: i64, path: &str, violations: &mut Vec<Violation>) {
    let Some(value) = value else { return };
    if value < min {
        violations.push(Violation::invalid(path, &value, format!("must be greater than or equal to {min}")));
    } else if value > max {
        violations.push(Violation::invalid(path, &value, format!("must be less than or equal to {max}")));
    }
}

fn at_most(count: usize, max: usize, path: &str, violations: &mut Vec<Violation>) {
    if count > max {
        violations.push(Violation::too_many(path, count, max));
    }
}

fn supported(value: Option<&str>, choices: &[&str], path: &str, violations: &mut Vec<Violation>) {
    if let Some(value) = value.filter(|value| !choices.contains(value)) {
        violations.push(Violation::not_supported(path, value, choices));
    }
}
