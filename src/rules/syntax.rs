//! Syntax of names, keys and values, with the words that Kubernetes has for what is wrong.

const MAX_LABEL: usize = 63;
const MAX_SUBDOMAIN: usize = 253;
const LABEL: &str = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";
const NAME: &str = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]";
const NAME_EXAMPLES: [&str; 3] = ["MyName", "my.name", "123-abc"];
const NAME_RULE: &str =
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character";

/// Whether `name` is a DNS-1035 label of at most 63 characters: what a Service's name has to be.
pub(crate) fn is_dns_1035_label(name: &str) -> bool {
    name.len() <= MAX_LABEL && name.starts_with(|c: char| c.is_ascii_lowercase()) && is_lower_label(name)
}

fn is_lower_label(label: &str) -> bool {
    let outer = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    encloses(label, outer, |c| outer(c) || c == '-')
}

fn is_name(name: &str) -> bool {
    let outer = |c: char| c.is_ascii_alphanumeric();
    encloses(name, outer, |c| outer(c) || matches!(c, '-' | '_' | '.'))
}

/// Whether `name` is a DNS-1123 subdomain: what most objects' names have to be.
pub(crate) fn is_dns_1123_subdomain(name: &str) -> bool {
    dns_1123_subdomain(name).is_empty()
}

/// Whether a text is not empty, has only `inner` characters, and begins and ends with an `outer` one.
pub(super) fn encloses(text: &str, outer: impl Fn(char) -> bool, inner: impl Fn(char) -> bool) -> bool {
    text.starts_with(&outer) && text.ends_with(&outer) && text.chars().all(inner)
}

fn too_long(max: usize, unit: &str) -> String {
    format!("must be no more than {max} {unit}")
}

fn by_regex(rule: &str, regex: &str, examples: &[&str]) -> String {
    let examples: Vec<String> = examples.iter().map(|example| format!("'{example}', ")).collect();
    format!("{rule} (e.g. {}regex used for validation is '{regex}')", examples.join(" or "))
}

/// What is wrong with a text of at most `max` `unit`s, of which `malformed` says what is wrong with its form, if anything.
fn bounded(text: &str, max: usize, unit: &str, malformed: Option<String>) -> Vec<String> {
    (text.len() > max).then(|| too_long(max, unit)).into_iter().chain(malformed).collect()
}

/// What is wrong with a DNS-1123 subdomain: most objects' names have to be one.
pub(super) fn dns_1123_subdomain(name: &str) -> Vec<String> {
    const RULE: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', \
                        and must start and end with an alphanumeric character";
    let malformed = !name.split('.').all(is_lower_label);
    let malformed = malformed.then(|| by_regex(RULE, &format!("{LABEL}(\\.{LABEL})*"), &["example.com"]));
    bounded(name, MAX_SUBDOMAIN, "characters", malformed)
}

/// What is wrong with a DNS-1123 label, for instance a namespace's name.
pub(super) fn dns_1123_label(name: &str) -> Vec<String> {
    const RULE: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must \
                        start and end with an alphanumeric character";
    let malformed = (!is_lower_label(name)).then(|| {
        let has_dots = name.split('.').all(is_lower_label);
        if has_dots { "must not contain dots".to_owned() } else { by_regex(RULE, LABEL, &["my-name", "123-abc"]) }
    });
    bounded(name, MAX_LABEL, "characters", malformed)
}

/// What is wrong with a key of a label: a name that may have a DNS prefix.
pub(super) fn qualified_name(key: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut parts = key.split('/');
    let name = match (parts.next(), parts.next(), parts.next()) {
        (Some(name), None, _) => name,
        (Some(prefix), Some(name), None) => {
            if prefix.is_empty() {
                wrong.push("prefix part must be non-empty".to_owned());
            }
            let found = if prefix.is_empty() { Vec::new() } else { dns_1123_subdomain(prefix) };
            wrong.extend(found.into_iter().map(|words| format!("prefix part {words}")));
            name
        }
        _ => {
            let rule = by_regex(NAME_RULE, NAME, &NAME_EXAMPLES);
            return vec![format!(
                "a valid label key {rule} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
            )];
        }
    };
    if name.is_empty() {
        wrong.push("name part must be non-empty".to_owned());
    } else if name.len() > MAX_LABEL {
        wrong.push(format!("name part {}", too_long(MAX_LABEL, "bytes")));
    }
    if !is_name(name) {
        wrong.push(format!("name part {}", by_regex(NAME_RULE, NAME, &NAME_EXAMPLES)));
    }
    wrong
}

/// What is wrong with the value of a label.
pub(super) fn label_value(value: &str) -> Vec<String> {
    const RULE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', \
                        and must start and end with an alphanumeric character";
    let malformed = !value.is_empty() && !is_name(value);
    let malformed = malformed.then(|| by_regex(RULE, &format!("({NAME})?"), &["MyValue", "my_value", "12345"]));
    bounded(value, MAX_LABEL, "bytes", malformed)
}

/// What is wrong with a key of a ConfigMap or a Secret.
pub(super) fn config_map_key(key: &str) -> Vec<String> {
    const RULE: &str = "a valid config key must consist of alphanumeric characters, '-', '_' or '.'";
    let malformed = key.is_empty() || !key.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
    let malformed = malformed.then(|| by_regex(RULE, "[-._a-zA-Z0-9]+", &["key.name", "KEY_NAME", "key-name"]));
    let mut wrong = bounded(key, MAX_SUBDOMAIN, "characters", malformed);
    match key {
        "." => wrong.push("must not be '.'".to_owned()),
        ".." => wrong.push("must not be '..'".to_owned()),
        key if key.starts_with("..") => wrong.push("must not start with '..'".to_owned()),
        _ => {}
    }
    wrong
}

/// What is wrong with a path below a directory of the node.
pub(super) fn local_path(path: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if path.starts_with('/') {
        wrong.push("must be a relative path".to_owned());
    }
    if path.split('/').any(|part| part == "..") {
        wrong.push("must not contain '..'".to_owned());
    }
    wrong
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
    fn each_syntax_has_its_words() {
        let cases: [(&[String], &[&str]); 10] = [
            (&qualified_name("example.com/Tier_1"), &[]),
            (&qualified_name("a/b/c"), &["a valid label key must consist"]),
            (&qualified_name("/x"), &["prefix part must be non-empty"]),
            (&qualified_name("Example.com/x"), &["prefix part a lowercase RFC 1123 subdomain"]),
            (&qualified_name(""), &["name part must be non-empty", "name part must consist"]),
            (&label_value(&"v".repeat(64)), &["must be no more than 63 bytes"]),
            (&config_map_key(".."), &["must not be '..'"]),
            (&config_map_key("a b"), &["a valid config key"]),
            (&dns_1123_label("a.b"), &["must not contain dots"]),
            (&local_path("/a/../b"), &["must be a relative path", "must not contain '..'"]),
        ];
        for (found, wanted) in cases {
            let same =
                found.len() == wanted.len() && found.iter().zip(wanted).all(|(words, start)| words.starts_with(start));
            assert!(same, "{found:?} instead of {wanted:?}");
        }
    }
}
