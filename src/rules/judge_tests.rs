use serde_json::json;

use super::*;
use crate::rules::Violation;

pub(super) fn alone(_: &str) -> Option<i64> {
    None
}

pub(super) fn raft() -> Value {
    json!({
        "apiVersion": "k8s.atomix.io/v1alpha1", "kind": "PartitionSet",
        "metadata": {"name": "raft", "namespace": "default"},
        "spec": {"partitions": 6, "template": {"spec": {
            "size": 3, "protocol": "raft", "config": "electionTimeout: 5s\nheartbeatInterval: 1s\n"}}},
    })
}

/// `object` with a value put at a pointer, of which the parents exist.
pub(super) fn with(mut object: Value, pointer: &str, value: Value) -> Value {
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    object.pointer_mut(parent).unwrap()[key] = value;
    object
}

pub(super) fn created(object: &Value) -> Vec<String> {
    texts(&partition_set(object, None, &alone).violations)
}

pub(super) fn updated(object: &Value, old: &Value) -> Vec<String> {
    texts(&partition_set(object, Some(old), &alone).violations)
}

pub(super) fn texts(violations: &[Violation]) -> Vec<String> {
    violations.iter().map(ToString::to_string).collect()
}

/// The object with what defaulting fills in, as the API server would have it.
pub(super) fn defaulted(object: &Value) -> Value {
    let verdict = partition_set(object, None, &alone);
    let mut object = object.clone();
    for edit in &verdict.edits {
        edit.apply(&mut object);
    }
    object
}

#[test]
fn the_seed_documents_set_is_legal() {
    let verdict = partition_set(&raft(), None, &alone);
    assert!(verdict.violations.is_empty() && verdict.warnings.is_empty(), "{verdict:?}");
    let pointers: Vec<_> = verdict.edits.iter().map(|edit| &*edit.pointer).collect();
    assert_eq!(
        pointers,
        ["/spec/maxUnavailablePartitions", "/spec/partitionSize", "/spec/persistentVolumeClaimRetentionPolicy"]
    );
}

#[test]
fn all_violations_are_reported_at_once() {
    let object = json!({
        "metadata": {"name": "raft"},
        "spec": {"partitions": 0, "template": {"spec": {"size": -1, "protocol": "paxos", "config": "electionTimout: 5s"}}},
    });
    assert_eq!(
        created(&object),
        [
            "spec.partitions: Invalid value: 0: must be greater than or equal to 1",
            "spec.template.spec.size: Invalid value: -1: must be greater than or equal to 1",
            r#"spec.template.spec.protocol: Unsupported value: "paxos": supported values: "raft", "backup", "log""#,
            r#"spec.template.spec.config.electionTimout: Unsupported value: "electionTimout": supported values: "electionTimeout", "heartbeatInterval", "storage", "compaction", "memberGroupStrategy""#,
        ]
    );
}

#[test]
fn what_is_missing_is_named_once() {
    for (object, text) in [
        (json!({"metadata": {"name": "a"}}), "spec: Required value"),
        (json!({"metadata": {"name": "a"}, "spec": {}}), "spec.template: Required value"),
        (json!({"metadata": {"name": "a"}, "spec": {"template": {}}}), "spec.template.spec: Required value"),
        (
            json!({"metadata": {"name": "a"}, "spec": {"template": {"spec": {}}}}),
            "spec.template.spec.protocol: Required value: one of raft, backup, log",
        ),
    ] {
        assert_eq!(created(&object), [text], "{object}");
    }
}

#[test]
fn each_broken_rule_has_its_words() {
    let long = "a".repeat(51);
    for (pointer, value, text) in [
        ("/spec/partitions", json!("six"), r#"spec.partitions: Invalid value: "string": must be an integer"#.to_owned()),
        ("/spec/partitions", json!(1001), "spec.partitions: Invalid value: 1001: must be less than or equal to 1000".to_owned()),
        ("/spec/partitionSize", json!(5), "spec.partitionSize: Invalid value: 5: must be equal to spec.template.spec.size (3), of which it is another name: set one of the two".to_owned()),
        ("/spec/maxUnavailablePartitions", json!(7), "spec.maxUnavailablePartitions: Invalid value: 7: must be less than or equal to spec.partitions (6)".to_owned()),
        ("/spec/template/spec/size", json!(22), "spec.template.spec.size: Invalid value: 22: must be less than or equal to 21".to_owned()),
        ("/spec/template/spec/env", json!([{"name": "NODE_ID", "value": "secret"}]), "spec.template.spec.env[0].name: Forbidden: NODE_ID is set by the controller".to_owned()),
        ("/spec/template/spec/env", json!([{"name": "A"}, {"name": "A"}]), r#"spec.template.spec.env[1].name: Duplicate value: "A""#.to_owned()),
        ("/spec/template/spec/env", json!([{"value": "secret"}]), "spec.template.spec.env[0].name: Required value".to_owned()),
        ("/spec/template/spec/env", json!([{"name": "A", "value": 5}]), r#"spec.template.spec.env[0].value: Invalid value: "integer": must be a string"#.to_owned()),
        ("/spec/template/spec/storageClass", json!("fast"), "spec.template.spec.storageSize: Required value: storageClass needs a size".to_owned()),
        ("/spec/template/spec/storageSize", json!("0"), r#"spec.template.spec.storageSize: Invalid value: "0": must be a quantity greater than 0, for instance 8Gi"#.to_owned()),
        ("/spec/template/spec/resources", json!({"limits": {"cpu": "much"}}), r#"spec.template.spec.resources.limits[cpu]: Invalid value: "much": must be a quantity, for instance 500m or 2Gi"#.to_owned()),
        ("/spec/template/spec/resources", json!({"limits": {"cpu": {}}}), r#"spec.template.spec.resources.limits.cpu: Invalid value: "object": must be a quantity, for instance 500m or 2Gi"#.to_owned()),
        ("/spec/template/spec/storageSize", json!(true), r#"spec.template.spec.storageSize: Invalid value: "boolean": must be a quantity, for instance 500m or 2Gi"#.to_owned()),
        ("/spec/template/spec/imagePullPolicy", json!("Sometimes"), r#"spec.template.spec.imagePullPolicy: Unsupported value: "Sometimes": supported values: "Always", "IfNotPresent", "Never""#.to_owned()),
        ("/spec/template/metadata", json!({"annotations": {"k8s.atomix.io/member-ports": "both"}}), r#"spec.template.metadata.annotations[k8s.atomix.io/member-ports]: Unsupported value: "both": supported values: "split", "shared""#.to_owned()),
        ("/spec/template/metadata", json!({"labels": {"a": "-"}}), r#"spec.template.metadata.labels[a]: Invalid value: "-": a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"#.to_owned()),
        ("/spec/persistentVolumeClaimRetentionPolicy", json!({"whenScaled": "Keep"}), r#"spec.persistentVolumeClaimRetentionPolicy.whenScaled: Unsupported value: "Keep": supported values: "Retain", "Delete""#.to_owned()),
        ("/metadata/name", json!("Raft"), r#"metadata.name: Invalid value: "Raft": must be a DNS-1035 label, because a Service is named after it: at most 63 lower case letters, digits and '-', starting with a letter, ending with a letter or digit"#.to_owned()),
        ("/metadata/name", json!(long), format!(r#"metadata.name: Invalid value: "{long}": must be short enough for the name of partition 6 ({long}-6) to have at most 52 characters, which is what a StatefulSet's pods can carry"#)),
        ("/spec/template/spec/ipFamilyPolicy", json!("DualStack"), r#"spec.template.spec.ipFamilyPolicy: Unsupported value: "DualStack": supported values: "SingleStack", "PreferDualStack", "RequireDualStack""#.to_owned()),
        ("/spec/template/spec/ipFamilies", json!(["IPv5"]), r#"spec.template.spec.ipFamilies[0]: Unsupported value: "IPv5": supported values: "IPv4", "IPv6""#.to_owned()),
        ("/spec/template/spec/ipFamilies", json!(["IPv4", "IPv6"]), r#"spec.template.spec.ipFamilies: Invalid value: "IPv4,IPv6": must have one element unless ipFamilyPolicy is PreferDualStack or RequireDualStack"#.to_owned()),
        ("/spec/template/spec/ipFamilies", json!(["IPv6", 6]), r#"spec.template.spec.ipFamilies[1]: Invalid value: "integer": must be a string"#.to_owned()),
        ("/spec/template/spec/terminationGracePeriodSeconds", json!("30"), r#"spec.template.spec.terminationGracePeriodSeconds: Invalid value: "string": must be an integer"#.to_owned()),
        ("/spec/template/spec/terminationGracePeriodSeconds", json!(9_223_372_036_854_775_808_u64), r#"spec.template.spec.terminationGracePeriodSeconds: Invalid value: "number": must be an integer"#.to_owned()),
        ("/spec/template/spec/tolerations", json!([null]), r#"spec.template.spec.tolerations[0]: Invalid value: "null": must be an object"#.to_owned()),
        ("/spec/template/spec/storageSize", json!("8Ei"), r#"spec.template.spec.storageSize: Invalid value: "8Ei": must be less than 2^63: Kubernetes would take 9223372036854775807 in its place without a word"#.to_owned()),
        ("/spec/template/spec/image", json!("a\u{1}"), r#"spec.template.spec.image: Invalid value: "a\u{1}": must not contain control characters"#.to_owned()),
        ("/spec/template/spec/env", json!([{"name": "A", "value": "x\0"}]), "spec.template.spec.env[0].value: Forbidden: must not contain a NUL character".to_owned()),
        ("/spec/template/spec/tolerations", json!([{"operator": "Exists", "effect": "NoExecute", "tolerationSeconds": "5"}]), r#"spec.template.spec.tolerations[0].tolerationSeconds: Invalid value: "string": must be an integer"#.to_owned()),
        ("/spec/template/spec/topologySpreadConstraints", json!([{"maxSkew": 3_000_000_000_u64, "topologyKey": "a", "whenUnsatisfiable": "DoNotSchedule"}]), r#"spec.template.spec.topologySpreadConstraints[0].maxSkew: Invalid value: "integer": must be an integer of 32 bits"#.to_owned()),
    ] {
        assert_eq!(created(&with(raft(), pointer, value)), [text]);
    }
}

#[test]
fn values_of_env_never_appear() {
    let object = with(
        raft(),
        "/spec/template/spec/env",
        json!([{"name": "A=", "value": "s3cret"}, {"name": "B", "value": {"s3cret": 1}}]),
    );
    assert!(!created(&object).join(" ").contains("s3cret"));
    let object = with(raft(), "/spec/template/spec/env", json!([{"name": "A", "value": ["s3cret"]}, "s3cret"]));
    assert!(!created(&object).join(" ").contains("s3cret"));
}

#[test]
fn quantities_may_be_numbers() {
    let object = with(raft(), "/spec/template/spec/resources", json!({"limits": {"cpu": 1, "memory": "1Gi"}}));
    assert_eq!(created(&object), Vec::<String>::new());
}

#[test]
fn a_set_that_is_being_deleted_is_not_judged() {
    let object = with(raft(), "/metadata/deletionTimestamp", json!("2020-01-01T00:00:00Z"));
    let verdict = partition_set(&with(object, "/spec/partitions", json!(0)), Some(&raft()), &alone);
    assert!(verdict.violations.is_empty() && verdict.edits.is_empty() && verdict.warnings.is_empty());
}

#[test]
fn names_that_two_sets_want_are_refused_where_the_other_is_known() {
    let x = |name: &str| (name == "x").then_some(3);
    for (name, refused) in [("x-3", true), ("x-3-hs", true), ("x-4", false), ("y-3", false), ("x-hs", false)] {
        let verdict = partition_set(&with(raft(), "/metadata/name", json!(name)), None, &x);
        assert_eq!(!verdict.violations.is_empty(), refused, "{name}: {:?}", verdict.violations);
    }
    let taken = |name: &str| ["raft-7-hs", "raft-8"].contains(&name).then_some(1);
    let old = defaulted(&raft());
    assert!(partition_set(&old, None, &taken).violations.is_empty());
    let grown = partition_set(&with(old.clone(), "/spec/partitions", json!(8)), Some(&old), &taken);
    assert_eq!(
        texts(&grown.violations),
        [
            r#"spec.partitions: Invalid value: 8: partition 7 needs a Service named "raft-7-hs", and PartitionSet "raft-7-hs" has it"#,
            r#"spec.partitions: Invalid value: 8: partition 8 needs a Service named "raft-8", and PartitionSet "raft-8" has it"#,
        ]
    );
    let many = |name: &str| (name != "raft").then_some(1);
    assert_eq!(partition_set(&with(old, "/spec/partitions", json!(1000)), None, &many).violations.len(), 20);
}

#[test]
fn limits_are_those_of_what_is_made_of_a_set() {
    const ANNOTATIONS: &str = "/spec/template/metadata";
    let annotated =
        |bytes: usize| created(&with(raft(), ANNOTATIONS, json!({"annotations": {"a": "x".repeat(bytes)}})));
    let most = 256 * 1024 - 4096;
    assert_eq!(annotated(most - 1), Vec::<String>::new());
    assert_eq!(annotated(most), ["spec.template.metadata.annotations: Too long: may not be more than 258048 bytes"]);
    let env = |bytes: usize| json!([{"name": "A", "value": "x".repeat(bytes)}]);
    let of_env = |bytes: usize| created(&with(raft(), "/spec/template/spec/env", env(bytes)));
    assert_eq!(of_env(500 * 1024), Vec::<String>::new());
    assert_eq!(of_env(512 * 1024), ["spec: Too long: may not be more than 524288 bytes"]);
}

#[test]
fn a_generated_name_is_judged_by_its_prefix() {
    let named = |prefix: String| {
        let mut object = raft();
        object["metadata"] = json!({"generateName": prefix});
        created(&object)
    };
    assert_eq!(named("raft-".to_owned()), Vec::<String>::new());
    assert!(named("x".repeat(46))[0].starts_with("metadata.generateName: "));
    assert!(named("Raft-".to_owned())[0].starts_with("metadata.generateName: "));
}

#[test]
fn warnings_say_what_is_unwise() {
    let warned = |object: Value, old: Option<&Value>| partition_set(&object, old, &alone).warnings.join("\n");
    let has = |text: &str, part: &str| assert!(text.contains(part), "{text:?} lacks {part:?}");
    has(&warned(with(raft(), "/spec/partitions", json!(300)), None), "DNS answer");
    has(&warned(with(raft(), "/spec/template/spec/size", json!(4)), None), "tolerates no more failures than one of 3");
    has(&warned(with(raft(), "/spec/template/spec/size", json!(2)), None), "without losing its quorum");
    assert_eq!(warned(with(raft(), "/spec/template/spec/storageSize", json!("1Gi")), None), "");
    has(&warned(with(raft(), "/spec/template/metadata", json!({"labels": {"app": "x"}})), None), "labels[app]");
    let old = defaulted(&raft());
    has(&warned(with(old.clone(), "/spec/partitions", json!(7)), Some(&old)), "re-homes keys");
    let backup = json!({"metadata": {"name": "a"}, "spec": {"template": {"spec": {"protocol": "backup"}}}});
    has(&warned(backup, None), "--backup-image");
    assert_eq!(warned(old.clone(), Some(&old)), "");
}

#[test]
fn a_partition_is_judged_by_the_same_rules() {
    let object = |spec: Value| json!({"metadata": {"name": "raft-1"}, "spec": spec});
    let good = object(json!({"size": 3, "protocol": "raft"}));
    assert!(partition(&good, None).is_empty());
    assert_eq!(texts(&partition(&object(json!({"size": 0, "protocol": "raft"})), None)).len(), 1);
    let bigger = object(json!({"size": 5, "protocol": "raft"}));
    assert_eq!(texts(&partition(&bigger, Some(&good)))[0].split(": ").next(), Some("spec.size"));
}
