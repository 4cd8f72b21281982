//! The `validate` command: validates files as `kubectl create` would, without a cluster.

mod documents;
mod files;
mod scalar;
mod strict;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{fs, io};

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
    /// There is no manifest in a directory.
    #[error("{directory} has no file whose name ends in .json, .yaml or .yml")]
    Empty {
        /// Name of the directory.
        directory: String,
    },
}

/// Exit code if a file cannot be read. clap exits with it as well if the command line is wrong.
const UNREADABLE: u8 = 2;

/// Options of `validate`.
#[derive(Args, Debug)]
pub struct Validate {
    /// Files with PartitionSets, or directories of which every .json, .yaml and .yml file is read; `-` is standard input.
    #[arg(required = true)]
    pub files: Vec<PathBuf>,
    /// Read the directories in directories as well.
    #[arg(short = 'R', long)]
    pub recursive: bool,
}

/// Validates the files and prints the verdicts to standard output, errors of reading to standard error. The exit code is
/// 2 if a file cannot be read, otherwise 1 if an object is invalid.
#[must_use]
pub fn run(options: &Validate) -> ExitCode {
    let mut found = Counts::default();
    for argument in &options.files {
        validate_argument(argument, options.recursive, &mut found);
    }
    ExitCode::from(found.exit_code())
}

/// How many files and objects are wrong.
#[derive(Default)]
struct Counts {
    unreadable: usize,
    invalid: usize,
}

impl Counts {
    const fn exit_code(&self) -> u8 {
        if self.unreadable > 0 {
            UNREADABLE
        } else if self.invalid > 0 {
            1
        } else {
            0
        }
    }

    fn report(&mut self, error: Error) {
        self.unreadable += 1;
        eprintln!("atomix-controller: {:#}", anyhow::Error::new(error));
    }
}

/// Validates a file, or the files of a directory. What cannot be read does not keep others from being validated.
fn validate_argument(argument: &Path, recursive: bool, found: &mut Counts) {
    let (mut sets, unreadable) = (0, found.unreadable);
    let files = files::of(argument, recursive).unwrap_or_else(|error| {
        found.report(error);
        Vec::new()
    });
    for file in files {
        match validate(&file) {
            Ok(verdicts) => {
                sets += verdicts.len();
                found.invalid += verdicts.iter().filter(|verdict| !verdict.valid).count();
                for verdict in verdicts {
                    println!("{}", verdict.lines.join("\n"));
                }
            }
            Err(error) => found.report(error),
        }
    }
    if sets == 0 && found.unreadable == unreadable {
        println!("{}: there is no PartitionSet in it", argument.display());
    }
}

/// The verdict on every PartitionSet in a file as if it were created; other documents are skipped.
fn validate(path: &Path) -> Result<Vec<Verdict>, Error> {
    let file = path.display().to_string();
    let text = if file == "-" { io::read_to_string(io::stdin()) } else { fs::read_to_string(path) };
    let text = text.map_err(|source| Error::Read { file: file.clone(), source })?;
    validate_text(&file, &text).map_err(|message| Error::Yaml { file, message })
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
