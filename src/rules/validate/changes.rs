//! What an update may not change.

use super::template::IP_FAMILIES;
use crate::api::labels::annotations;
use crate::api::{DEFAULT_COUNT, MAX_SIZE, Protocol, TemplateSpec};
use crate::rules::consent::{self, Consent};
use crate::rules::quantity::Quantity;
use crate::rules::read::SetObject;
use crate::rules::violation::{self, Violation};

const IMMUTABLE: &str = "field is immutable";

/// Fields of a template, or of a Partition's spec, that cannot change. Only well-formed values are compared.
pub(in crate::rules) fn template_change(
    new: &TemplateSpec,
    old: &TemplateSpec,
    path: &str,
    violations: &mut Vec<Violation>,
) {
    if Protocol::parse(&new.protocol).is_some() && new.protocol != old.protocol {
        violations.push(Violation::invalid(format!("{path}.protocol"), &new.protocol, IMMUTABLE));
    }
    let size = |spec: &TemplateSpec| spec.size.unwrap_or(DEFAULT_COUNT);
    let fixed = Protocol::parse(&new.protocol).filter(|protocol| !protocol.facts().is_resizable);
    if let Some(protocol) = fixed
        && new.protocol == old.protocol
        && size(new) != size(old)
        && (1..=MAX_SIZE).contains(&size(new))
    {
        let detail = format!(
            "{IMMUTABLE} with the {} protocol, whose members are configured once: create another set",
            protocol.as_str()
        );
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
        (Some(Some(new)), Some(Some(old))) => new.nanos() == old.nanos(),
        (None, None) | (Some(None), _) => true,
        _ => false,
    };
    if !same {
        violations.push(Violation::forbidden(format!("{path}.storageSize"), &detail));
    }
}

/// Fewer partitions require an annotation with the user's consent to the loss of their data: for this count, and at the
/// generation of `old`.
pub(in crate::rules) fn removal(new: &SetObject, old: &SetObject, violations: &mut Vec<Violation>) {
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
