//! What a set made goes with it.

use serde_json::{Value, json};
use webhook_tests::{Kubectl, harness};

use crate::pods::await_told;
use crate::support::{SOON, await_ready, create_ready, items, sandbox, set};

const KINDS: [&str; 10] = [
    "partitionsets",
    "partitions",
    "statefulsets",
    "controllerrevisions",
    "pods",
    "services",
    "configmaps",
    "poddisruptionbudgets",
    "endpoints",
    "endpointslices",
];

/// Waits until a namespace holds nothing but what every namespace holds.
#[track_caller]
fn await_empty(kubectl: &Kubectl) {
    for kind in KINDS {
        kubectl.wait_until(&[kind, "--field-selector", "metadata.name!=kube-root-ca.crt"], SOON, <[Value]>::is_empty);
    }
}

#[test]
fn a_deleted_set_leaves_nothing_behind() {
    let (_namespace, kubectl) = sandbox("deletion");
    create_ready(&kubectl, &set("w", 2, "raft", 3), "w");
    for kind in KINDS {
        assert!(!items(&kubectl, &[kind]).is_empty(), "{kind}");
    }
    kubectl.ok(&["delete", "partitionset", "w", "--wait=false"]);
    await_empty(&kubectl);
}

#[test]
fn a_set_that_is_deleted_in_the_foreground_is_gone_when_kubectl_returns() {
    let (_namespace, kubectl) = sandbox("foreground");
    create_ready(&kubectl, &set("w", 2, "raft", 1), "w");
    kubectl.ok(&["delete", "partitionset", "w", "--cascade=foreground", "--timeout=60s"]);
    for kind in ["partitionsets", "partitions", "statefulsets", "services", "endpointslices"] {
        assert!(items(&kubectl, &[kind]).is_empty(), "{kind}");
    }
    await_empty(&kubectl);
}

#[test]
fn a_set_that_is_deleted_while_it_is_made_leaves_nothing_behind() {
    let (_namespace, kubectl) = sandbox("hasty");
    kubectl.create_stdin(&set("w", 20, "raft", 1));
    kubectl.wait_until(&["partitions"], SOON, |found| !found.is_empty());
    kubectl.ok(&["delete", "partitionset", "w", "--wait=false"]);
    await_empty(&kubectl);
}

#[test]
fn a_set_that_is_made_again_under_its_name_is_a_new_one() {
    let (_namespace, kubectl) = sandbox("again");
    let first = create_ready(&kubectl, &set("w", 2, "raft", 1), "w");
    let finalizers = |finalizers: Value| {
        let patch = json!({"metadata": {"finalizers": finalizers}}).to_string();
        kubectl.ok(&["patch", "statefulset", "w-1", "--type=merge", "-p", &patch]);
    };
    finalizers(json!(["example.com/hold"]));
    kubectl.ok(&["delete", "partitionset", "w", "--cascade=background"]);
    // Its former objects are still going while the new one wants the same names.
    kubectl.create_stdin(&set("w", 2, "backup", 1));
    await_told(&kubectl, ["partition", "w-1"], "WaitingForDeletion", "w-1");
    finalizers(Value::Null);
    let second = await_ready(&kubectl, "w");
    assert_ne!(first["metadata"]["uid"], second["metadata"]["uid"]);
    for partition in items(&kubectl, &["partitions"]) {
        assert_eq!(partition["metadata"]["ownerReferences"][0]["uid"], second["metadata"]["uid"]);
        assert_eq!(partition["spec"]["protocol"], "backup");
    }
    kubectl.wait_until(&["partitions"], SOON, |found| found.len() == 2);
    // Nothing of it has been missing. Its events were written before it was ready.
    let uid = &second["metadata"]["uid"];
    let events = kubectl.wait_until(&["events.events.k8s.io"], SOON, |events| {
        events.iter().any(|event| event["reason"] == "Ready" && event["regarding"]["uid"] == *uid)
    });
    let recreated: Vec<_> = events.iter().filter(|event| event["reason"] == "Recreated").collect();
    assert!(recreated.is_empty(), "{recreated:#?}");
}

#[test]
fn a_namespace_with_a_set_in_it_can_be_deleted() {
    let (namespace, kubectl) = sandbox("namespace");
    create_ready(&kubectl, &set("w", 2, "raft", 3), "w");
    kubectl.ok(&["delete", "namespace", namespace.name(), "--wait=false"]);
    kubectl.wait_until(&["namespaces", namespace.name()], SOON, <[Value]>::is_empty);
}

#[test]
fn a_namespace_that_is_deleted_while_a_set_is_made_in_it_goes_and_is_not_asked_for_what_it_refuses_for_ever() {
    let (namespace, kubectl) = sandbox("leaving");
    kubectl.create_stdin(&set("w", 30, "raft", 1));
    kubectl.wait_until(&["statefulsets"], SOON, |found| found.len() > 3);
    kubectl.ok(&["delete", "namespace", namespace.name(), "--wait=false"]);
    kubectl.wait_until(&["namespaces", namespace.name()], SOON, <[Value]>::is_empty);
    let audit = harness().control_plane().audit();
    let of_namespace = audit.iter().filter(|entry| entry.namespace == namespace.name());
    let refused = of_namespace.filter(|entry| entry.is_write() && entry.code == 403).count();
    println!("{refused} requests were refused");
    // Each of the 30 partitions has five objects, each of which is missed when it goes and then ever more rarely.
    assert!(refused < 30 * 5 * 10, "{refused}");
}
