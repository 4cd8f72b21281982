//! A set that was stored before there were rules is not held to them by an edit of something else.

use serde_json::{Value, json};
use webhook_tests::Kubectl;

use crate::SOON;
use crate::bare::bare;
use crate::manifests::{raft, set, with};
use crate::verdicts::{invalid, patches, refuses, spec};

/// One rule that a stored set breaks.
struct Old {
    name: &'static str,
    /// The set as it is stored.
    set: Value,
    /// A change to something that is wrong as well, and how it is refused.
    worse: (Value, &'static str),
    /// A change to what is right, where that is possible.
    better: Option<Value>,
}

fn template(spec: Value) -> Value {
    with(json!({}), "/spec/template/spec", spec)
}

/// A set that breaks one rule by what stands at a pointer.
fn breaking(
    name: &'static str,
    pointer: &str,
    value: Value,
    worse: (Value, &'static str),
    better: Option<Value>,
) -> Old {
    Old { name, set: with(raft(name), pointer, value), worse, better }
}

/// Old sets that break a rule of one field.
fn of_one_field() -> Vec<Old> {
    vec![
        breaking(
            "config",
            "/spec/template/spec/config",
            json!("electionTimout: 5s"),
            (
                template(json!({"config": "electionTimout: 6s\nstorage: {level: disk}"})),
                "spec.template.spec.config.storage.level: Unsupported value: \"disk\": supported values: \"DISK\", \"MAPPED\"",
            ),
            Some(template(json!({"config": "electionTimeout: 5s"}))),
        ),
        breaking(
            "labels",
            "/spec/template/metadata/labels",
            json!({"tier": "-"}),
            (
                json!({"spec": {"template": {"metadata": {"labels": {"tier": "_"}}}}}),
                "spec.template.metadata.labels[tier]: Invalid value: \"_\": a valid label must be an empty string or \
                 consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric \
                 character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is \
                 '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')",
            ),
            Some(json!({"spec": {"template": {"metadata": {"labels": {"tier": "one"}}}}})),
        ),
        breaking(
            "partitions",
            "/spec/partitions",
            json!(0),
            (
                json!({"spec": {"partitions": -1}}),
                "spec.partitions: Invalid value: -1: must be greater than or equal to 1",
            ),
            Some(json!({"spec": {"partitions": 2}})),
        ),
        breaking(
            "amount",
            "/spec/template/spec/storageSize",
            json!("0"),
            (
                template(json!({"storageSize": "much"})),
                "spec.template.spec.storageSize: Invalid value: \"much\": must be a quantity greater than 0, for instance 8Gi",
            ),
            None,
        ),
        breaking(
            "env",
            "/spec/template/spec/env",
            json!([{"name": "NODE_ID", "value": "me"}]),
            (
                template(json!({"env": [{"name": "NODE_ID", "value": "me"}, {"name": "A"}, {"name": "A"}]})),
                "spec.template.spec.env[2].name: Duplicate value: \"A\"",
            ),
            Some(template(json!({"env": [{"name": "A"}]}))),
        ),
        breaking(
            "1st",
            "/spec/partitions",
            json!(2),
            (
                json!({"spec": {"partitions": 0}}),
                "spec.partitions: Invalid value: 0: must be greater than or equal to 1",
            ),
            None,
        ),
    ]
}

/// Old sets that break a rule of two fields.
fn of_two_fields() -> Vec<Old> {
    vec![
        breaking(
            "unavailable",
            "/spec/maxUnavailablePartitions",
            json!(5),
            (
                json!({"spec": {"maxUnavailablePartitions": 6}}),
                "spec.maxUnavailablePartitions: Invalid value: 6: must be less than or equal to spec.partitions (2)",
            ),
            Some(json!({"spec": {"maxUnavailablePartitions": 2}})),
        ),
        breaking(
            "sizes",
            "/spec/partitionSize",
            json!(5),
            (
                json!({"spec": {"partitionSize": 7}}),
                "spec.template.spec.size: Invalid value: 7: field is immutable with the raft protocol, whose members are \
                 configured once: create another set",
            ),
            Some(json!({"spec": {"partitionSize": 3}})),
        ),
        breaking(
            "policies",
            "/spec/template/spec",
            json!({"protocol": "raft", "size": 3, "imagePullPolicy": "Always", "pullPolicy": "Never"}),
            (
                template(json!({"pullPolicy": "Sometimes"})),
                "spec.template.spec.imagePullPolicy: Unsupported value: \"Sometimes\": supported values: \"Always\", \
                 \"IfNotPresent\", \"Never\"",
            ),
            Some(template(json!({"pullPolicy": "Always"}))),
        ),
        breaking(
            "storage",
            "/spec/template/spec/storageClass",
            json!("fast"),
            (
                template(json!({"storageClass": "slow"})),
                "spec.template.spec.storageClass: Forbidden: field is immutable: the claim templates of a StatefulSet \
                 cannot change",
            ),
            None,
        ),
    ]
}

fn olds() -> impl Iterator<Item = Old> {
    of_one_field().into_iter().chain(of_two_fields())
}

/// Everything that is stored before the schema has rules.
pub fn old_sets() -> Vec<Value> {
    let plain = set("plain", json!({"template": {"spec": {"protocol": "raft"}}}));
    olds().map(|old| old.set).chain([plain]).collect()
}

fn finalizers(kubectl: &Kubectl, name: &str, list: Value) {
    patches(kubectl, name, &with(json!({}), "/metadata/finalizers", list));
}

/// One life for each old set. All are independent of each other, and kubectl is what takes the time.
#[test]
fn an_old_set_is_judged_only_by_what_changes() {
    let kubectl = bare().guarded();
    std::thread::scope(|scope| {
        for old in olds() {
            let kubectl = kubectl.clone();
            scope.spawn(move || one_life(&kubectl, &old));
        }
    });
}

fn one_life(kubectl: &Kubectl, old: &Old) {
    let name = old.name;
    patches(kubectl, name, &json!({"metadata": {"labels": {"metadata": "edited"}}}));
    finalizers(kubectl, name, json!(["example.com/hold"]));
    patches(kubectl, name, &template(json!({"image": "another"})));
    assert_eq!(spec(kubectl, name)["template"]["spec"]["image"], "another");
    refuses(kubectl, name, &old.worse.0, &invalid(name, old.worse.1));
    if let Some(better) = &old.better {
        patches(kubectl, name, better);
    }
    kubectl.ok(&["delete", "pset", name, "--wait=false"]);
    finalizers(kubectl, name, json!(null));
    kubectl.wait_until(&[&format!("pset/{name}")], SOON, <[Value]>::is_empty);
}

#[test]
fn an_old_set_without_defaults_gets_them_with_its_next_edit() {
    let kubectl = bare().guarded();
    assert_eq!(spec(&kubectl, "plain"), json!({"template": {"spec": {"protocol": "raft"}}}));
    patches(&kubectl, "plain", &json!({"metadata": {"labels": {"metadata": "edited"}}}));
    let spec = spec(&kubectl, "plain");
    assert_eq!((&spec["partitions"], &spec["template"]["spec"]["size"]), (&json!(1), &json!(1)));
}
