//! Labels and annotations.

use std::collections::BTreeMap;

use super::syntax;
use super::violation::Violation;

/// Violations of a map of labels.
pub(super) fn labels(labels: &BTreeMap<String, String>, path: &str, violations: &mut Vec<Violation>) {
    for (key, value) in labels {
        qualified_name(key, path, violations);
        for wrong in syntax::label_value(value) {
            violations.push(Violation::invalid(format!("{path}[{key}]"), value, wrong));
        }
    }
}

/// Most bytes that Kubernetes takes in all annotations of an object together.
pub(super) const MAX_ANNOTATIONS: usize = 256 * 1024;

/// Violations of a map of annotations that may have so many bytes, all of them together.
pub(super) fn annotations(
    annotations: &BTreeMap<String, String>,
    max: usize,
    path: &str,
    violations: &mut Vec<Violation>,
) {
    for key in annotations.keys() {
        // Annotation keys may have upper case letters in their prefix.
        qualified_name(&key.to_ascii_lowercase(), path, violations);
    }
    if annotations.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>() > max {
        violations.push(Violation::too_long(path, max));
    }
}

fn qualified_name(key: &str, path: &str, violations: &mut Vec<Violation>) {
    for wrong in syntax::qualified_name(key) {
        violations.push(Violation::invalid(path, &key, wrong));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_judged_by_key_and_value() {
        let judge = |key: &str, value: &str| {
            let mut violations = Vec::new();
            labels(&BTreeMap::from([(key.to_owned(), value.to_owned())]), "l", &mut violations);
            violations.len()
        };
        for (key, value) in [("a", ""), ("example.com/Tier_1", "x.Y-z_0"), ("a", &"v".repeat(63))] {
            assert_eq!(judge(key, value), 0, "{key}={value}");
        }
        for (key, value) in [("a/b/c", "x"), ("Example.com/x", "x"), ("a", "-x"), ("a", &"v".repeat(64))] {
            assert_eq!(judge(key, value), 1, "{key}={value}");
        }
    }
}
