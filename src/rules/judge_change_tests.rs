//! Updates: what stays, and what needs consent.

use serde_json::json;

use super::tests::{alone, created, defaulted, raft, texts, updated, with};
use super::*;

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
