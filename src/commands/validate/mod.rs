//! The `validate` command: validates files as `kubectl create` would, without a cluster.

mod documents;
mod scalar;
mod strict;

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use kube::Resource;
use serde_json::{Map, Value};

use self::documents::Document;
use crate::api::PartitionSet;
use crate::rules;

/// Why a file could not be validated.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("reading {file}")]
    Read {
        /// Name of the file.
        file: String,
        /// Why.
        source: io::Error,
    },
    /// The file is no YAML, or none that kubectl accepts.
    #[error("{file} is no YAML that kubectl accepts: {message}")]
    Yaml {
        /// Name of the file.
        file: String,
        /// Why.
        message: String,
    },
}

/// Options of `validate`.
#[derive(Args, Debug)]
pub struct Validate {
    /// Files with PartitionSets; `-` is standard input.
    #[arg(required = true)]
    pub files: Vec<PathBuf>,
}

/// Validates the files and prints the verdicts. The exit code is 1 if a set is invalid.
///
/// # Errors
/// [`Error`] if a file cannot be read as YAML.
pub fn run(options: &Validate) -> Result<ExitCode, Error> {
    let mut invalid = 0;
    for file in &options.files {
        invalid += validate(file)?;
    }
    Ok(if invalid == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Validates every PartitionSet in a file as if it were created; other documents are skipped. Prints the verdicts and
/// returns the number of invalid sets.
fn validate(path: &Path) -> Result<usize, Error> {
    let file = path.display().to_string();
    let mut text = String::new();
    let read = if file == "-" {
        io::stdin().read_to_string(&mut text).map(drop)
    } else {
        std::fs::read_to_string(path).map(|content| text = content)
    };
    read.map_err(|source| Error::Read { file: file.clone(), source })?;
    let verdicts = validate_text(&file, &text).map_err(|message| Error::Yaml { file: file.clone(), message })?;
    for verdict in &verdicts {
        println!("{}", verdict.lines.join("\n"));
    }
    if verdicts.is_empty() {
        println!("{file}: there is no PartitionSet in it");
    }
    Ok(verdicts.iter().filter(|verdict| !verdict.valid).count())
}

/// The verdict on one document.
struct Verdict {
    valid: bool,
    /// What is printed.
    lines: Vec<String>,
}

fn validate_text(file: &str, text: &str) -> Result<Vec<Verdict>, String> {
    let mut verdicts = Vec::new();
    for Document { value, repeated } in documents::read(text)? {
        let mut objects = Vec::new();
        expand(value, &mut objects);
        let before = verdicts.len();
        verdicts.extend(objects.iter().filter_map(|object| validate_object(file, object)));
        if let Some(verdict) = verdicts.get_mut(before) {
            let warnings = repeated.iter().map(|(key, line)| {
                format!("Warning: {file}: duplicate key {key:?} in line {line}: its last value is used")
            });
            verdict.lines.splice(0..0, warnings);
        }
    }
    Ok(verdicts)
}

/// The objects of a document, which may be a list of them.
fn expand(document: Value, objects: &mut Vec<Value>) {
    match document {
        Value::Object(mut list) if list.get("items").is_some_and(Value::is_array) => {
            let items = list.remove("items").unwrap_or_default();
            for item in items.as_array().into_iter().flatten() {
                match item {
                    // Empty documents are skipped; empty items are not.
                    Value::Null => objects.push(Value::Null),
                    item => expand(named_by(&list, item.clone()), objects),
                }
            }
        }
        Value::Null => {}
        other => objects.push(other),
    }
}

/// An item of a list, with the kind of the list if it has none: a `PartitionSetList` has sets.
fn named_by(list: &Map<String, Value>, mut item: Value) -> Value {
    if let (Value::Object(fields), Some(kind)) = (&mut item, list.get("kind").and_then(Value::as_str))
        && !fields.contains_key("kind")
        && !fields.contains_key("apiVersion")
    {
        fields.insert("kind".to_owned(), kind.strip_suffix("List").unwrap_or(kind).into());
        fields.insert("apiVersion".to_owned(), list.get("apiVersion").cloned().unwrap_or_default());
    }
    item
}

/// The verdict on an object; none if it is of another API group.
fn validate_object(file: &str, object: &Value) -> Option<Verdict> {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let (version, kind) = (text("/apiVersion"), text("/kind"));
    let wrong = if version.is_empty() || kind.is_empty() {
        vec!["is no object of Kubernetes: it has no apiVersion, or no kind".to_owned()]
    } else if version.split('/').next() != Some(PartitionSet::group(&()).as_ref()) || kind == "Partition" {
        return None;
    } else if version != PartitionSet::api_version(&()) || kind != PartitionSet::kind(&()) {
        vec![format!("no matches for kind {kind:?} in version {version:?}")]
    } else {
        return Some(validate_set(file, object));
    };
    Some(verdict(&format!("{file}: document"), &[], &wrong))
}

fn validate_set(file: &str, set: &Value) -> Verdict {
    let verdict_on_set = rules::partition_set(set, None, &|_| None);
    let unknown = strict::unknown_fields(set).into_iter().map(|path| format!("unknown field {path:?}"));
    let violations = rules::metadata(set).into_iter().chain(verdict_on_set.violations);
    let wrong: Vec<String> = unknown.chain(violations.map(|violation| violation.to_string())).collect();
    verdict(&format!("{file}: PartitionSet {:?}", verdict_on_set.set.name), &verdict_on_set.warnings, &wrong)
}

fn verdict(subject: &str, warnings: &[String], wrong: &[String]) -> Verdict {
    let mut lines: Vec<String> = warnings.iter().map(|warning| format!("Warning: {warning}")).collect();
    let valid = wrong.is_empty();
    lines.push(format!("{subject} is {}", if valid { "valid" } else { "invalid:" }));
    lines.extend(wrong.iter().map(|wrong| format!("* {wrong}")));
    Verdict { valid, lines }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        validate_text("f", text).unwrap().into_iter().map(|verdict| verdict.lines.join("\n")).collect()
    }

    fn of(spec: &str) -> String {
        format!("apiVersion: k8s.atomix.io/v1alpha1\nkind: PartitionSet\nmetadata: {{name: a}}\nspec: {spec}\n")
    }

    #[test]
    fn numbers_are_read_as_kubectl_reads_them() {
        for size in ["3", "3.0", "3e0", "03", "0x3", "0b11", "0o3"] {
            assert_eq!(
                lines(&of(&format!("{{template: {{spec: {{protocol: raft, size: {size}}}}}}}"))),
                ["f: PartitionSet \"a\" is valid"],
                "{size}"
            );
        }
        let invalid = lines(&of("{template: {spec: {protocol: raft, size: 3.5}}}"));
        assert!(
            invalid[0].contains("* spec.template.spec.size: Invalid value: \"number\": must be an integer"),
            "{invalid:?}"
        );
    }

    #[test]
    fn unknown_fields_are_invalid_and_the_last_of_duplicate_keys_is_used() {
        let set = of("{partitions: 0, partitions: 2, foo: 1, template: {spec: {protocol: raft, size: 3}}}");
        assert_eq!(
            lines(&set),
            ["Warning: f: duplicate key \"partitions\" in line 4: its last value is used\n\
              f: PartitionSet \"a\" is invalid:\n* unknown field \"spec.foo\""]
        );
    }

    #[test]
    fn sets_are_found_in_lists_and_beside_others_and_misspelt_ones_are_not_skipped() {
        let one = "apiVersion: k8s.atomix.io/v1alpha1, kind: PartitionSet, metadata: {name: a}, \
                   spec: {template: {spec: {protocol: raft, size: 3}}}";
        let list = format!("{{apiVersion: v1, kind: List, items: [{{{one}}}, {{apiVersion: v1, kind: Secret}}]}}");
        assert_eq!(lines(&list), ["f: PartitionSet \"a\" is valid"]);
        assert!(lines("apiVersion: v1\nkind: Secret\n---\n").is_empty());
        let unnamed = one.replace("apiVersion: k8s.atomix.io/v1alpha1, kind: PartitionSet, ", "");
        let list = format!("{{apiVersion: k8s.atomix.io/v1alpha1, kind: PartitionSetList, items: [{{{unnamed}}}]}}");
        assert_eq!(lines(&list), ["f: PartitionSet \"a\" is valid"]);
        assert!(lines("{apiVersion: v1, kind: List, items: [~]}")[0].contains("is no object of Kubernetes"));
        for (text, words) in [
            (one.replace("PartitionSet", "PartitonSet"), "no matches for kind \"PartitonSet\" in version"),
            (one.replace("v1alpha1", "v1"), "no matches for kind \"PartitionSet\" in version \"k8s.atomix.io/v1\""),
            ("kind: PartitionSet".to_owned(), "is no object of Kubernetes"),
        ] {
            let found = lines(&format!("{{{text}}}"));
            assert!(found.len() == 1 && found[0].contains(words), "{found:?}");
        }
    }

    #[test]
    fn metadata_is_validated_as_well() {
        let set = of("{template: {spec: {protocol: raft, size: 3}}}");
        for (metadata, words) in [
            ("{}", "* metadata.name: Required value: name or generateName is required"),
            ("{name: a, labels: {a b: c}}", "* metadata.labels: Invalid value: \"a b\": name part"),
            ("{name: a, labels: {a: 1}}", "* metadata.labels.a: Invalid value: \"integer\": must be a string"),
            ("{name: a, annotations: {/a: b}}", "* metadata.annotations: Invalid value: \"/a\": prefix part"),
            ("{name: a, namespace: A_b}", "* metadata.namespace: Invalid value: \"A_b\": a lowercase RFC 1123 label"),
            ("{name: a, namespace: 1}", "* metadata.namespace: Invalid value: \"integer\": must be a string"),
            ("{name: a, generation: '5'}", "* metadata.generation: Invalid value: \"string\": must be an integer"),
            ("{name: a, uid: 5}", "* metadata.uid: Invalid value: \"integer\": must be a string"),
            ("{name: a, creationTimestamp: 2020-01-02}", "* metadata.creationTimestamp: Invalid value: \"2020-01-02\""),
            ("{name: a, finalizers: [a b]}", "* metadata.finalizers: Invalid value: \"a b\": name part"),
            ("{name: a, finalizers: [~]}", "* metadata.finalizers[0]: Invalid value: \"null\": must be a string"),
            (
                "{name: a, ownerReferences: [{apiVersion: v1, kind: Pod, name: b}]}",
                "* metadata.ownerReferences.uid: Invalid value: \"\": must not be empty",
            ),
            ("{name: a, ownerReferences: [{apiVersion: a/, kind: b, name: c, uid: d}]}", "version must not be empty"),
            (
                "{name: a, ownerReferences: [{apiVersion: v1, kind: b, name: c, uid: d, controller: true}, \
                 {apiVersion: v1, kind: b, name: c, uid: e, controller: true}]}",
                "* metadata.ownerReferences: Forbidden: only one may have controller set to true",
            ),
        ] {
            let found = lines(&set.replace("{name: a}", metadata));
            assert!(found[0].contains(words), "{metadata}: {found:?}");
        }
        for metadata in [
            "{name: a, labels: {b: ~}, annotations: {c: ~}}",
            "{name: a, creationTimestamp: ~, namespace: ~, finalizers: [b.c/d]}",
            "{name: a, creationTimestamp: 2020-01-02T03:04:05Z, generation: 3, managedFields: []}",
            "{name: a, ownerReferences: [{apiVersion: b/v1, kind: c, name: d, uid: e, controller: true}]}",
        ] {
            assert_eq!(lines(&set.replace("{name: a}", metadata)), ["f: PartitionSet \"a\" is valid"], "{metadata}");
        }
    }
}
