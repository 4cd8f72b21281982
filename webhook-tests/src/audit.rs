//! What the controllers asked of the API server, as the API server saw it.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::Deserialize;

/// One request of a `ServiceAccount`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    /// Whose it was: `system:serviceaccount:<namespace>:<name>`.
    pub user: String,
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, ...
    pub verb: String,
    /// The plural of the kind, such as `configmaps`; empty for paths that are
    /// not resources, such as `/version`.
    pub resource: String,
    /// Such as `status`; empty for the object itself.
    pub subresource: String,
    /// The API group; empty for the core group.
    pub group: String,
    /// Empty for what has no namespace, and for requests across all.
    pub namespace: String,
    /// Empty for lists, watches and objects whose name the server made.
    pub name: String,
    /// The status code of the answer.
    pub code: u16,
    /// `ResponseComplete`, or `ResponseStarted` for a watch that still runs (it
    /// completes when it ends), or `Panic`.
    pub stage: String,
    /// The path and query.
    pub uri: String,
    /// When the request came, in RFC 3339.
    pub received: String,
    /// When the stage was reached, in RFC 3339.
    pub completed: String,
    /// The user agent, which names the replica.
    pub agent: String,
}

impl AuditEntry {
    /// Whether the replica called `name` made the request.
    #[must_use]
    pub fn is_of(&self, name: &str) -> bool {
        self.agent.ends_with(&format!("({name})"))
    }

    /// Whether the request asked to change something.
    #[must_use]
    pub fn is_write(&self) -> bool {
        !matches!(self.verb.as_str(), "get" | "list" | "watch")
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    stage: String,
    #[serde(rename = "requestURI")]
    request_uri: String,
    verb: String,
    user: User,
    #[serde(default)]
    object_ref: ObjectRef,
    #[serde(default)]
    response_status: Status,
    request_received_timestamp: String,
    #[serde(default)]
    stage_timestamp: String,
    #[serde(default)]
    user_agent: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct ObjectRef {
    resource: String,
    subresource: String,
    namespace: String,
    name: String,
    api_group: String,
}

#[derive(Deserialize)]
struct User {
    username: String,
}

#[derive(Deserialize, Default)]
struct Status {
    #[serde(default)]
    code: u16,
}

/// A log that is written meanwhile. Each line is read once: tests ask again and again, and it gets long.
#[derive(Debug)]
pub(crate) struct AuditLog {
    path: PathBuf,
    known: Mutex<Known>,
}

/// What was read before, and where that ends in the file.
#[derive(Debug, Default)]
struct Known {
    end: u64,
    entries: Vec<AuditEntry>,
}

impl AuditLog {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, known: Mutex::default() }
    }

    /// What `look` makes of all entries that are in the log by now.
    ///
    /// # Panics
    ///
    /// If the log cannot be read.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&[AuditEntry]) -> T) -> T {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.catch_up(&self.path).unwrap_or_else(|error| panic!("{}: {error}", self.path.display()));
        look(&known.entries)
    }
}

impl Known {
    fn catch_up(&mut self, path: &Path) -> io::Result<()> {
        let mut file = match File::open(path) {
            Ok(file) => file,
            // No request was recorded yet.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        file.seek(SeekFrom::Start(self.end))?;
        let mut written = Vec::new();
        file.read_to_end(&mut written)?;
        // The last line may be half written.
        let complete = written.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        self.entries.extend(parse(&String::from_utf8_lossy(&written[..complete]))?);
        self.end += complete as u64;
        Ok(())
    }
}

fn parse(lines: &str) -> serde_json::Result<Vec<AuditEntry>> {
    lines
        .lines()
        .map(|line| {
            let line: Line = serde_json::from_str(line)?;
            Ok(AuditEntry {
                user: line.user.username,
                verb: line.verb,
                resource: line.object_ref.resource,
                subresource: line.object_ref.subresource,
                group: line.object_ref.api_group,
                namespace: line.object_ref.namespace,
                name: line.object_ref.name,
                code: line.response_status.code,
                stage: line.stage,
                uri: line.request_uri,
                received: line.request_received_timestamp,
                completed: line.stage_timestamp,
                agent: line.user_agent,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::fs::{self, OpenOptions};
    use std::io::Write;

    use super::AuditLog;
    use crate::unique::suffix;

    #[test]
    fn a_half_written_last_line_is_read_when_it_is_whole_and_no_line_twice() {
        let path = std::env::temp_dir().join(format!("webhook-tests-audit-{}", suffix()));
        let log = AuditLog::new(path.clone());
        let uris = || log.look(|entries| entries.iter().map(|entry| entry.uri.clone()).collect::<Vec<_>>());
        assert!(uris().is_empty(), "there is no file yet");
        let line = |uri: &str| {
            format!(
                r#"{{"stage":"ResponseComplete","requestURI":"{uri}","verb":"get","user":{{"username":"u"}},"requestReceivedTimestamp":"2026-01-01T00:00:00Z"}}"#
            ) + "\n"
        };
        let mut file = OpenOptions::new().create(true).append(true).open(&path).expect("a file");
        let (first, second) = (line("/version"), line("/readyz"));
        let mut append = |text: &str| file.write_all(text.as_bytes()).expect("written");
        append(&(first + &second[..20]));
        assert_eq!(uris(), ["/version"]);
        append(&second[20..]);
        assert_eq!(uris(), ["/version", "/readyz"]);
        log.look(|entries| assert!(!entries[0].is_write()));
        fs::remove_file(path).expect("removed");
    }
}
