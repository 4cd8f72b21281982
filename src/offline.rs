//! The `validate` command: the webhooks' verdict on files, without a cluster.

use std::io::{self, Read};
use std::path::Path;

use serde_json::Value;

use crate::api::PartitionSet;
use crate::rules;

/// Why a file could not be judged.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("reading {file}: {source}")]
    Read {
        /// Name of the file.
        file: String,
        /// Why.
        source: io::Error,
    },
    /// The file is no YAML.
    #[error("{file} is not YAML: {message}")]
    Yaml {
        /// Name of the file.
        file: String,
        /// Why.
        message: String,
    },
}

/// Judges every document of a file that is a PartitionSet, as if it were created; others are passed over. Prints the
/// verdicts and returns how many sets are invalid.
///
/// # Errors
/// [`Error`] if the file cannot be read as YAML.
pub fn validate(path: &Path) -> Result<usize, Error> {
    let file = path.display().to_string();
    let mut text = String::new();
    let read = if file == "-" {
        io::stdin().read_to_string(&mut text).map(drop)
    } else {
        std::fs::read_to_string(path).map(|content| text = content)
    };
    read.map_err(|source| Error::Read { file: file.clone(), source })?;
    let documents: Vec<Value> = serde_saphyr::from_multiple(&text)
        .map_err(|error| Error::Yaml { file: file.clone(), message: error.to_string() })?;
    let mut invalid = 0;
    for document in documents.iter().filter(|document| is_partition_set(document)) {
        let verdict = rules::partition_set(document, None, &|_| None);
        let name = &verdict.set.name;
        for warning in &verdict.warnings {
            println!("Warning: {warning}");
        }
        if verdict.violations.is_empty() {
            println!("{file}: PartitionSet {name:?} is valid");
        } else {
            invalid += 1;
            println!("{file}: PartitionSet {name:?} is invalid:");
            verdict.violations.iter().for_each(|violation| println!("* {violation}"));
        }
    }
    Ok(invalid)
}

fn is_partition_set(document: &Value) -> bool {
    use kube::Resource;
    document["kind"] == *PartitionSet::kind(&()) && document["apiVersion"] == *PartitionSet::api_version(&())
}
