//! The options of the protocols, which a user writes as YAML text in `config`.

use serde_json::json;

use crate::manifests::{backup, raft, with};
use crate::verdicts::{accepts, each_is_rejected, invalid, invalid_in_many_ways, namespace, rejects, void};

#[test]
fn protocols_options_are_checked_strictly() {
    const DURATION: &str = "must be a duration greater than 0 with a unit, such as 5s, 500ms or 1m";
    const CONFIG: &str = "/spec/template/spec/config";
    let options = |field: &str, rest: &str| format!("spec.template.spec.config{field}: {rest}");
    each_is_rejected(
        &raft("raft"),
        &[
            (
                CONFIG,
                json!("electionTimout: 5s"),
                &options(
                    ".electionTimout",
                    "Unsupported value: \"electionTimout\": supported values: \"electionTimeout\", \
                     \"heartbeatInterval\", \"storage\", \"compaction\"",
                ),
            ),
            (
                CONFIG,
                json!("electionTimeout: 5"),
                &options(".electionTimeout", &format!("Invalid value: \"integer\": {DURATION}")),
            ),
            (
                CONFIG,
                json!("electionTimeout: 5 seconds"),
                &options(".electionTimeout", &format!("Invalid value: \"5 seconds\": {DURATION}")),
            ),
            (
                CONFIG,
                json!("heartbeatInterval: 10s"),
                &options(".heartbeatInterval", "Invalid value: \"10s\": must be less than electionTimeout (5s)"),
            ),
            (
                CONFIG,
                json!("electionTimeout: 200ms"),
                &options(
                    ".electionTimeout",
                    "Invalid value: \"200ms\": must be greater than heartbeatInterval (500ms by default)",
                ),
            ),
            (
                CONFIG,
                json!("electionTimeout: 5s\nelection_timeout: 6s"),
                &options(".election_timeout", "Duplicate value: \"electionTimeout\""),
            ),
            (
                CONFIG,
                json!("storage:\n  level: disk"),
                &options(".storage.level", "Unsupported value: \"disk\": supported values: \"DISK\", \"MAPPED\""),
            ),
            (
                CONFIG,
                json!("storage: {flushOnCommit: 1}"),
                &options(".storage.flushOnCommit", "Invalid value: \"integer\": must be true or false"),
            ),
            (
                CONFIG,
                json!("storage: {segmentSize: -1}"),
                &options(".storage.segmentSize", "Invalid value: -1: must be an integer from 0 to 4294967295"),
            ),
            (
                CONFIG,
                json!("compaction: {freeDiskBuffer: -0.5}"),
                &options(".compaction.freeDiskBuffer", "Invalid value: -0.5: must be greater than 0 and less than 1"),
            ),
            (
                CONFIG,
                json!("compaction: {freeMemoryBuffer: .inf}"),
                &options(".compaction.freeMemoryBuffer", "Invalid value: .inf: must be greater than 0 and less than 1"),
            ),
            (
                CONFIG,
                json!("compaction: {freeDiskBuffer: 1e400}"),
                &options(".compaction.freeDiskBuffer", "Invalid value: .inf: must be greater than 0 and less than 1"),
            ),
            (
                CONFIG,
                json!("storage: {segmentSize: 1_000}"),
                &options(".storage.segmentSize", "Invalid value: \"string\": must be an integer"),
            ),
            (
                CONFIG,
                json!("storage: {level: DISK, level: DISK}"),
                &options(".storage.level", "Duplicate value: \"level\""),
            ),
            (CONFIG, json!("just text"), &options("", "Invalid value: \"string\": must be a YAML mapping of options")),
        ],
    );
}

#[test]
fn options_that_are_no_yaml_say_where() {
    let object = with(raft("raft"), "/spec/template/spec/config", json!("storage:\n  level: [\n"));
    let said = void().kubectl().feed_fails(&["create", "-f", "-"], &object.to_string());
    let beginning =
        invalid("raft", "spec.template.spec.config: Invalid value: \"storage:\\n  level: [\\n\": must be YAML: ");
    assert!(said.starts_with(&beginning) && said.contains("line"), "{said}");
}

/// Contract, section 7: `backup` was unknown to the original, and `log` was run as Raft.
#[test]
fn backup_and_log_are_known() {
    let namespace = namespace("known");
    let kubectl = namespace.kubectl();
    for (name, protocol) in [("backup", "backup"), ("log", "log")] {
        let given = with(backup(name), "/spec/template/spec/protocol", json!(protocol));
        let given = with(given, "/spec/template/spec/config", json!("memberGroupStrategy: ZONE_AWARE"));
        assert_eq!(accepts(&kubectl, &given)["spec"]["template"]["spec"]["protocol"], protocol);
    }
    rejects(
        &kubectl,
        &with(backup("other"), "/spec/template/spec/config", json!("electionTimeout: 5s\nstorage: {}")),
        &invalid_in_many_ways(
            "other",
            &[
                "spec.template.spec.config.electionTimeout: Unsupported value: \"electionTimeout\": supported values: \
                 \"memberGroupStrategy\"",
                "spec.template.spec.config.storage: Unsupported value: \"storage\": supported values: \
                 \"memberGroupStrategy\"",
            ],
        ),
    );
}
