use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::rules::Violation;

fn alone(_: &str) -> Option<i64> {
    None
}

fn raft() -> Value {
    json!({
        "apiVersion": "k8s.atomix.io/v1alpha1", "kind": "PartitionSet",
        "metadata": {"name": "raft", "namespace": "default"},
        "spec": {"partitions": 6, "template": {"spec": {
            "size": 3, "protocol": "raft", "config": "electionTimeout: 5s\nheartbeatInterval: 1s\n"}}},
    })
}

/// `object` with a value put at a pointer, of which the parents exist.
fn with(mut object: Value, pointer: &str, value: Value) -> Value {
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    object.pointer_mut(parent).unwrap()[key] = value;
    object
}

fn created(object: &Value) -> Vec<String> {
    texts(&partition_set(object, None, &alone).violations)
}

fn updated(object: &Value, old: &Value) -> Vec<String> {
    texts(&partition_set(object, Some(old), &alone).violations)
}

fn texts(violations: &[Violation]) -> Vec<String> {
    violations.iter().map(ToString::to_string).collect()
}

/// The object with what defaulting fills in, as the API server would have it.
fn defaulted(object: &Value) -> Value {
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
fn immutable_fields_stay() {
    let old = defaulted(&with(raft(), "/spec/template/spec/storageSize", json!("1Gi")));
    let changes = [
        (
            "/spec/template/spec/protocol",
            json!("log"),
            vec![
                r#"spec.template.spec.config.electionTimeout: Unsupported value: "electionTimeout": supported values: "memberGroupStrategy", "storage", "compaction""#,
                r#"spec.template.spec.config.heartbeatInterval: Unsupported value: "heartbeatInterval": supported values: "memberGroupStrategy", "storage", "compaction""#,
                r#"spec.template.spec.protocol: Invalid value: "log": field is immutable"#,
            ],
        ),
        (
            "/spec/template/spec/size",
            json!(5),
            vec![
                "spec.template.spec.size: Invalid value: 5: field is immutable with the raft protocol, whose members are configured once: create another set",
            ],
        ),
        (
            "/spec/partitionSize",
            json!(5),
            vec![
                "spec.template.spec.size: Invalid value: 5: field is immutable with the raft protocol, whose members are configured once: create another set",
            ],
        ),
        (
            "/spec/template/spec/storageSize",
            json!("2Gi"),
            vec![
                "spec.template.spec.storageSize: Forbidden: field is immutable: the claim templates of a StatefulSet cannot change",
            ],
        ),
        (
            "/spec/template/spec/storageClass",
            json!("fast"),
            vec![
                "spec.template.spec.storageClass: Forbidden: field is immutable: the claim templates of a StatefulSet cannot change",
            ],
        ),
        ("/spec/template/spec/storageSize", json!("1024Mi"), vec![]),
        ("/spec/template/spec/image", json!("other"), vec![]),
    ];
    for (pointer, value, expected) in changes {
        assert_eq!(updated(&with(old.clone(), pointer, value), &old), expected, "{pointer}");
    }
}

#[test]
fn the_first_address_family_stays_and_the_second_comes_and_goes() {
    let families = |families: Value, policy: &str| {
        let set = with(raft(), "/spec/template/spec/ipFamilies", families);
        with(set, "/spec/template/spec/ipFamilyPolicy", json!(policy))
    };
    let one = defaulted(&families(json!(["IPv4"]), "SingleStack"));
    let both = defaulted(&families(json!(["IPv4", "IPv6"]), "PreferDualStack"));
    assert_eq!(updated(&both, &one), Vec::<String>::new());
    assert_eq!(updated(&one, &both), Vec::<String>::new());
    let detail = "field is immutable: a Service keeps its first address family";
    let other = families(json!(["IPv6", "IPv4"]), "RequireDualStack");
    let text = format!(r#"spec.template.spec.ipFamilies[0]: Invalid value: "IPv6": {detail}"#);
    assert_eq!(updated(&other, &one), [text]);
    let twice = families(json!(["IPv6", "IPv6"]), "PreferDualStack");
    assert_eq!(created(&twice), [r#"spec.template.spec.ipFamilies[1]: Duplicate value: "IPv6""#]);
}

#[test]
fn backup_and_log_partitions_may_change_their_size() {
    for protocol in ["backup", "log"] {
        let old = json!({"metadata": {"name": "a"}, "spec": {"template": {"spec": {"size": 2, "protocol": protocol, "image": "i"}}}});
        let old = defaulted(&old);
        assert_eq!(updated(&with(old.clone(), "/spec/template/spec/size", json!(3)), &old), Vec::<String>::new());
    }
}

const ALLOW: &str = "k8s.atomix.io/allow-partition-removal";

/// A stored set of 6 partitions at generation 17.
fn stored_raft() -> Value {
    with(defaulted(&raft()), "/metadata/generation", json!(17))
}

/// `old` with so many partitions and this consent, as an edit would send it.
fn shrunk(old: &Value, partitions: i64, consent: Option<&str>) -> Value {
    let fewer = with(old.clone(), "/spec/partitions", json!(partitions));
    let annotations = consent.map_or(Value::Null, |consent| json!({ALLOW: consent}));
    with(fewer, "/metadata/annotations", annotations)
}

#[test]
fn shrinking_needs_a_consent_that_names_the_number_and_the_generation() {
    let old = stored_raft();
    let refusal = |wanted: &str, given: &str| {
        format!(
            "spec.partitions: Forbidden: reducing the number of partitions from 6 to 4 destroys the data of the removed ones; to agree, set the annotation {ALLOW}: {wanted:?}{given}"
        )
    };
    for (consent, given) in [
        (None, ""),
        (
            Some("4"),
            r#" (instead of "4": a consent is for one change only, so it names the generation of the set as well)"#,
        ),
        (
            Some("3"),
            r#" (instead of "3": a consent is for one change only, so it names the generation of the set as well)"#,
        ),
        (
            Some("4@16"),
            r#" (instead of "4@16": a consent is for one change only, and the set has changed since generation 16)"#,
        ),
        (Some("4@18"), r#" (instead of "4@18": the set has not reached generation 18)"#),
        (Some("3@17"), r#" (instead of "3@17": it agrees to another number of partitions)"#),
        (Some("4 @17"), r#" (instead of "4 @17": it is not of the form <partitions>@<generation>)"#),
    ] {
        assert_eq!(updated(&shrunk(&old, 4, consent), &old), [refusal("4@17", given)], "{consent:?}");
    }
    assert_eq!(updated(&shrunk(&old, 4, Some("4@17")), &old), Vec::<String>::new());
    let long = updated(&shrunk(&old, 4, Some(&"4".repeat(100_000))), &old);
    assert!(long[0].len() < 500, "{long:?}");

    // What is no number of partitions is refused as such.
    for partitions in [0, i64::MIN] {
        let said = updated(&shrunk(&old, partitions, None), &old);
        assert!(said[0].ends_with("must be greater than or equal to 1"), "{said:?}");
    }

    // Without a generation there is nothing that a consent could name.
    let unnumbered = defaulted(&raft());
    let wanted = "4@<metadata.generation of the set>";
    assert_eq!(updated(&shrunk(&unnumbered, 4, None), &unnumbered), [refusal(wanted, "")]);
    assert_eq!(
        updated(&shrunk(&unnumbered, 4, Some("4@17")), &unnumbered),
        [refusal(
            wanted,
            r#" (instead of "4@17": a consent is for one change only, and the generation of the set is not known here)"#
        )]
    );
}

#[test]
fn the_generation_that_an_update_claims_does_not_count() {
    let old = stored_raft();
    let claimed = with(shrunk(&old, 4, Some("4@16")), "/metadata/generation", json!(16));
    assert_eq!(updated(&claimed, &old).len(), 1);
}

#[test]
fn a_consent_is_used_up_by_the_change_that_it_was_given_for() {
    let old = stored_raft();
    let four = with(shrunk(&old, 4, Some("4@17")), "/metadata/generation", json!(18));
    assert_eq!(updated(&four, &old), Vec::<String>::new());
    for partitions in [6, 20] {
        let grown = with(with(four.clone(), "/spec/partitions", json!(partitions)), "/metadata/generation", json!(19));
        assert_eq!(updated(&grown, &four), Vec::<String>::new());
        for again in [&four, &with(grown.clone(), "/spec/partitions", json!(4))] {
            assert!(updated(again, &grown)[0].contains(r#"allow-partition-removal: "4@19" (instead of "4@17": "#));
        }
    }
    // What changes nothing needs no consent.
    assert_eq!(updated(&four, &four), Vec::<String>::new());
}

#[test]
fn what_a_shrink_removes_is_said_with_numbers() {
    let removal = |old: &Value, partitions: i64| {
        let old = with(old.clone(), "/metadata/generation", json!(17));
        let new = shrunk(&old, partitions, Some(&format!("{partitions}@17")));
        let verdict = partition_set(&new, Some(&old), &alone);
        assert_eq!(texts(&verdict.violations), Vec::<String>::new());
        verdict.warnings.join("\n")
    };
    let memory = defaulted(&raft());
    for (partitions, text) in [
        (5, "spec.partitions: 1 of 6 partitions is removed with its data: raft-6 (3 pods)"),
        (4, "spec.partitions: 2 of 6 partitions are removed with their data: raft-5 and raft-6 (6 pods)"),
        (1, "spec.partitions: 5 of 6 partitions are removed with their data: raft-2 to raft-6 (15 pods)"),
    ] {
        assert_eq!(removal(&memory, partitions), text);
    }
    let retained = defaulted(&with(raft(), "/spec/template/spec/storageSize", json!("1Gi")));
    assert_eq!(
        removal(&retained, 4),
        "spec.partitions: 2 of 6 partitions are removed: raft-5 and raft-6 (6 pods); their PersistentVolumeClaims are retained with the data (whenDeleted: Retain)"
    );
    let deleted = with(retained, "/spec/persistentVolumeClaimRetentionPolicy/whenDeleted", json!("Delete"));
    assert_eq!(
        removal(&deleted, 5),
        "spec.partitions: 1 of 6 partitions is removed with its data: raft-6 (3 pods); its PersistentVolumeClaims are deleted (whenDeleted: Delete)"
    );
    let single = json!({"metadata": {"name": "a"}, "spec": {"partitions": 2, "template": {"spec": {"protocol": "backup", "image": "i"}}}});
    assert_eq!(
        removal(&defaulted(&single), 1),
        "spec.partitions: 1 of 2 partitions is removed with its data: a-2 (1 pod)"
    );
}

#[test]
fn the_largest_removal_fits_into_a_warning_of_the_api_server() {
    let name = "n".repeat(47);
    for when_deleted in ["Retain", "Delete"] {
        let old = json!({
            "metadata": {"name": name, "generation": 1},
            "spec": {
                "partitions": 1000, "persistentVolumeClaimRetentionPolicy": {"whenDeleted": when_deleted},
                "template": {"spec": {"size": 21, "protocol": "raft", "storageSize": "1Gi"}},
            },
        });
        let old = defaulted(&old);
        let verdict = partition_set(&shrunk(&old, 1, Some("1@1")), Some(&old), &alone);
        assert_eq!(texts(&verdict.violations), Vec::<String>::new());
        let [warning] = verdict.warnings.as_slice() else { panic!("{:?}", verdict.warnings) };
        assert!(warning.contains("999 of 1000 partitions are removed"), "{warning}");
        assert!(warning.chars().count() <= 256, "{}: {warning}", warning.chars().count());
    }
}

#[test]
fn what_was_wrong_before_is_not_held_against_an_update() {
    let old = with(defaulted(&raft()), "/spec/template/spec/config", json!("electionTimout: 5s"));
    let edited = with(old.clone(), "/spec/template/spec/image", json!("new"));
    assert_eq!(updated(&edited, &old), Vec::<String>::new());
    let worse = with(old.clone(), "/spec/template/spec/config", json!("electionTimout: 6s\nx: 1"));
    assert_eq!(updated(&worse, &old).len(), 1);
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
fn a_scale_is_an_edit_of_the_number_of_partitions() {
    let old = partition_set(&stored_raft(), None, &alone).set;
    assert_eq!(texts(&scale(&old, 8, &alone).violations), Vec::<String>::new());
    assert_eq!(
        texts(&scale(&old, 0, &alone).violations)[0],
        "spec.partitions: Invalid value: 0: must be greater than or equal to 1"
    );
    assert_eq!(scale(&old, 5, &alone).violations.len(), 1);
    let consenting = with(stored_raft(), "/metadata/annotations", json!({ALLOW: "5@17"}));
    let consenting = partition_set(&consenting, None, &alone).set;
    let shrink = scale(&consenting, 5, &alone);
    assert_eq!(texts(&shrink.violations), Vec::<String>::new());
    assert_eq!(shrink.warnings, ["spec.partitions: 1 of 6 partitions is removed with its data: raft-6 (3 pods)"]);
    assert_eq!(scale(&consenting, 4, &alone).violations.len(), 1);
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

/// Any JSON that a careless or hostile user might send as one field.
fn junk() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,20}".prop_map(Value::from),
        prop_oneof![Just("raft"), Just("log"), Just("Retain"), Just("1Gi"), Just("5s")].prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-z]{1,12}", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

const FIELDS: [&str; 14] = [
    "/spec/partitions",
    "/spec/partitionSize",
    "/spec/maxUnavailablePartitions",
    "/spec/persistentVolumeClaimRetentionPolicy",
    "/spec/template",
    "/spec/template/metadata",
    "/spec/template/spec",
    "/spec/template/spec/size",
    "/spec/template/spec/protocol",
    "/spec/template/spec/config",
    "/spec/template/spec/pullPolicy",
    "/spec/template/spec/env",
    "/spec/template/spec/resources",
    "/spec/template/spec/affinity",
];

fn count() -> impl Strategy<Value = Option<i64>> {
    prop::option::of(-2_i64..25)
}

prop_compose! {
    fn plausible()(partitions in count(), alias in count(), size in count(), unavailable in count(),
        policy in prop::option::of(prop_oneof![Just("Always"), Just("Never"), Just("x")]),
        retention in prop::option::of(prop_oneof![Just(json!({})), Just(json!({"whenScaled": "Delete"}))])) -> Value {
        let mut object = raft();
        let mut put = |parent: &str, key: &str, value: Option<Value>| {
            let parent = object.pointer_mut(parent).unwrap().as_object_mut().unwrap();
            parent.remove(key);
            if let Some(value) = value {
                parent.insert(key.to_owned(), value);
            }
        };
        put("/spec", "partitions", partitions.map(Value::from));
        put("/spec", "partitionSize", alias.map(Value::from));
        put("/spec", "maxUnavailablePartitions", unavailable.map(Value::from));
        put("/spec", "persistentVolumeClaimRetentionPolicy", retention);
        put("/spec/template/spec", "size", size.map(Value::from));
        put("/spec/template/spec", "pullPolicy", policy.map(Value::from));
        object
    }
}

proptest! {
    #[test]
    fn defaulting_is_idempotent_and_only_adds(object in plausible()) {
        let once = defaulted(&object);
        prop_assert!(partition_set(&once, None, &alone).edits.is_empty());
        for field in FIELDS {
            if let Some(given) = object.pointer(field).filter(|given| !given.is_object()) {
                prop_assert_eq!(once.pointer(field), Some(given));
            }
        }
    }

    #[test]
    fn what_is_legal_stays_legal_when_applied_again(object in plausible()) {
        let once = defaulted(&object);
        if partition_set(&object, None, &alone).violations.is_empty() {
            let again = partition_set(&once, Some(&once), &alone);
            prop_assert!(again.violations.is_empty() && again.edits.is_empty() && again.warnings.is_empty());
        }
    }

    #[test]
    fn junk_in_any_field_is_judged_and_never_breaks(field in prop::sample::select(FIELDS.to_vec()), value in junk()) {
        let object = with(raft(), field, value);
        let verdict = partition_set(&object, Some(&raft()), &alone);
        for violation in &verdict.violations {
            prop_assert!(violation.field.starts_with("spec"), "{}", violation);
        }
    }
}
