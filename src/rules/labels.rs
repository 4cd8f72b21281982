//! Labels and annotations.

use std::collections::BTreeMap;

use super::report::Report;
use super::syntax;

/// Most bytes that Kubernetes accepts in all annotations of an object together.
pub(super) const MAX_ANNOTATIONS: usize = 256 * 1024;

/// Reports on a map of labels.
pub(super) fn labels(labels: &BTreeMap<String, String>, report: &mut Report<'_>) {
    for (key, value) in labels {
        report.each(key, syntax::qualified_name(key));
        report.item(key).each(value, syntax::label_value(value));
    }
}

/// Reports on a map of annotations, which have at most `max` bytes together.
pub(super) fn annotations(annotations: &BTreeMap<String, String>, max: usize, report: &mut Report<'_>) {
    for key in annotations.keys() {
        // Annotation keys may have upper case letters in their prefix.
        let key = key.to_ascii_lowercase();
        report.each(&key, syntax::qualified_name(&key));
    }
    if annotations.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>() > max {
        report.too_long(max);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_valid_by_key_and_value() {
        let count = |key: &str, value: &str| {
            let (missing, mut violations) = (std::collections::HashSet::default(), Vec::new());
            let map = BTreeMap::from([(key.to_owned(), value.to_owned())]);
            labels(&map, &mut Report::new("l", &missing, &mut violations));
            violations.len()
        };
        for (key, value) in [("a", ""), ("example.com/Tier_1", "x.Y-z_0"), ("a", &"v".repeat(63))] {
            assert_eq!(count(key, value), 0, "{key}={value}");
        }
        for (key, value) in [("a/b/c", "x"), ("Example.com/x", "x"), ("a", "-x"), ("a", &"v".repeat(64))] {
            assert_eq!(count(key, value), 1, "{key}={value}");
        }
    }
}
