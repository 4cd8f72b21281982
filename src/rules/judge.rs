//! The verdicts on sets and partitions, one function for each request.

use serde_json::Value;

use super::edit::Edit;
use super::fields::Fields;
use super::normal::normalise;
use super::read::{self, SetObject};
use super::violation::Violation;
use super::{defaults, validate, warnings};
use crate::api::{PartitionSpec, TemplateSpec};

/// How many partitions the PartitionSet of a name has in the namespace in question, if there is such a set.
pub type PartitionsOf<'a> = &'a dyn Fn(&str) -> Option<i64>;

/// The verdict on a PartitionSet.
#[derive(Debug, Default)]
pub struct SetVerdict {
    /// The set with its defaults.
    pub set: SetObject,
    /// The edits of admission, in order: absent fields are filled in, `null`s are removed, and numbers become quantities.
    pub edits: Vec<Edit>,
    /// Every violation; none if the set is valid.
    pub violations: Vec<Violation>,
    /// What is valid and unwise.
    pub warnings: Vec<String>,
}

/// Judges a PartitionSet as JSON that is created, or updated from `old`.
///
/// An update is not refused for what was wrong before and is unchanged. A set that is being deleted is neither defaulted
/// nor validated, or its finalizers could never be removed.
#[must_use]
pub fn partition_set(new: &Value, old: Option<&Value>, partitions_of: PartitionsOf<'_>) -> SetVerdict {
    let (object, mut edits) = normalise(new);
    let mut unreadable = Vec::new();
    let new = SetObject::read(&object, &mut unreadable);
    let old = old.map(|old| {
        let mut unreadable = Vec::new();
        (SetObject::read(old, &mut unreadable), unreadable)
    });
    let mut verdict = set_object(new, unreadable, old, partitions_of);
    if !verdict.set.deleting {
        edits.append(&mut verdict.edits);
        verdict.edits = edits;
    }
    verdict
}

/// Judges a change of the number of partitions by the `scale` subresource, of which `old` is what it scales.
#[must_use]
pub fn scale(old: &SetObject, partitions: i64, partitions_of: PartitionsOf<'_>) -> SetVerdict {
    let mut new = old.clone();
    new.spec.partitions = Some(partitions);
    set_object(new, Vec::new(), Some((old.clone(), Vec::new())), partitions_of)
}

/// Everything wrong with a set that is stored already, read by a reconciler; its defaults are filled in place.
#[must_use]
pub fn stored(set: &mut SetObject) -> Vec<Violation> {
    let (_, mut violations) = defaults::fill(&mut set.spec, None);
    validate::set(set, &mut violations);
    violations
}

fn set_object(
    mut new: SetObject,
    unreadable: Vec<Violation>,
    old: Option<(SetObject, Vec<Violation>)>,
    partitions_of: PartitionsOf<'_>,
) -> SetVerdict {
    if new.deleting {
        return SetVerdict { set: new, ..SetVerdict::default() };
    }
    let mut violations = unreadable;
    let (filled, conflicts) = defaults::fill(&mut new.spec, old.as_ref().map(|(old, _)| &old.spec));
    violations.extend(conflicts);
    validate::set(&new, &mut violations);
    let old = old.map(|(mut old, mut before)| {
        before.extend(stored(&mut old));
        violations.retain(|violation| !before.iter().any(|known| known.same_as(violation)));
        old
    });
    if let Some(old) = &old {
        validate::template_change(
            &new.spec.template.spec,
            &old.spec.template.spec,
            "spec.template.spec",
            &mut violations,
        );
        validate::removal(&new, old, &mut violations);
    }
    validate::collisions(&new, old.as_ref(), partitions_of, &mut violations);
    let changed = old.as_ref().is_none_or(|old| old.spec != new.spec || old.annotations != new.annotations);
    let warnings = if changed { warnings::set(&new, old.as_ref()) } else { Vec::new() };
    SetVerdict { set: new, edits: filled, violations, warnings }
}

/// Judges the spec of a Partition as JSON that is created, or updated from `old`.
#[must_use]
pub fn partition(new: &Value, old: Option<&Value>) -> Vec<Violation> {
    let (new, mut violations) = partition_spec(new);
    let Some(old) = old else { return violations };
    let (old, before) = partition_spec(old);
    violations.retain(|violation| !before.iter().any(|known| known.same_as(violation)));
    validate::template_change(&new, &old, "spec", &mut violations);
    violations
}

/// Everything wrong with the spec of a Partition that is stored already.
#[must_use]
pub fn stored_partition(spec: &PartitionSpec) -> Vec<Violation> {
    let mut violations = Vec::new();
    validate::partition(&spec.template, spec.persistent_volume_claim_retention_policy.as_ref(), &mut violations);
    violations
}

fn partition_spec(object: &Value) -> (TemplateSpec, Vec<Violation>) {
    let mut violations = Vec::new();
    let Some(fields) = Fields::root(object).required_object("spec", &mut violations) else {
        return (TemplateSpec::default(), violations);
    };
    let spec = read::template_spec(&fields, &mut violations);
    let policy = read::claim_retention_policy(&fields, &mut violations);
    validate::partition(&spec, policy.as_ref(), &mut violations);
    (spec, violations)
}

#[cfg(test)]
#[path = "judge_change_tests.rs"]
mod change_tests;
#[cfg(test)]
#[path = "judge_random_tests.rs"]
mod random_tests;
#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
