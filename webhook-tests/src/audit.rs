//! What the controllers asked of the API server, as the API server saw it.

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

/// Reads an audit log. The last line may be half written: it is left out.
pub(crate) fn parse(log: &str) -> serde_json::Result<Vec<AuditEntry>> {
    let complete = log.rfind('\n').map_or("", |end| &log[..end]);
    complete
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
    use super::parse;

    #[test]
    fn leaves_out_a_half_written_last_line() {
        let line = r#"{"stage":"ResponseComplete","requestURI":"/version","verb":"get","user":{"username":"u"},"requestReceivedTimestamp":"2026-01-01T00:00:00Z"}"#;
        let entries = parse(&format!("{line}\n{}", &line[..20])).expect("valid lines");
        assert_eq!(entries.len(), 1);
        assert_eq!(entries[0].uri, "/version");
        assert!(!entries[0].is_write());
    }
}
