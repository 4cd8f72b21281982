//! Groups, as the public Atomix client of January 2020 creates, finds and deletes them.

use serde_json::{Value, json};
use webhook_tests::text;

use crate::support::{atomix, default_namespace, refused, sandbox};

/// What the client finds where there is no such group.
fn unknown(name: &str) -> Value {
    json!({"client": format!("unknown partition group {name}")})
}

#[test]
fn a_group_is_whole_as_soon_as_it_is_created() {
    let (namespace, kubectl) = sandbox("whole");
    let options = r#"{"electionTimeout": "2.5s", "heartbeatInterval": "0.250s", "storage": {"level": "MAPPED"}}"#;
    let found = atomix("create", &[namespace.name(), "journal", "10", "3", "raft", options]);
    let host = |id: u32| format!("journal-{id}.{}.svc.cluster.local:5678", namespace.name());
    assert_eq!(
        found,
        json!({
            "namespace": namespace.name(), "name": "journal", "partitions": 10, "partitionSize": 3,
            "protocol": "type.googleapis.com/atomix.protocols.raft.RaftProtocol",
            "options": {"electionTimeout": "2.500s", "heartbeatInterval": "0.250s", "storage": {"level": "MAPPED"}},
            "ids": (1..=10).collect::<Vec<u32>>(),
            "endpoints": (1..=10).map(|id| vec![host(id)]).collect::<Vec<_>>(),
        })
    );
    let set = kubectl.get_json(&["partitionset", "journal"]);
    assert_eq!(set["spec"]["partitions"], 10);
    assert_eq!(
        (text(&set, "/spec/template/spec/protocol"), &set["spec"]["template"]["spec"]["size"]),
        ("raft", &json!(3))
    );
    // Asked for again, it is the same; and it is listed.
    assert_eq!(atomix("get", &[namespace.name(), "journal"]), found);
    assert_eq!(atomix("list", &[namespace.name()]), json!([format!("{}.journal", namespace.name())]));
}

#[test]
fn the_log_protocol_keeps_its_options() {
    let (namespace, _kubectl) = sandbox("log");
    let options = json!({
        "memberGroupStrategy": "ZONE_AWARE",
        "storage": {"maxEntrySize": 1024, "segmentSize": 65536, "level": "MAPPED", "flushOnCommit": true},
        "compaction": {"dynamic": true, "freeDiskBuffer": 0.25},
    });
    let found = atomix("create", &[namespace.name(), "stream", "2", "2", "log", &options.to_string()]);
    assert_eq!(found["protocol"], "type.googleapis.com/atomix.protocols.log.LogProtocol");
    assert_eq!(found["options"], options);
}

#[test]
fn a_group_that_says_nothing_of_numbers_has_one_partition_of_one() {
    let (namespace, _kubectl) = sandbox("one");
    let found = atomix("create", &[namespace.name(), "small", "0", "0", "raft", "{}"]);
    assert_eq!((&found["partitions"], &found["partitionSize"], &found["ids"]), (&json!(1), &json!(1), &json!([1])));
}

#[test]
fn a_group_of_kubectl_is_a_group_of_the_client() {
    let (namespace, kubectl) = sandbox("kubectl");
    kubectl.create_stdin(
        "apiVersion: k8s.atomix.io/v1alpha1\n\
         kind: PartitionSet\n\
         metadata: {name: made}\n\
         spec: {partitions: 3, template: {spec: {protocol: raft, size: 3, config: 'election_timeout: 1m'}}}\n",
    );
    let found = atomix("get", &[namespace.name(), "made"]);
    assert_eq!((&found["partitions"], &found["partitionSize"]), (&json!(3), &json!(3)));
    assert_eq!((&found["ids"], &found["options"]), (&json!([1, 2, 3]), &json!({"electionTimeout": "60s"})));
    // The client knows nothing of this protocol, and lists it all the same.
    kubectl.create_stdin(
        "apiVersion: k8s.atomix.io/v1alpha1\n\
         kind: PartitionSet\n\
         metadata: {name: other}\n\
         spec: {template: {spec: {protocol: backup, image: 'example.org/backup:1'}}}\n",
    );
    let names = ["made", "other"].map(|name| format!("{}.{name}", namespace.name()));
    assert_eq!(atomix("list", &[namespace.name()]), json!(names));
    kubectl.ok(&["delete", "partitionset", "made"]);
    assert_eq!(atomix("get", &[namespace.name(), "made"]), unknown("made"));
}

#[test]
fn an_unknown_group_is_no_error_of_the_server() {
    let (namespace, _kubectl) = sandbox("unknown");
    assert_eq!(atomix("get", &[namespace.name(), "nothing"]), unknown("nothing"));
    assert_eq!(atomix("list", &[namespace.name()]), json!([]));
}

#[test]
fn groups_of_one_name_in_several_namespaces_are_not_mixed_up() {
    let _alone = default_namespace();
    let (one, _) = sandbox("one");
    let (two, _) = sandbox("two");
    // No namespace is the default one.
    for (namespace, partitions) in [(one.name(), "1"), (two.name(), "2"), ("", "3")] {
        atomix("create", &[namespace, "same", partitions, "3", "raft", "{}"]);
    }
    for (namespace, seen, partitions) in
        [(one.name(), one.name(), 1), (two.name(), two.name(), 2), ("", "default", 3), ("default", "default", 3)]
    {
        let found = atomix("get", &[namespace, "same"]);
        assert_eq!((&found["namespace"], &found["partitions"]), (&json!(seen), &json!(partitions)));
    }
    assert_eq!(atomix("list", &[one.name()]), json!([format!("{}.same", one.name())]));
    assert_eq!(atomix("delete", &["", "same"]), json!({}));
    assert_eq!(atomix("get", &["default", "same"]), unknown("same"));
    assert_eq!(atomix("get", &[two.name(), "same"])["partitions"], 2);
}

#[test]
fn a_group_is_gone_as_soon_as_it_is_deleted() {
    let (namespace, _kubectl) = sandbox("gone");
    let create = [namespace.name(), "brief", "4", "3", "raft", "{}"];
    for _ in 0..2 {
        assert_eq!(atomix("create", &create)["partitions"], 4);
        assert_eq!(atomix("delete", &[namespace.name(), "brief"]), json!({}));
        assert_eq!(atomix("get", &[namespace.name(), "brief"]), unknown("brief"));
        assert_eq!(atomix("list", &[namespace.name()]), json!([]));
    }
    assert_eq!(refused("delete", &[namespace.name(), "brief"])["code"], "NotFound");
}

#[test]
fn a_group_can_be_created_again_with_the_same_spec_and_no_other() {
    let (namespace, kubectl) = sandbox("again");
    let again = |partitions, timeout: &'static str| [namespace.name(), "twice", partitions, "3", "raft", timeout];
    let first = atomix("create", &again("2", r#"{"electionTimeout": "5s"}"#));
    let set = || kubectl.get_json(&["partitionset", "twice"]);
    let before = set();
    assert_eq!(atomix("create", &again("2", r#"{"electionTimeout": "5.000s"}"#)), first);
    for other in [again("3", r#"{"electionTimeout": "5s"}"#), again("2", r#"{"electionTimeout": "6s"}"#)] {
        assert_eq!(refused("create", &other)["code"], "AlreadyExists");
    }
    assert_eq!((&set()["spec"], &set()["metadata"]["uid"]), (&before["spec"], &before["metadata"]["uid"]));
    assert_eq!(atomix("get", &[namespace.name(), "twice"]), first);
}

#[test]
fn what_admission_refuses_the_client_is_told_as_kubectl_is() {
    let (namespace, kubectl) = sandbox("refused");
    let options = r#"{"electionTimeout": "1s", "heartbeatInterval": "2s"}"#;
    let refused = refused("create", &[namespace.name(), "wrong", "1001", "22", "raft", options]);
    assert_eq!(refused["code"], "InvalidArgument", "{refused}");
    let mut fields: Vec<&str> =
        refused["fields"].as_array().expect("fields").iter().filter_map(Value::as_str).collect();
    fields.sort_unstable();
    fields.dedup();
    assert_eq!(fields, ["spec.partitions", "spec.template.spec.config.heartbeatInterval", "spec.template.spec.size"]);
    let told = kubectl.feed_fails(
        &["create", "-f", "-"],
        "apiVersion: k8s.atomix.io/v1alpha1\n\
         kind: PartitionSet\n\
         metadata: {name: wrong}\n\
         spec: {partitions: 1001, template: {spec: {protocol: raft, size: 22,\n\
         \x20 config: '{electionTimeout: 1s, heartbeatInterval: 2s}'}}}\n",
    );
    for line in told.lines().filter_map(|line| line.strip_prefix("* ")) {
        assert!(text(&refused, "/message").contains(line), "{line}\n{refused:#}");
    }
    assert_eq!(atomix("get", &[namespace.name(), "wrong"]), unknown("wrong"));
}
