//! What is deleted or edited behind the controller's back comes back as it was.

use std::time::Instant;

use serde_json::{Value, json};
use webhook_tests::{EventKind, Kubectl, harness, removal_consent};

use crate::support::objects::{Object, of_group, of_partition};
use crate::support::whole::{Whole, assert_same, read};
use crate::support::{SOON, addresses, await_ready, condition, create_ready, sandbox, set, text};

/// The controller's own account: only it may change the spec of a Partition.
const CONTROLLER: &str = "--as=system:serviceaccount:kube-system:atomix-controller";

/// Everything of the set `w`, as it is now, in its general form.
fn everything(kubectl: &Kubectl, whole: &Whole) -> Vec<(Object, Value)> {
    let objects: Vec<Object> = of_group("w").into_iter().chain(of_partition("w", 1)).collect();
    let now = whole.all(kubectl, &objects);
    objects.into_iter().zip(now).collect()
}

/// Waits until an object satisfies the predicate and is what it should be.
#[track_caller]
fn await_same(kubectl: &Kubectl, whole: &Whole, object: &Object, wanted: &Value, also: impl Fn(&Value) -> bool) {
    let found = kubectl.try_wait_until(&[object.0, &object.1], SOON, |found| {
        found.first().is_some_and(|found| also(found) && whole.of(found.clone()) == *wanted)
    });
    if found.is_err() {
        assert_same(object, wanted, &whole.of(kubectl.get_json(&[object.0, &object.1])));
        panic!("{} {} is what it should be, but was not made anew", object.0, object.1);
    }
}

#[test]
fn every_child_that_is_deleted_comes_back_as_it_was() {
    let (_namespace, kubectl) = sandbox("deleted");
    create_ready(&kubectl, &set("w", 1, "raft", 3), "w");
    let whole = Whole::new(&kubectl);
    let before = everything(&kubectl, &whole);
    for (object, wanted) in before.iter().filter(|((kind, _), _)| *kind != "partition") {
        let uid = kubectl.get_json(&[object.0, &object.1])["metadata"]["uid"].clone();
        kubectl.ok(&["delete", object.0, &object.1, "--wait=false"]);
        await_same(&kubectl, &whole, object, wanted, |found| found["metadata"]["uid"] != uid);
    }
    await_ready(&kubectl, "w");
    for (object, wanted) in &before {
        await_same(&kubectl, &whole, object, wanted, |_| true);
    }
}

#[test]
fn every_child_that_is_edited_comes_back_as_it_was_and_keeps_foreign_labels() {
    let (_namespace, kubectl) = sandbox("edited");
    create_ready(&kubectl, &set("w", 1, "raft", 3), "w");
    let whole = Whole::new(&kubectl);
    for (object, wanted) in everything(&kubectl, &whole) {
        let (kind, name) = (object.0, object.1.as_str());
        // Somebody adds a label and an annotation of their own, and edits a label and the content of ours.
        let mut edit = edit_of(&object);
        edit["metadata"] = json!({
            "labels": {"team": "theirs", "app.kubernetes.io/instance": "stranger"},
            "annotations": {"example.com/note": "theirs"},
        });
        kubectl.ok(&[
            "patch",
            kind,
            name,
            "--type=merge",
            "-p",
            &edit.to_string(),
            CONTROLLER,
            "--as-group=system:masters",
        ]);
        let mut wanted = wanted;
        wanted["metadata"]["labels"]["team"] = "theirs".into();
        wanted["metadata"]["annotations"]["example.com/note"] = "theirs".into();
        await_same(&kubectl, &whole, &object, &wanted, |_| true);
        // A label that says who manages it, and the one by which it is watched: without that, the object seems gone.
        for label in ["app.kubernetes.io/managed-by", watched_by(&object)] {
            kubectl.ok(&["label", kind, name, &format!("{label}-")]);
            await_same(&kubectl, &whole, &object, &wanted, |_| true);
        }
    }
}

/// A label by which the controller selects objects of the kind.
fn watched_by((kind, name): &Object) -> &'static str {
    match (*kind, name.as_str()) {
        ("service", "w") => "k8s.atomix.io/group",
        ("endpointslice", _) => "endpointslice.kubernetes.io/managed-by",
        ("endpoints", _) => "endpointslice.kubernetes.io/skip-mirror",
        _ => "app",
    }
}

/// An edit of what the object says.
fn edit_of(object: &Object) -> Value {
    match (object.0, object.1.as_str()) {
        ("partition", _) => json!({"spec": {"image": "stranger"}}),
        ("configmap", _) => json!({"data": {"partition.json": "{}", "protocol.json": null}}),
        ("statefulset", _) => json!({"spec": {"replicas": 5, "minReadySeconds": 1, "template": {"spec": {
            "containers": [{"name": "atomix", "image": "stranger", "env": [{"name": "NODE_ID", "value": "x"}]}],
        }}}}),
        ("service", "w-1") => json!({"spec": {"selector": {"partition": "2"}, "ports": [{"name": "api", "port": 1}]}}),
        ("service", "w-1-hs") => json!({"spec": {"publishNotReadyAddresses": false}}),
        ("service", "w") => json!({"spec": {"ports": [{"name": "a", "port": 1}, {"name": "api", "port": 5678}]}}),
        ("poddisruptionbudget", _) => json!({"spec": {"maxUnavailable": 3}}),
        ("endpointslice", _) => json!({"endpoints": []}),
        ("endpoints", _) => json!({"subsets": null}),
        (kind, name) => panic!("how to edit {kind} {name}?"),
    }
}

#[test]
fn a_deleted_service_of_a_partition_gets_its_address_again_and_the_endpoints_stay_complete() {
    let (_namespace, kubectl) = sandbox("address");
    create_ready(&kubectl, &set("w", 2, "raft", 1), "w");
    let before = kubectl.get_json(&["service", "w-1"]);
    let mut slices = kubectl.watch(&["endpointslice", "w-ipv4"]);
    let deadline = Instant::now() + SOON;
    while slices.next(deadline).expect("a slice").kind != EventKind::Synced {}

    kubectl.ok(&["delete", "service", "w-1", "--wait=false"]);
    let after = kubectl.wait_until(&["service", "w-1"], SOON, |found| {
        found.first().is_some_and(|service| service["metadata"]["uid"] != before["metadata"]["uid"])
    });
    assert_eq!(text(&after[0], "/spec/clusterIP"), text(&before, "/spec/clusterIP"));

    // What has happened to the slice is seen before this is.
    await_ready(&kubectl, "w");
    kubectl.ok(&["annotate", "endpointslice", "w-ipv4", "seen=yes"]);
    loop {
        let event = slices.next(deadline).expect("the annotation");
        assert_ne!(event.kind, EventKind::Deleted);
        assert_eq!(addresses(&event.object).len(), 2, "{:#}", event.object);
        if text(&event.object, "/metadata/annotations/seen") == "yes" {
            break;
        }
    }
}

#[test]
fn where_the_former_address_is_taken_there_is_another_and_the_endpoints_follow() {
    let (_namespace, kubectl) = sandbox("taken");
    create_ready(&kubectl, &set("w", 2, "raft", 1), "w");
    let before = kubectl.get_json(&["service", "w-1"]);
    let address = text(&before, "/spec/clusterIP");
    kubectl.ok(&["annotate", "partitionset", "w", "k8s.atomix.io/paused=true"]);
    kubectl.wait_until(&["partitionset", "w"], SOON, |found| {
        condition(&found[0], "Ready").is_some_and(|ready| ready["reason"] == "Paused")
    });
    kubectl.ok(&["delete", "service", "w-1"]);
    kubectl.ok(&["create", "service", "clusterip", "thief", "--tcp=80", "--clusterip", address]);
    kubectl.ok(&["annotate", "partitionset", "w", "k8s.atomix.io/paused-"]);

    let after = kubectl.wait_until(&["service", "w-1"], SOON, |found| !found.is_empty());
    let other = text(&after[0], "/spec/clusterIP");
    assert_ne!(other, address);
    kubectl.wait_until(&["endpointslice", "w-ipv4"], SOON, |found| addresses(&found[0])[0] == other);
    kubectl.wait_until(&["endpoints", "w"], SOON, |found| found[0]["subsets"][0]["addresses"][0]["ip"] == other);
    await_ready(&kubectl, "w");
}

#[test]
fn a_deleted_partition_comes_back_with_all_that_it_had() {
    let (_namespace, kubectl) = sandbox("partition");
    create_ready(&kubectl, &set("w", 2, "raft", 3), "w");
    let whole = Whole::new(&kubectl);
    let before = everything(&kubectl, &whole);
    let uid = kubectl.get_json(&["partition", "w-1"])["metadata"]["uid"].clone();

    kubectl.ok(&["delete", "partition", "w-1", "--wait=false"]);
    let partition = kubectl.wait_until(&["partition", "w-1"], SOON, |found| {
        found.first().is_some_and(|partition| partition["metadata"]["uid"] != uid)
    });
    let uid = &partition[0]["metadata"]["uid"];
    for (object, wanted) in &before {
        await_same(&kubectl, &whole, object, wanted, |found| {
            let owner = &found["metadata"]["ownerReferences"][0];
            owner["kind"] == "PartitionSet" || owner["uid"] == *uid
        });
    }
    await_ready(&kubectl, "w");
    assert_eq!(addresses(&kubectl.get_json(&["endpointslice", "w-ipv4"])).len(), 2);
}

#[test]
fn what_was_put_right_is_told_by_an_event() {
    let (_namespace, kubectl) = sandbox("contested");
    create_ready(&kubectl, &set("w", 1, "raft", 1), "w");
    let wanted = read(&kubectl, &("configmap", "w-1-config".to_owned()));
    kubectl.ok(&["patch", "configmap", "w-1-config", "--type=merge", "-p", r#"{"data":{"protocol.json":"?"}}"#]);
    kubectl.ok(&["delete", "service", "w-1-hs", "w-1", "--wait=false"]);
    for (reason, note) in [
        ("Restored", "ConfigMap w-1-config differed from what the Partition says and has been put right"),
        ("Recreated", "Service w-1-hs was missing and has been created again"),
        ("Recreated", "Service w-1 was missing and has been created again"),
    ] {
        kubectl.wait_until(&["events.events.k8s.io", "-n", kubectl.namespace()], SOON, |events| {
            events
                .iter()
                .any(|event| event["reason"] == reason && event["note"] == note && event["regarding"]["name"] == "w-1")
        });
    }
    assert_same(
        &("configmap", "w-1-config".to_owned()),
        &wanted,
        &read(&kubectl, &("configmap", "w-1-config".to_owned())),
    );
}

#[test]
fn every_partition_that_is_removed_is_named_by_an_event() {
    let (_namespace, kubectl) = sandbox("contested-removed");
    create_ready(&kubectl, &set("w", 3, "raft", 1), "w");
    let shrink = json!({
        "metadata": {"annotations": removal_consent(&kubectl, "w", 1)},
        "spec": {"partitions": 1},
    });
    kubectl.ok(&["patch", "partitionset", "w", "--type=merge", "-p", &shrink.to_string()]);
    for name in ["w-2", "w-3"] {
        let note = format!("Partition {name} is deleted: the set has fewer partitions now");
        kubectl.wait_until(&["events.events.k8s.io", "--field-selector", "regarding.name=w"], SOON, |events| {
            events.iter().any(|event| event["reason"] == "PartitionRemoved" && event["note"] == note)
        });
    }
}

#[test]
fn a_program_that_changes_an_object_again_and_again_is_named_and_not_answered_without_an_end() {
    let (namespace, kubectl) = sandbox("contested");
    create_ready(&kubectl, &set("w", 1, "log", 1), "w");
    let before = harness().control_plane().audit().len();
    let edit = json!({"data": {"protocol.json": "theirs"}}).to_string();
    let is_edited = |found: &[Value]| found[0]["data"]["protocol.json"] == "theirs";
    for _ in 0..5 {
        kubectl.ok(&["patch", "configmap", "w-1-config", "--type=merge", "-p", &edit]);
        kubectl.wait_until(&["configmap", "w-1-config"], SOON, |found| !is_edited(found));
    }
    kubectl.ok(&["patch", "configmap", "w-1-config", "--type=merge", "-p", &edit]);
    let partition = kubectl.wait_until(&["partition", "w-1"], SOON, |found| {
        condition(&found[0], "Stalled").is_some_and(|stalled| stalled["reason"] == "Contested")
    });
    let message = text(condition(&partition[0], "Stalled").expect("a condition"), "/message").to_owned();
    assert!(message.contains(r#"ConfigMap "w-1-config""#) && message.contains("kubectl-patch"), "{message}");
    let audit = harness().control_plane().audit();
    let answers = audit[before..].iter().filter(|entry| {
        entry.namespace == namespace.name() && entry.resource == "configmaps" && entry.verb == "update"
    });
    assert_eq!(answers.count(), 5);
    // Whoever it was has stopped.
    kubectl.wait_until(&["configmap", "w-1-config"], SOON, |found| !is_edited(found));
    let set = await_ready(&kubectl, "w");
    assert!(condition(&set, "Stalled").is_none());
}
