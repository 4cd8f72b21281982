//! Defaults: what a PartitionSet is taken to say where its user said nothing.
//!
//! Only absent fields are filled, and of two names of one field the one that was left alone follows the other. Nothing
//! that a user wrote is touched otherwise, so applying a manifest again changes nothing.

use serde_json::json;

use super::edit::Edit;
use super::violation::Violation;
use crate::api::{DEFAULT_COUNT, PartitionSetSpec, TemplateSpec};

const TEMPLATE: &str = "spec.template.spec";
const RETENTION: &str = "/spec/persistentVolumeClaimRetentionPolicy";

/// Fills what is absent in `spec`, in place, and says what it filled, parents first. `old` is the spec before an update.
///
/// # Errors
/// Conflicts between two names of one field, which no default can settle. What can be filled is filled all the same.
pub fn fill(spec: &mut PartitionSetSpec, old: Option<&PartitionSetSpec>) -> (Vec<Edit>, Vec<Violation>) {
    let mut filled = Vec::new();
    let mut violations = Vec::new();
    number(&mut spec.partitions, "/spec/partitions", &mut filled);
    number(&mut spec.max_unavailable_partitions, "/spec/maxUnavailablePartitions", &mut filled);
    size(spec, old, &mut filled, &mut violations);
    pull_policy(&mut spec.template.spec, old.map(|old| &old.template.spec), TEMPLATE, &mut filled, &mut violations);
    retention(spec, &mut filled);
    (filled, violations)
}

fn number(field: &mut Option<i64>, pointer: &'static str, filled: &mut Vec<Edit>) {
    if field.is_none() {
        *field = Some(DEFAULT_COUNT);
        filled.push(Edit::set(pointer, DEFAULT_COUNT));
    }
}

fn size(
    spec: &mut PartitionSetSpec,
    old: Option<&PartitionSetSpec>,
    filled: &mut Vec<Edit>,
    violations: &mut Vec<Violation>,
) {
    let before = old.map(|old| (old.template.spec.size, old.partition_size));
    let given = (spec.template.spec.size, spec.partition_size);
    match doubled(given, before) {
        Doubled::Same => {
            number(&mut spec.template.spec.size, "/spec/template/spec/size", filled);
            number(&mut spec.partition_size, "/spec/partitionSize", filled);
        }
        Doubled::FirstFollows(size) => {
            spec.template.spec.size = Some(size);
            filled.push(Edit::set("/spec/template/spec/size", size));
        }
        Doubled::SecondFollows(size) => {
            spec.partition_size = Some(size);
            filled.push(Edit::set("/spec/partitionSize", size));
        }
        Doubled::Conflict { first, second } => violations.push(Violation::invalid(
            "spec.partitionSize",
            &second,
            format!("must be equal to {TEMPLATE}.size ({first}), of which it is another name: set one of the two"),
        )),
    }
}

fn pull_policy(
    spec: &mut TemplateSpec,
    old: Option<&TemplateSpec>,
    path: &str,
    filled: &mut Vec<Edit>,
    violations: &mut Vec<Violation>,
) {
    let before = old.map(|old| (old.image_pull_policy.clone(), old.pull_policy.clone()));
    match doubled((spec.image_pull_policy.clone(), spec.pull_policy.clone()), before) {
        Doubled::Same => {}
        Doubled::FirstFollows(policy) => {
            filled.push(Edit::set("/spec/template/spec/imagePullPolicy", policy.as_str()));
            spec.image_pull_policy = Some(policy);
        }
        Doubled::SecondFollows(policy) => {
            filled.push(Edit::set("/spec/template/spec/pullPolicy", policy.as_str()));
            spec.pull_policy = Some(policy);
        }
        Doubled::Conflict { first, second } => violations.push(Violation::invalid(
            format!("{path}.pullPolicy"),
            &second,
            format!(
                "must be equal to {path}.imagePullPolicy ({first}), of which it is another name: set one of the two"
            ),
        )),
    }
}

fn retention(spec: &mut PartitionSetSpec, filled: &mut Vec<Edit>) {
    const RETAIN: &str = "Retain";
    let given = spec.persistent_volume_claim_retention_policy.is_some();
    let policy = spec.persistent_volume_claim_retention_policy.get_or_insert_default();
    let absent = (policy.when_deleted.is_none(), policy.when_scaled.is_none());
    policy.when_deleted.get_or_insert_with(|| RETAIN.to_owned());
    policy.when_scaled.get_or_insert_with(|| RETAIN.to_owned());
    if !given {
        filled.push(Edit::set(RETENTION, json!({ "whenDeleted": RETAIN, "whenScaled": RETAIN })));
        return;
    }
    if absent.0 {
        filled.push(Edit::set("/spec/persistentVolumeClaimRetentionPolicy/whenDeleted", RETAIN));
    }
    if absent.1 {
        filled.push(Edit::set("/spec/persistentVolumeClaimRetentionPolicy/whenScaled", RETAIN));
    }
}

/// What becomes of a field that has two names.
#[derive(Debug, PartialEq)]
enum Doubled<T> {
    /// Both say the same, or nothing.
    Same,
    /// The first takes the value of the second.
    FirstFollows(T),
    /// The second takes the value of the first.
    SecondFollows(T),
    /// Both were given, and differ.
    Conflict { first: T, second: T },
}

/// Kubernetes' rule for a field that has two names: the one that is absent, or that an update left alone, follows.
fn doubled<T: Clone + PartialEq>(given: (Option<T>, Option<T>), old: Option<(Option<T>, Option<T>)>) -> Doubled<T> {
    match given {
        (None, None) => Doubled::Same,
        (None, Some(second)) => Doubled::FirstFollows(second),
        (Some(first), None) => Doubled::SecondFollows(first),
        (Some(first), Some(second)) if first == second => Doubled::Same,
        (Some(first), Some(second)) => {
            let (old_first, old_second) = old.unwrap_or_default();
            // A name that was absent before was written by somebody now, as was one whose value changed.
            let wrote_first = old_first.as_ref() != Some(&first);
            let wrote_second = old_second.as_ref() != Some(&second);
            match (wrote_first, wrote_second) {
                (true, false) => Doubled::SecondFollows(first),
                (false, true) => Doubled::FirstFollows(second),
                _ => Doubled::Conflict { first, second },
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(size: Option<i64>, alias: Option<i64>) -> PartitionSetSpec {
        let mut spec = PartitionSetSpec { partition_size: alias, ..Default::default() };
        spec.template.spec.size = size;
        spec
    }

    #[test]
    fn everything_absent_is_filled() {
        let mut spec = set(None, None);
        let (filled, violations) = fill(&mut spec, None);
        assert!(violations.is_empty());
        let filled: Vec<_> =
            filled.iter().map(|f| (&*f.pointer, f.value.clone().unwrap_or_default().to_string())).collect();
        let one = "1".to_owned();
        assert_eq!(
            filled,
            [
                ("/spec/partitions", one.clone()),
                ("/spec/maxUnavailablePartitions", one.clone()),
                ("/spec/template/spec/size", one.clone()),
                ("/spec/partitionSize", one),
                (RETENTION, r#"{"whenDeleted":"Retain","whenScaled":"Retain"}"#.to_owned()),
            ]
        );
    }

    #[test]
    fn either_name_of_the_size_fills_the_other() {
        for given in [set(Some(3), None), set(None, Some(3)), set(Some(3), Some(3))] {
            let mut spec = given;
            fill(&mut spec, None);
            assert_eq!((spec.template.spec.size, spec.partition_size), (Some(3), Some(3)));
        }
    }

    #[test]
    fn on_update_the_name_that_was_left_alone_follows() {
        let old = set(Some(3), Some(3));
        for (given, size) in [(set(Some(5), Some(3)), 5), (set(Some(3), Some(5)), 5), (set(None, Some(5)), 5)] {
            let mut spec = given;
            let (_, violations) = fill(&mut spec, Some(&old));
            assert!(violations.is_empty());
            assert_eq!((spec.template.spec.size, spec.partition_size), (Some(size), Some(size)));
        }
    }

    #[test]
    fn two_names_with_two_values_are_a_conflict() {
        for old in [None, Some(set(Some(2), Some(2)))] {
            let (_, violations) = fill(&mut set(Some(3), Some(5)), old.as_ref());
            assert_eq!(violations.len(), 1, "{violations:?}");
        }
    }

    #[test]
    fn the_pull_policy_follows_its_alias_and_has_no_default() {
        let mut spec = set(None, None);
        spec.template.spec.pull_policy = Some("Never".to_owned());
        fill(&mut spec, None);
        assert_eq!(spec.template.spec.image_pull_policy.as_deref(), Some("Never"));
        let mut spec = set(None, None);
        fill(&mut spec, None);
        assert_eq!(spec.template.spec.image_pull_policy, None);
    }

    #[test]
    fn half_a_retention_policy_is_completed() {
        let mut spec = set(Some(1), Some(1));
        spec.persistent_volume_claim_retention_policy =
            Some(crate::api::ClaimRetentionPolicy { when_deleted: Some("Delete".to_owned()), when_scaled: None });
        let (filled, _) = fill(&mut spec, None);
        assert_eq!(filled.last().unwrap().pointer, "/spec/persistentVolumeClaimRetentionPolicy/whenScaled");
        let policy = spec.persistent_volume_claim_retention_policy.unwrap();
        assert_eq!((policy.when_deleted.as_deref(), policy.when_scaled.as_deref()), (Some("Delete"), Some("Retain")));
    }
}
