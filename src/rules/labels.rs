//! Syntax of names, labels and annotations, as `k8s.io/apimachinery/pkg/util/validation` has it.

use std::collections::BTreeMap;

use super::violation::Violation;

const MAX_NAME: usize = 63;
const MAX_SUBDOMAIN: usize = 253;
/// Most bytes that all annotations of a template may have together: what Kubernetes takes of an object, less what the
/// controller's own annotations of Partitions and pods need.
const MAX_ANNOTATIONS: usize = 256 * 1024 - 4 * 1024;

/// Whether `name` is a DNS-1035 label of at most 63 characters: what a Service's name has to be.
pub(crate) fn is_dns_1035_label(name: &str) -> bool {
    name.len() <= MAX_NAME && name.starts_with(|c: char| c.is_ascii_lowercase()) && is_lower_label(name)
}

/// Whether `name` is a DNS-1123 subdomain: what most objects' names have to be.
pub(crate) fn is_dns_1123_subdomain(name: &str) -> bool {
    name.len() <= MAX_SUBDOMAIN && name.split('.').all(is_lower_label)
}

fn is_lower_label(label: &str) -> bool {
    let inside = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    label.starts_with(inside) && label.ends_with(inside) && label.chars().all(|c| inside(c) || c == '-')
}

fn is_qualified_name(name: &str) -> bool {
    match name.split_once('/') {
        Some((prefix, name)) => is_dns_1123_subdomain(prefix) && is_name_part(name),
        None => is_name_part(name),
    }
}

fn is_name_part(name: &str) -> bool {
    let outer = |c: char| c.is_ascii_alphanumeric();
    let inner = |c: char| outer(c) || matches!(c, '-' | '_' | '.');
    name.len() <= MAX_NAME && name.starts_with(outer) && name.ends_with(outer) && name.chars().all(inner)
}

/// Violations of a map of labels.
pub(super) fn labels(labels: &BTreeMap<String, String>, path: &str, violations: &mut Vec<Violation>) {
    for (key, value) in labels {
        qualified_name(key, path, violations);
        if !value.is_empty() && !is_name_part(value) {
            let detail = "a label value must have at most 63 letters, digits, '-', '_' or '.', and start and end with a letter or digit";
            violations.push(Violation::invalid(format!("{path}[{key}]"), value, detail));
        }
    }
}

/// Violations of a map of annotations.
pub(super) fn annotations(annotations: &BTreeMap<String, String>, path: &str, violations: &mut Vec<Violation>) {
    for key in annotations.keys() {
        // Annotation keys may have upper case letters in their prefix.
        qualified_name(&key.to_ascii_lowercase(), path, violations);
    }
    if annotations.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>() > MAX_ANNOTATIONS {
        violations.push(Violation::too_long(path, MAX_ANNOTATIONS));
    }
}

fn qualified_name(key: &str, path: &str, violations: &mut Vec<Violation>) {
    if !is_qualified_name(key) {
        let detail = "a key must be a name of at most 63 letters, digits, '-', '_' or '.', with an optional DNS prefix and '/' before it";
        violations.push(Violation::invalid(path, &key, detail));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dns_labels_are_those_of_kubernetes() {
        for name in ["a", "raft", "a-1", "a1-b"] {
            assert!(is_dns_1035_label(name), "{name}");
        }
        for name in ["", "1a", "-a", "a-", "A", "a.b", "a_b", "é", &"a".repeat(64)] {
            assert!(!is_dns_1035_label(name), "{name}");
        }
    }

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
        for (key, value) in [("", "x"), ("a/b/c", "x"), ("Example.com/x", "x"), ("a", "-x"), ("a", &"v".repeat(64))] {
            assert_eq!(judge(key, value), 1, "{key}={value}");
        }
    }
}
