//! Whatever way a set is written, the verdict is the same, and a dry run writes nothing.

use std::time::Instant;

use serde_json::{Value, json};
use webhook_tests::Kubectl;

use crate::SOON;
use crate::manifests::{raft, set, with, without};
use crate::verdicts::{accepts, invalid_in_many_ways, namespace, spec};

/// Three things are wrong with it: one that the schema knows, one of several words, and one that only the webhooks know.
fn bad(name: &str) -> Value {
    set(
        name,
        json!({"partitions": 0, "template": {"spec": {"protocol": "raft", "size": 3, "config": "electionTimout: 5s"}}}),
    )
}

fn verdict(name: &str) -> String {
    invalid_in_many_ways(
        name,
        &[
            "spec.partitions: Invalid value: 0: must be greater than or equal to 1",
            "spec.template.spec.config.electionTimout: Unsupported value: \"electionTimout\": supported values: \
             \"electionTimeout\", \"heartbeatInterval\", \"storage\", \"compaction\"",
        ],
    )
}

#[track_caller]
fn is_refused(kubectl: &Kubectl, arguments: &[&str], object: &Value) {
    let said = kubectl.feed_fails(arguments, &object.to_string());
    let said: String =
        said.lines().filter(|line| !line.starts_with("Warning: resource ")).collect::<Vec<_>>().join("\n");
    let name = object.pointer("/metadata/name").or(object.pointer("/metadata/generateName")).and_then(Value::as_str);
    assert_eq!(said, verdict(name.expect("a name")), "by {arguments:?}");
}

/// Replaces a set, whose status the controller may be writing at the same time.
#[track_caller]
fn replaces(kubectl: &Kubectl, arguments: &[&str], object: &Value) {
    let arguments = [&["replace", "-f", "-"], arguments].concat();
    let deadline = Instant::now() + SOON;
    loop {
        let output = kubectl.feed(&arguments, &object.to_string());
        if !output.stderr.starts_with("Error from server (Conflict)") || Instant::now() > deadline {
            assert!(output.status.success(), "{}", output.stderr);
            return;
        }
    }
}

#[test]
fn a_bad_new_set_gets_the_same_verdict_however_it_is_written() {
    let namespace = namespace("writing");
    let kubectl = namespace.kubectl();
    let generated = with(without(bad(""), "/metadata/name"), "/metadata/generateName", json!("raft-"));
    for (arguments, object) in [
        (&["create", "-f", "-"][..], bad("raft")),
        (&["create", "-f", "-"], generated),
        (&["apply", "-f", "-"], bad("raft")),
        (&["apply", "--server-side", "-f", "-"], bad("raft")),
        (&["create", "--dry-run=server", "-f", "-"], bad("raft")),
        (&["apply", "--dry-run=server", "-f", "-"], bad("raft")),
        (&["apply", "--server-side", "--dry-run=server", "-f", "-"], bad("raft")),
    ] {
        is_refused(&kubectl, arguments, &object);
    }
    assert_eq!(kubectl.ok(&["get", "pset", "-o", "name"]), "");
}

#[test]
fn a_bad_change_gets_the_same_verdict_however_it_is_written() {
    let namespace = namespace("writing");
    let kubectl = namespace.kubectl();
    accepts(&kubectl, &raft("raft"));
    let before = kubectl.get_json(&["pset", "raft"]);
    let merge = json!({"spec": {"partitions": 0, "template": {"spec": {"config": "electionTimout: 5s"}}}}).to_string();
    let json = json!([
        {"op": "replace", "path": "/spec/partitions", "value": 0},
        {"op": "add", "path": "/spec/template/spec/config", "value": "electionTimout: 5s"},
    ])
    .to_string();
    for arguments in [
        &["replace", "-f", "-"][..],
        &["apply", "-f", "-"],
        &["apply", "--server-side", "--force-conflicts", "-f", "-"],
        &["patch", "pset", "raft", "--type=merge", "-p", &merge],
        &["patch", "pset", "raft", "--type=json", "-p", &json],
        &["replace", "--dry-run=server", "-f", "-"],
        &["patch", "pset", "raft", "--dry-run=server", "--type=merge", "-p", &merge],
    ] {
        is_refused(&kubectl, arguments, &bad("raft"));
    }
    assert_eq!(kubectl.get_json(&["pset", "raft"])["spec"], before["spec"]);
}

#[test]
fn a_good_set_gets_its_defaults_however_it_is_written() {
    let namespace = namespace("writing");
    let kubectl = namespace.kubectl();
    let generated = with(without(raft(""), "/metadata/name"), "/metadata/generateName", json!("raft-"));
    let mut specs = Vec::new();
    for (arguments, object) in [
        (&["create", "-f", "-", "-o", "json"][..], raft("created")),
        (&["create", "-f", "-", "-o", "json"], generated),
        (&["apply", "-f", "-", "-o", "json"], raft("applied")),
        (&["apply", "--server-side", "-f", "-", "-o", "json"], raft("applied-by-the-server")),
        (&["create", "--dry-run=server", "-f", "-", "-o", "json"], raft("dry")),
    ] {
        let stored: Value = serde_json::from_str(&kubectl.feed_ok(arguments, &object.to_string())).expect("JSON");
        specs.push(stored["spec"].clone());
    }
    assert_eq!(specs[0]["maxUnavailablePartitions"], 1);
    assert!(specs.iter().all(|spec| *spec == specs[0]), "{specs:#?}");
}

#[test]
fn a_dry_run_writes_nothing() {
    let namespace = namespace("writing");
    let kubectl = namespace.kubectl();
    kubectl.feed_ok(&["create", "--dry-run=server", "-f", "-"], &raft("raft").to_string());
    assert_eq!(kubectl.ok(&["get", "pset", "-o", "name"]), "");
    accepts(&kubectl, &raft("raft"));
    let before = spec(&kubectl, "raft");
    let text = raft("raft");
    replaces(&kubectl, &["--dry-run=server"], &text);
    let patch = json!({"spec": {"partitions": 3}}).to_string();
    kubectl.ok(&["patch", "pset", "raft", "--dry-run=server", "--type=merge", "-p", &patch]);
    kubectl.ok(&["scale", "pset", "raft", "--dry-run=server", "--replicas=3"]);
    assert_eq!(spec(&kubectl, "raft"), before);
}

#[test]
fn replacing_fills_in_what_the_new_set_leaves_out() {
    let namespace = namespace("writing");
    let kubectl = namespace.kubectl();
    accepts(&kubectl, &raft("raft"));
    let before = spec(&kubectl, "raft");
    replaces(&kubectl, &[], &raft("raft"));
    assert_eq!(spec(&kubectl, "raft"), before);
}

#[test]
fn applying_by_the_server_twice_changes_nothing_and_owns_only_what_was_given() {
    let namespace = namespace("writing");
    let kubectl = namespace.kubectl();
    let apply = || {
        kubectl.feed_ok(&["apply", "--server-side", "--field-manager=gitops", "-f", "-"], &raft("raft").to_string());
        kubectl.get_json(&["pset", "raft", "--show-managed-fields"])
    };
    let (once, twice) = (apply(), apply());
    assert_eq!(once["metadata"]["generation"], twice["metadata"]["generation"]);
    assert_eq!(once["spec"], twice["spec"]);
    let managers = twice["metadata"]["managedFields"].as_array().expect("managed fields");
    let owned = managers.iter().find(|entry| entry["manager"] == "gitops").expect("the manager");
    assert!(owned["fieldsV1"].pointer("/f:spec/f:partitions").is_some(), "{owned:#}");
}
