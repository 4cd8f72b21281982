//! What a user leaves out is filled in, and what a user writes is left alone.

use serde_json::{Value, json};

use crate::manifests::{backup, raft, set, with};
use crate::verdicts::{accepts, namespace, patches, spec};

#[test]
fn every_field_with_a_default_has_it_when_only_the_protocol_is_given() {
    let namespace = namespace("defaults");
    let stored = accepts(&namespace.kubectl(), &set("raft", json!({"template": {"spec": {"protocol": "raft"}}})));
    let expected = json!({
        "partitions": 1,
        "partitionSize": 1,
        "maxUnavailablePartitions": 1,
        "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Retain", "whenScaled": "Retain"},
        "template": {"spec": {"protocol": "raft", "size": 1}},
    });
    assert_eq!(stored["spec"], expected);
}

/// Contract, section 7: the original took an omitted size for 0, and called partitions without pods ready.
#[test]
fn omitted_size_is_one_pod() {
    let namespace = namespace("omitted");
    let stored = accepts(&namespace.kubectl(), &set("raft", json!({"template": {"spec": {"protocol": "raft"}}})));
    assert_eq!(stored["spec"]["template"]["spec"]["size"], 1);
}

/// Contract, section 7: in the original no value of the pull policy could be used.
#[test]
fn pull_policy_is_usable_by_both_of_its_names() {
    let namespace = namespace("policies");
    let kubectl = namespace.kubectl();
    for (name, field) in [("a", "imagePullPolicy"), ("b", "pullPolicy")] {
        let given = with(raft(name), &format!("/spec/template/spec/{field}"), json!("IfNotPresent"));
        let stored = accepts(&kubectl, &given);
        for both in ["imagePullPolicy", "pullPolicy"] {
            assert_eq!(stored["spec"]["template"]["spec"][both], "IfNotPresent", "{both} where {field} is given");
        }
    }
    let stored = accepts(&kubectl, &raft("c"));
    for neither in ["imagePullPolicy", "pullPolicy"] {
        assert_eq!(stored["spec"]["template"]["spec"][neither], Value::Null, "Kubernetes' own rule holds");
    }
}

#[test]
fn the_size_is_taken_from_either_of_its_names() {
    let namespace = namespace("sizes");
    let kubectl = namespace.kubectl();
    let template = json!({"spec": {"protocol": "raft"}});
    let sized = json!({"spec": {"protocol": "raft", "size": 5}});
    for (name, spec) in [
        ("alias", json!({"partitionSize": 5, "template": template})),
        ("field", json!({"template": sized})),
        ("both", json!({"partitionSize": 5, "template": sized})),
    ] {
        let stored = accepts(&kubectl, &set(name, spec));
        let (alias, field) = (&stored["spec"]["partitionSize"], &stored["spec"]["template"]["spec"]["size"]);
        assert_eq!((alias, field), (&json!(5), &json!(5)), "{name}");
    }
}

#[test]
fn half_a_retention_policy_is_completed() {
    let namespace = namespace("retention");
    let kubectl = namespace.kubectl();
    for (name, given, expected) in [
        ("a", json!({}), json!({"whenDeleted": "Retain", "whenScaled": "Retain"})),
        ("b", json!({"whenDeleted": "Delete"}), json!({"whenDeleted": "Delete", "whenScaled": "Retain"})),
        ("c", json!({"whenScaled": "Delete"}), json!({"whenDeleted": "Retain", "whenScaled": "Delete"})),
    ] {
        let stored = accepts(&kubectl, &with(raft(name), "/spec/persistentVolumeClaimRetentionPolicy", given));
        assert_eq!(stored["spec"]["persistentVolumeClaimRetentionPolicy"], expected);
    }
}

#[test]
fn an_explicit_null_is_as_good_as_nothing() {
    let namespace = namespace("nulls");
    let given = with(raft("raft"), "/spec/partitions", json!(null));
    let given = with(given, "/spec/persistentVolumeClaimRetentionPolicy", json!({"whenScaled": null}));
    let stored = accepts(&namespace.kubectl(), &given);
    assert_eq!(stored["spec"]["partitions"], 1);
    assert_eq!(stored["spec"]["persistentVolumeClaimRetentionPolicy"]["whenScaled"], "Retain");
}

/// A set that names every field, none at its default or in the form that Kubernetes would choose.
pub fn everything(name: &str) -> Value {
    let spec = json!({
        "size": 3,
        "protocol": "log",
        "config": "# ours\nmember_group_strategy: RACK_AWARE\nstorage: {level: MAPPED, segmentSize: 0x10}\n",
        "image": "registry.example/log:1",
        "imagePullPolicy": "Never",
        "pullPolicy": "Never",
        "env": [
            {"name": "LEVEL", "value": "debug"},
            {"name": "HOST", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "status.hostIP"}}},
        ],
        "resources": {"requests": {"cpu": 1, "memory": "1024Mi"}, "limits": {"cpu": "1.50", "memory": "2e9"}},
        "storageClass": "fast",
        "storageSize": "1024Mi",
        "imagePullSecrets": [{"name": "registry"}],
        "nodeSelector": {"disk": "ssd"},
        "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
            {"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a"]}]},
        ]}}},
        "tolerations": [{"key": "dedicated", "operator": "Exists", "effect": "NoSchedule"}],
        "topologySpreadConstraints": [
            {"maxSkew": 2, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"},
        ],
        "priorityClassName": "system-node-critical",
        "serviceAccountName": "default",
        "securityContext": {"runAsNonRoot": true, "capabilities": {"drop": ["ALL"]}},
        "podSecurityContext": {"fsGroup": 1000},
        "terminationGracePeriodSeconds": 0,
    });
    set(
        name,
        json!({
            "partitions": 2,
            "partitionSize": 3,
            "maxUnavailablePartitions": 2,
            "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Delete", "whenScaled": "Delete"},
            "template": {
                "metadata": {"labels": {"tier": "one"}, "annotations": {"k8s.atomix.io/member-ports": "split"}},
                "spec": spec,
            },
        }),
    )
}

#[test]
fn nothing_that_the_user_wrote_is_touched() {
    let namespace = namespace("untouched");
    let given = everything("log");
    assert_eq!(accepts(&namespace.kubectl(), &given)["spec"], given["spec"]);
}

#[test]
fn applying_twice_changes_nothing() {
    let namespace = namespace("twice");
    let kubectl = namespace.kubectl();
    for object in [set("least", json!({"template": {"spec": {"protocol": "raft"}}})), raft("raft"), everything("most")]
    {
        let name = object["metadata"]["name"].as_str().expect("a name");
        let text = object.to_string();
        assert_eq!(kubectl.apply_stdin(&text), format!("partitionset.k8s.atomix.io/{name} created\n"));
        assert_eq!(kubectl.apply_stdin(&text), format!("partitionset.k8s.atomix.io/{name} unchanged\n"));
        let generation = kubectl.get_json(&["pset", name])["metadata"]["generation"].clone();
        assert_eq!(generation, 1);
    }
}

#[test]
fn of_two_names_of_the_size_the_one_that_was_left_alone_follows() {
    let namespace = namespace("follows");
    let kubectl = namespace.kubectl();
    accepts(&kubectl, &backup("backup"));
    let sizes = || {
        let spec = spec(&kubectl, "backup");
        (spec["partitionSize"].clone(), spec["template"]["spec"]["size"].clone())
    };
    assert_eq!(sizes(), (json!(2), json!(2)));
    patches(&kubectl, "backup", &json!({"spec": {"partitionSize": 3}}));
    assert_eq!(sizes(), (json!(3), json!(3)), "the field follows the alias");
    patches(&kubectl, "backup", &json!({"spec": {"template": {"spec": {"size": 4}}}}));
    assert_eq!(sizes(), (json!(4), json!(4)), "the alias follows the field");
    patches(&kubectl, "backup", &json!({"spec": {"partitionSize": 5, "template": {"spec": {"size": 5}}}}));
    assert_eq!(sizes(), (json!(5), json!(5)), "both may change to the same");
    patches(&kubectl, "backup", &json!({"spec": {"partitionSize": null}}));
    assert_eq!(sizes(), (json!(5), json!(5)), "what is removed is filled in again");
}

#[test]
fn of_two_names_of_the_pull_policy_the_one_that_was_left_alone_follows() {
    let namespace = namespace("follows");
    let kubectl = namespace.kubectl();
    accepts(&kubectl, &with(raft("raft"), "/spec/template/spec/pullPolicy", json!("Always")));
    let policies = || {
        let spec = spec(&kubectl, "raft");
        (spec["template"]["spec"]["pullPolicy"].clone(), spec["template"]["spec"]["imagePullPolicy"].clone())
    };
    patches(&kubectl, "raft", &json!({"spec": {"template": {"spec": {"imagePullPolicy": "Never"}}}}));
    assert_eq!(policies(), (json!("Never"), json!("Never")), "the alias follows the field");
    patches(&kubectl, "raft", &json!({"spec": {"template": {"spec": {"pullPolicy": "IfNotPresent"}}}}));
    assert_eq!(policies(), (json!("IfNotPresent"), json!("IfNotPresent")), "the field follows the alias");
    patches(&kubectl, "raft", &json!({"spec": {"template": {"spec": {"pullPolicy": null, "imagePullPolicy": null}}}}));
    assert_eq!(policies(), (json!(null), json!(null)), "both may go");
}
