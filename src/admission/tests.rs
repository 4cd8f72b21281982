use std::collections::HashMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::*;
use crate::runtime::metrics::Registry;

/// A watch cache of fixed content.
#[derive(Default)]
pub(super) struct Fixed(HashMap<(String, String), Arc<PartitionSet>>);

impl Fixed {
    pub(super) fn of(sets: &[Value]) -> Self {
        let sets = sets.iter().map(|set| {
            let set: PartitionSet = serde_json::from_value(set.clone()).unwrap();
            let key = (set.metadata.namespace.clone().unwrap(), set.metadata.name.clone().unwrap());
            (key, Arc::new(set))
        });
        Self(sets.collect())
    }
}

impl Sets for Fixed {
    fn get(&self, namespace: &str, name: &str) -> Option<Arc<PartitionSet>> {
        assert_ne!(name, "panic", "a cache that breaks");
        self.0.get(&(namespace.to_owned(), name.to_owned())).cloned()
    }
}

pub(super) const OWN: &str = "system:serviceaccount:home:keeper";

pub(super) fn admission(sets: &[Value]) -> Admission {
    let own_username = Arc::new(SetOnce::new());
    own_username.set(OWN.to_owned()).unwrap();
    Admission { sets: Arc::new(Fixed::of(sets)), own_username, metrics: Registry::default().register() }
}

pub(super) fn set(name: &str, partitions: i64) -> Value {
    json!({
        "apiVersion": "k8s.atomix.io/v1alpha1",
        "kind": "PartitionSet",
        "metadata": { "name": name, "namespace": "ns", "resourceVersion": "100", "generation": 17 },
        "spec": {
            "partitions": partitions,
            "partitionSize": 3,
            "maxUnavailablePartitions": 1,
            "persistentVolumeClaimRetentionPolicy": { "whenDeleted": "Retain", "whenScaled": "Retain" },
            "template": { "spec": { "protocol": "raft", "size": 3 } }
        }
    })
}

pub(super) fn request(resource: &str, operation: &str, object: &Value, old: &Value) -> Value {
    let (resource, sub) = resource.split_once('/').unwrap_or((resource, ""));
    json!({
        "uid": "u-1",
        "resource": { "group": "k8s.atomix.io", "version": "v1alpha1", "resource": resource },
        "subResource": sub,
        "operation": operation,
        "name": object.pointer("/metadata/name").or(old.pointer("/metadata/name")),
        "namespace": "ns",
        "userInfo": { "username": "someone" },
        "object": object,
        "oldObject": old,
    })
}

/// The `response` of the answer to a request.
fn decide(admission: &Admission, webhook: Webhook, request: &Value) -> Value {
    let mut request = request.clone();
    if request["name"].is_null() {
        request["name"] = json!("");
    }
    let request: Request = serde_json::from_value(request).unwrap();
    let mut review: Value = serde_json::from_slice(&admission.decide(webhook, &request).render().unwrap()).unwrap();
    review["response"].take()
}

fn patch(response: &Value) -> Vec<(String, Value)> {
    let Some(patch) = response["patch"].as_str() else { return Vec::new() };
    let patch: Value = serde_json::from_slice(&STANDARD.decode(patch).unwrap()).unwrap();
    let operations = patch.as_array().unwrap().iter();
    operations
        .map(|operation| {
            assert_eq!(operation["op"], "add");
            (operation["path"].as_str().unwrap().to_owned(), operation["value"].clone())
        })
        .collect()
}

const ALLOWED: fn() -> Value = || json!({ "uid": "u-1", "allowed": true });

#[test]
fn mutate_fills_what_is_absent_and_only_that() {
    let mut object = set("raft", 3);
    object["spec"].as_object_mut().unwrap().remove("partitionSize");
    object["spec"].as_object_mut().unwrap().remove("partitions");
    let response = decide(&admission(&[]), Webhook::Mutate, &request("partitionsets", "CREATE", &object, &Value::Null));
    assert_eq!(response["allowed"], true);
    assert_eq!(
        patch(&response),
        [("/spec/partitions".to_owned(), json!(1)), ("/spec/partitionSize".to_owned(), json!(3))]
    );
    let whole = request("partitionsets", "CREATE", &set("raft", 3), &Value::Null);
    let response = decide(&admission(&[]), Webhook::Mutate, &whole);
    assert_eq!(patch(&response), [("/kind".to_owned(), json!("PartitionSet"))]);
}

#[test]
fn both_webhooks_deny_with_everything_that_is_wrong() {
    let mut object = set("raft", 0);
    object["spec"]["template"]["spec"]["protocol"] = json!("paxos");
    for webhook in [Webhook::Mutate, Webhook::Validate] {
        let response = decide(&admission(&[]), webhook, &request("partitionsets", "CREATE", &object, &Value::Null));
        let status = &response["status"];
        assert_eq!((&response["allowed"], &response["patch"]), (&json!(false), &Value::Null));
        assert_eq!((&status["code"], &status["reason"]), (&json!(422), &json!("Invalid")));
        let message = status["message"].as_str().unwrap();
        assert!(message.starts_with("PartitionSet.k8s.atomix.io \"raft\" is invalid: [spec.partitions: "), "{message}");
        let fields: Vec<_> = status["details"]["causes"].as_array().unwrap().iter().map(|c| &c["field"]).collect();
        assert_eq!(fields, ["spec.partitions", "spec.template.spec.protocol"]);
    }
}

#[test]
fn a_name_that_is_yet_to_be_generated_is_shown_by_its_prefix() {
    let mut object = set("", 0);
    object["metadata"] = json!({ "generateName": "raft-", "namespace": "ns" });
    let response = decide(&admission(&[]), Webhook::Mutate, &request("partitionsets", "CREATE", &object, &Value::Null));
    assert_eq!(response["status"]["details"]["name"], "raft-");
}

#[test]
fn only_the_validating_webhook_warns() {
    let creation = request("partitionsets", "CREATE", &set("raft", 300), &Value::Null);
    let response = decide(&admission(&[]), Webhook::Mutate, &creation);
    assert_eq!((&response["allowed"], &response["warnings"]), (&json!(true), &Value::Null));
    let response = decide(&admission(&[]), Webhook::Validate, &creation);
    assert_eq!(response["allowed"], true);
    assert!(response["warnings"][0].as_str().unwrap().contains("300 partitions"), "{response}");
}

#[test]
fn nothing_is_done_to_deletions_other_kinds_and_other_subresources() {
    let broken = json!({ "metadata": { "name": "raft" }, "spec": { "partitions": 0 } });
    for webhook in [Webhook::Mutate, Webhook::Validate] {
        for request in [
            request("partitionsets", "DELETE", &Value::Null, &broken),
            request("partitionsets", "DELETE", &broken, &Value::Null),
            request("partitionsets", "CREATE", &Value::Null, &Value::Null),
            request("partitionsets", "CONNECT", &broken, &Value::Null),
            request("partitionsets/status", "UPDATE", &broken, &broken),
            request("partitions/status", "UPDATE", &broken, &Value::Null),
            request("partitions", "DELETE", &Value::Null, &broken),
            request("pods", "CREATE", &broken, &Value::Null),
        ] {
            assert_eq!(decide(&admission(&[]), webhook, &request), ALLOWED(), "{request}");
        }
        let mut elsewhere = request("partitionsets", "CREATE", &broken, &Value::Null);
        elsewhere["resource"]["group"] = json!("other.example");
        assert_eq!(decide(&admission(&[]), webhook, &elsewhere), ALLOWED());
    }
    let scale = json!({ "metadata": { "name": "raft" }, "spec": { "replicas": 0 } });
    assert_eq!(
        decide(&admission(&[]), Webhook::Mutate, &request("partitionsets/scale", "UPDATE", &scale, &scale)),
        ALLOWED()
    );
}

#[test]
fn a_set_that_is_being_deleted_is_left_alone() {
    let mut object = set("raft", 0);
    object["metadata"]["deletionTimestamp"] = json!("2020-01-01T00:00:00Z");
    for webhook in [Webhook::Mutate, Webhook::Validate] {
        let update = request("partitionsets", "UPDATE", &object, &set("raft", 3));
        assert_eq!(decide(&admission(&[]), webhook, &update), ALLOWED());
    }
}

#[test]
fn names_that_collide_with_a_known_set_are_denied_in_its_namespace() {
    let creation = request("partitionsets", "CREATE", &set("raft-2", 1), &Value::Null);
    let known = admission(&[set("raft", 3)]);
    assert_eq!(
        decide(&known, Webhook::Validate, &creation)["status"]["details"]["causes"][0]["field"],
        "metadata.name"
    );
    let mut elsewhere = creation.clone();
    elsewhere["namespace"] = json!("other");
    assert_eq!(decide(&known, Webhook::Validate, &elsewhere), ALLOWED());
    let mut going = set("raft", 3);
    going["metadata"]["deletionTimestamp"] = json!("2020-01-01T00:00:00Z");
    assert_eq!(decide(&admission(&[going]), Webhook::Validate, &creation), ALLOWED());
}

fn scale(version: &str, from: i64, to: i64) -> Value {
    let scale = |replicas| {
        json!({
            "apiVersion": "autoscaling/v1", "kind": "Scale",
            "metadata": { "name": "raft", "namespace": "ns", "resourceVersion": version },
            "spec": { "replicas": replicas }
        })
    };
    let mut new = scale(to);
    if to == 0 {
        new["spec"] = json!({});
    }
    request("partitionsets/scale", "UPDATE", &new, &scale(from))
}

#[test]
fn scaling_is_judged_as_an_edit_of_the_field() {
    let admission = admission(&[set("raft", 3)]);
    let judge = |to| decide(&admission, Webhook::Validate, &scale("100", 3, to));
    assert_eq!(judge(5)["allowed"], true);
    assert!(judge(5)["warnings"][0].as_str().unwrap().contains("growing from 3 to 5"));
    for (to, reason) in [(0, "FieldValueInvalid"), (1001, "FieldValueInvalid"), (2, "FieldValueForbidden")] {
        let response = judge(to);
        let details = &response["status"]["details"];
        assert_eq!((&details["kind"], &details["group"]), (&json!("Scale"), &json!("autoscaling")), "{to}");
        let cause = &details["causes"][0];
        assert_eq!((&cause["field"], &cause["reason"]), (&json!("spec.replicas"), &json!(reason)), "{to}");
    }
}

#[test]
fn scaling_down_needs_the_annotation_that_the_cache_has() {
    let mut agreed = set("raft", 3);
    agreed["metadata"]["annotations"] = json!({ "k8s.atomix.io/allow-partition-removal": "2@17" });
    let consenting = admission(&[agreed.clone()]);
    for version in ["100", "99"] {
        let response = decide(&consenting, Webhook::Validate, &scale(version, 3, 2));
        assert_eq!(response["allowed"], true, "{version}");
        let warning = "spec.partitions: 1 of 3 partitions is removed with its data: raft-3 (3 pods)";
        assert_eq!(response["warnings"], json!([warning]));
    }
    assert_eq!(decide(&consenting, Webhook::Validate, &scale("100", 3, 1))["status"]["code"], 422);

    // The set has changed since.
    agreed["metadata"]["generation"] = json!(18);
    let refused = decide(&admission(&[agreed]), Webhook::Validate, &scale("100", 3, 2));
    let cause = &refused["status"]["details"]["causes"][0];
    assert_eq!(cause["field"], "spec.replicas");
    assert!(cause["message"].as_str().unwrap().contains(r#"allow-partition-removal: "2@18" (instead of "2@17": "#));
}

#[test]
fn while_the_cache_is_behind_a_set_may_only_grow() {
    let behind = admission(&[set("raft", 3)]);
    let absent = admission(&[]);
    for (admission, version) in [(&behind, "101"), (&behind, "1e9"), (&behind, ""), (&absent, "100")] {
        let judge = |from, to| decide(admission, Webhook::Validate, &scale(version, from, to));
        assert_eq!(judge(4, 5)["allowed"], true, "{version}");
        assert_eq!(judge(4, 4), ALLOWED(), "{version}");
        let shrink = judge(4, 2);
        assert_eq!((&shrink["allowed"], &shrink["status"]["code"]), (&json!(false), &json!(429)), "{version}");
        assert_eq!(shrink["status"]["details"], json!({ "retryAfterSeconds": 1 }));
        assert_eq!(judge(4, 0)["status"]["code"], 422, "{version}");
        assert_eq!(judge(4, 1001)["status"]["details"]["causes"][0]["field"], "spec.replicas", "{version}");
    }
}

fn partition(size: i64) -> Value {
    json!({
        "metadata": {
            "name": "raft-1", "namespace": "ns", "labels": { "group": "by-label" },
            "ownerReferences": [
                { "kind": "Other", "name": "x" },
                { "kind": "PartitionSet", "name": "raft", "controller": true }
            ]
        },
        "spec": { "protocol": "backup", "size": size }
    })
}

#[test]
fn only_the_controller_writes_partitions() {
    let admission = admission(&[]);
    let judge = |request: &Value| decide(&admission, Webhook::Validate, request);
    let creation = request("partitions", "CREATE", &partition(3), &Value::Null);
    let update = request("partitions", "UPDATE", &partition(5), &partition(3));
    let create = "create PartitionSet \"raft\" instead; a restore leaves partitions.k8s.atomix.io out";
    for (request, instead) in [(&creation, create), (&update, "edit PartitionSet \"raft\" instead")] {
        let response = judge(request);
        assert_eq!((&response["status"]["code"], &response["status"]["reason"]), (&json!(403), &json!("Forbidden")));
        let message = format!("Partitions are made by the Atomix controller: {instead}");
        assert_eq!(response["status"]["message"], message);
        let mut own = request.clone();
        own["userInfo"]["username"] = json!(OWN);
        assert_eq!(judge(&own), ALLOWED());
        own["object"]["spec"]["size"] = json!(99);
        assert_eq!(judge(&own)["status"]["details"]["causes"][0]["field"], "spec.size");
    }
}

#[test]
fn any_user_may_change_the_metadata_of_a_partition_and_finish_its_deletion() {
    let admission = admission(&[]);
    let mut labelled = partition(3);
    labelled["metadata"]["labels"]["x"] = json!("y");
    let update = request("partitions", "UPDATE", &labelled, &partition(3));
    assert_eq!(decide(&admission, Webhook::Validate, &update), ALLOWED());
    let mut going = partition(99);
    going["metadata"]["deletionTimestamp"] = json!("2020-01-01T00:00:00Z");
    let update = request("partitions", "UPDATE", &going, &partition(3));
    assert_eq!(decide(&admission, Webhook::Validate, &update), ALLOWED());
}

#[test]
fn the_set_to_create_is_named_by_whatever_names_it() {
    let admission = admission(&[]);
    let mut object = partition(3);
    let named = |object: &Value| {
        let creation = request("partitions", "CREATE", object, &Value::Null);
        decide(&admission, Webhook::Validate, &creation)["status"]["message"].as_str().unwrap().to_owned()
    };
    object["metadata"]["ownerReferences"] = json!("nonsense");
    assert!(named(&object).contains("create PartitionSet \"by-label\" instead"));
    object["metadata"]["annotations"] = json!({ "k8s.atomix.io/group": "by-annotation" });
    assert!(named(&object).contains("create PartitionSet \"by-annotation\" instead"));
    object["metadata"] = json!({ "name": "p" });
    assert!(named(&object).contains("create its PartitionSet instead"));
}

#[test]
fn until_the_controller_knows_its_user_name_no_partition_is_written() {
    let unknown = Admission { own_username: Arc::default(), ..admission(&[]) };
    let mut creation = request("partitions", "CREATE", &partition(3), &Value::Null);
    creation["userInfo"]["username"] = json!("");
    let response = decide(&unknown, Webhook::Validate, &creation);
    assert_eq!((&response["allowed"], &response["status"]["code"]), (&json!(false), &json!(503)));
    let same = request("partitions", "UPDATE", &partition(3), &partition(3));
    assert_eq!(decide(&unknown, Webhook::Validate, &same), ALLOWED());
}

#[test]
fn a_canary_is_refused_by_both_webhooks_for_every_user_and_only_when_it_is_created() {
    let (admission, nothing) = (admission(&[]), Value::Null);
    let mut canary = set("canary", 1);
    canary["metadata"]["annotations"] = json!({ canary::ANNOTATION: "c0ffee" });
    for webhook in [Webhook::Mutate, Webhook::Validate] {
        let refused = decide(&admission, webhook, &request("partitionsets", "CREATE", &canary, &nothing));
        let says = format!("canary c0ffee has reached {}", webhook.as_str());
        assert_eq!((&refused["allowed"], &refused["status"]["message"]), (&json!(false), &json!(says)));
        let left = decide(&admission, webhook, &request("partitionsets", "UPDATE", &canary, &canary));
        assert_eq!(left["allowed"], true, "{left}");
    }
    let mut canary = partition(1);
    canary["metadata"]["annotations"] = json!({ canary::ANNOTATION: "c0ffee" });
    let mut own = request("partitions", "CREATE", &canary, &nothing);
    own["userInfo"]["username"] = json!(OWN);
    let refused = decide(&admission, Webhook::Validate, &own);
    assert_eq!(refused["status"]["message"], "canary c0ffee has reached validate");
}
