#![allow(clippy::needless_pass_by_value, reason = "fixtures read best with literals")]

use serde_json::json;

use super::*;

const COMPARISON: Comparison = Comparison {
    no_extra_fields: &["spec.selector", "spec.absent"],
    no_extra_elements: &["spec.ports"],
    replaced_whole: &[],
};

fn lacks(wanted: Value, stored: Value) -> Vec<String> {
    let spec = |spec: Value| json!({ "spec": spec });
    missing(&spec(wanted), &COMPARISON, &FieldSet::of(&spec(stored), &COMPARISON))
}

fn has(wanted: Value, stored: Value) -> bool {
    lacks(wanted, stored).is_empty()
}

#[test]
fn what_others_add_makes_no_difference() {
    let wanted = json!({"replicas": 3, "map": {"a": "b"}, "containers": [{"name": "atomix", "image": "i"}]});
    let stored = json!({
        "replicas": 3, "map": {"a": "b", "c": "d"}, "policy": "theirs",
        "containers": [{"name": "sidecar"}, {"name": "atomix", "image": "i", "imagePullPolicy": "Always"}],
    });
    assert!(has(wanted, stored));
}

#[test]
fn every_field_that_differs_is_named_as_kubernetes_names_it() {
    let wanted = json!({
        "replicas": 3, "containers": [{"name": "atomix", "image": "i", "env": [{"name": "A", "value": "b"}]}],
        "args": ["a", "b"], "labels": {"empty": ""},
    });
    let stored = json!({"replicas": 5, "containers": [{"name": "atomix", "image": "x"}], "args": ["b", "a"]});
    let mut paths = lacks(wanted, stored);
    paths.sort_unstable();
    let expected = [
        "spec.args",
        "spec.containers[atomix].env[A].name",
        "spec.containers[atomix].env[A].value",
        "spec.containers[atomix].image",
        "spec.labels.empty",
        "spec.replicas",
    ];
    assert_eq!(paths, expected);
}

#[test]
fn of_elements_with_one_key_the_last_is_the_one_that_counts() {
    let (ours, theirs) = (json!({"name": "A", "value": "ours"}), json!({"name": "A", "value": "theirs"}));
    let wanted = json!({ "env": [ours] });
    assert!(has(wanted.clone(), json!({ "env": [theirs, ours] })));
    assert_eq!(lacks(wanted, json!({ "env": [ours, {"name": "B"}, theirs] })), ["spec.env[A].value"]);
}

#[test]
fn what_is_empty_is_the_same_as_none() {
    let empty = json!({
        "tolerations": [], "nodeSelector": {}, "env": [{"name": "E", "value": ""}], "resources": {"limits": {}},
        "capabilities": {"add": []}, "text": "", "none": null,
    });
    assert!(has(empty.clone(), json!({"env": [{"name": "E"}]})));
    assert!(has(json!({"env": [{"name": "E"}]}), empty));
    assert!(!has(json!({"volumes": [{"name": "d", "emptyDir": {}}]}), json!({"volumes": [{"name": "d"}]})));
}

#[test]
fn quantities_are_compared_by_value_and_lists_without_a_key_in_any_order() {
    assert!(has(
        json!({"limits": {"cpu": 1, "memory": "1024Mi"}}),
        json!({"limits": {"cpu": "1000m", "memory": "1Gi"}})
    ));
    assert!(!has(json!({"limits": {"cpu": "1"}}), json!({"limits": {"cpu": "2"}})));
    let (a, b) = (json!({"key": "a", "values": ["x", "y"]}), json!({"key": "b"}));
    assert!(has(json!({"tolerations": [a, b]}), json!({"tolerations": [b, {"key": "a", "values": ["y", "x"]}]})));
    assert!(!has(json!({"tolerations": [a]}), json!({"tolerations": [b]})));
}

#[test]
fn where_nothing_extra_is_allowed_a_list_has_no_other_elements_and_a_field_no_other_content() {
    let ports = |ports: Value| json!({ "ports": ports });
    assert!(has(ports(json!([{"port": 1}])), ports(json!([{"port": 1, "name": "theirs"}]))));
    assert!(!has(ports(json!([{"port": 1}])), ports(json!([{"port": 1}, {"port": 2}]))));
    assert!(!has(json!({"selector": {"a": "b"}}), json!({"selector": {"a": "b", "c": "d"}})));
    assert_eq!(lacks(json!({}), json!({"absent": 1})), ["spec.absent"]);
}

#[test]
fn of_the_metadata_only_labels_annotations_and_owners_count() {
    let wanted = json!({"metadata": {"name": "a", "labels": {"a": "b"}}, "status": {"x": 1}, "kind": "A"});
    let stored = json!({"metadata": {"uid": "u", "labels": {"a": "b", "theirs": "x"}}});
    assert!(missing(&wanted, &COMPARISON, &FieldSet::of(&stored, &COMPARISON)).is_empty());
    let owners = |controller: bool| json!({"metadata": {"ownerReferences": [{"uid": "u", "controller": controller}]}});
    let lacks = missing(&owners(true), &COMPARISON, &FieldSet::of(&owners(false), &COMPARISON));
    assert_eq!(lacks, ["metadata.ownerReferences[u].controller"]);
}

#[test]
fn single_fields_have_the_hashes_that_they_have_in_an_object() {
    let object =
        json!({"metadata": {"labels": {"app": "atomix"}, "annotations": {"a": ""}}, "spec": {"selector": {"x": 1}}});
    let fields = FieldSet::of(&object, &COMPARISON);
    assert!(fields.contains(metadata_field("labels", "app", "atomix")));
    assert!(fields.contains(metadata_field("annotations", "a", "")));
    assert!(!fields.contains(metadata_field("labels", "app", "other")));
}
