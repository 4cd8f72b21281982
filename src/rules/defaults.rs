//! Defaults: the values of fields that a PartitionSet leaves out.
//!
//! Only absent fields are filled, and of two names of one field the one that was left alone follows the other. Nothing
//! that a user wrote is changed otherwise, so applying a manifest again changes nothing.

use std::fmt::{Debug, Display};

use serde_json::{Value, json};

use super::edit::Edit;
use super::violation::Violation;
use crate::api::{DEFAULT_COUNT, PartitionSetSpec};

const RETENTION: &str = "/spec/persistentVolumeClaimRetentionPolicy";
/// Pointers of fields that have two names, the alias second.
const SIZE: [&str; 2] = ["/spec/template/spec/size", "/spec/partitionSize"];
const PULL_POLICY: [&str; 2] = ["/spec/template/spec/imagePullPolicy", "/spec/template/spec/pullPolicy"];

/// Fills what is absent in `spec`, in place, and returns what it filled, parents first. `old` is the spec before an update.
///
/// The violations are conflicts between two names of one field, which no default can settle. What can be filled is filled
/// all the same.
pub fn fill(spec: &mut PartitionSetSpec, old: Option<&PartitionSetSpec>) -> (Vec<Edit>, Vec<Violation>) {
    let mut filled = Vec::new();
    let mut violations = Vec::new();
    number(&mut spec.partitions, "/spec/partitions", &mut filled);
    number(&mut spec.max_unavailable_partitions, "/spec/maxUnavailablePartitions", &mut filled);

    let template = &mut spec.template.spec;
    let old_template = old.map(|old| &old.template.spec);
    let before = old.map(|old| [&old.template.spec.size, &old.partition_size]);
    violations.extend(aliases([&mut template.size, &mut spec.partition_size], before, SIZE, &mut filled));
    number(&mut template.size, SIZE[0], &mut filled);
    number(&mut spec.partition_size, SIZE[1], &mut filled);

    let before = old_template.map(|old| [&old.image_pull_policy, &old.pull_policy]);
    let policies = [&mut template.image_pull_policy, &mut template.pull_policy];
    violations.extend(aliases(policies, before, PULL_POLICY, &mut filled));
    retention(spec, &mut filled);
    (filled, violations)
}

fn number(field: &mut Option<i64>, pointer: &'static str, filled: &mut Vec<Edit>) {
    if field.is_none() {
        *field = Some(DEFAULT_COUNT);
        filled.push(Edit::set(pointer, DEFAULT_COUNT));
    }
}

/// Kubernetes' rule for a field that has two names: the one that is absent, or that an update left alone, follows the
/// other.
fn aliases<T: Clone + PartialEq + Debug + Display + Into<Value>>(
    [first, second]: [&mut Option<T>; 2],
    old: Option<[&Option<T>; 2]>,
    pointers: [&'static str; 2],
    filled: &mut Vec<Edit>,
) -> Option<Violation> {
    if first == second {
        return None;
    }
    // A name that was absent before is written by the update, as is one whose value changed.
    let is_written = |new: &Option<T>, old: Option<&Option<T>>| new.is_some() && old != Some(new);
    let written = (is_written(first, old.map(|[first, _]| first)), is_written(second, old.map(|[_, second]| second)));
    let (from, to, pointer) = match (&first, &second, written) {
        (_, None, _) | (Some(_), _, (true, false)) => (first, second, pointers[1]),
        (None, ..) | (.., (false, true)) => (second, first, pointers[0]),
        (Some(value), Some(alias), _) => {
            let [field, path] = pointers.map(|pointer| pointer.trim_start_matches('/').replace('/', "."));
            let detail = format!("must be equal to {field} ({value}), of which it is another name: set one of the two");
            return Some(Violation::invalid(path, alias, detail));
        }
    };
    to.clone_from(from);
    filled.extend(from.clone().map(|value| Edit::set(pointer, value)));
    None
}

fn retention(spec: &mut PartitionSetSpec, filled: &mut Vec<Edit>) {
    const RETAIN: &str = "Retain";
    let given = spec.persistent_volume_claim_retention_policy.is_some();
    if !given {
        filled.push(Edit::set(RETENTION, json!({ "whenDeleted": RETAIN, "whenScaled": RETAIN })));
    }
    let policy = spec.persistent_volume_claim_retention_policy.get_or_insert_default();
    for (field, action) in [("whenDeleted", &mut policy.when_deleted), ("whenScaled", &mut policy.when_scaled)] {
        if action.is_none() {
            *action = Some(RETAIN.to_owned());
            filled.extend(given.then(|| Edit::set(format!("{RETENTION}/{field}"), RETAIN)));
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
