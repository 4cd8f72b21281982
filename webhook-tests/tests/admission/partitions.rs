//! Partitions are the controller's: whoever writes one is told to edit its set.

use serde_json::{Value, json};
use webhook_tests::{Kubectl, Namespace};

use crate::SOON;
use crate::manifests::{raft, running, with};
use crate::verdicts::{accepts, namespace, patches};

const DENIED: &str = "admission webhook \"validate.partitions.k8s.atomix.io\" denied the request: Partitions are made by \
                      the Atomix controller:";
const RESTORE: &str = "a restore leaves partitions.k8s.atomix.io out";
const OWN: [&str; 2] = ["--as=system:serviceaccount:kube-system:atomix-controller", "--as-group=system:masters"];

/// A namespace with a set of two partitions in it, which are there.
fn two_partitions() -> &'static Namespace {
    let namespace = namespace("partitions");
    let kubectl = namespace.kubectl();
    accepts(&kubectl, &running(raft("raft")));
    kubectl.wait_until(&["partitions"], SOON, |found| found.len() == 2);
    namespace
}

fn partition(name: &str) -> Value {
    json!({
        "apiVersion": "k8s.atomix.io/v1alpha1", "kind": "Partition",
        "metadata": {"name": name}, "spec": {"protocol": "raft", "size": 3},
    })
}

#[test]
fn a_partition_that_somebody_makes_is_refused() {
    let namespace = namespace("partitions");
    let kubectl = namespace.kubectl();
    for (object, set) in [
        (partition("raft-7"), "its PartitionSet"),
        (with(partition("raft-7"), "/metadata/labels/group", json!("raft")), "PartitionSet \"raft\""),
    ] {
        let said = kubectl.feed_fails(&["create", "-f", "-"], &object.to_string());
        let when = "Error from server (Forbidden): error when creating \"STDIN\"";
        assert_eq!(said, format!("{when}: {DENIED} create {set} instead; {RESTORE}\n"));
    }
    for arguments in [&["apply", "-f", "-"][..], &["apply", "--server-side", "-f", "-"]] {
        let said = kubectl.feed_fails(arguments, &partition("raft-7").to_string());
        assert!(said.contains(&format!("{DENIED} create its PartitionSet instead; {RESTORE}\n")), "{said}");
    }
    assert_eq!(kubectl.ok(&["get", "partitions", "-o", "name"]), "");
}

#[test]
fn a_partitions_spec_is_changed_by_nobody_else() {
    let namespace = two_partitions();
    let kubectl = namespace.kubectl();
    let image = json!({"spec": {"image": "mine"}}).to_string();
    let patch = ["patch", "partition.k8s.atomix.io", "raft-1", "--type=merge", "-p", image.as_str()];
    let denied = format!("Error from server (Forbidden): {DENIED} edit PartitionSet \"raft\" instead\n");
    assert_eq!(kubectl.fails(&patch), denied);
    let another = ["--as=system:serviceaccount:kube-system:default", "--as-group=system:masters"];
    assert_eq!(kubectl.fails(&[&patch[..], &another[..]].concat()), denied);
    assert_eq!(kubectl.fails(&[&patch[..], &["--dry-run=server"]].concat()), denied);
}

#[test]
fn the_controllers_own_account_may_but_only_what_is_legal() {
    let namespace = two_partitions();
    let kubectl = namespace.kubectl();
    let change = |spec: Value| {
        let patch = json!({"spec": spec}).to_string();
        let patch = ["patch", "partition.k8s.atomix.io", "raft-1", "--type=merge", "--dry-run=server", "-p", &patch];
        kubectl.run(&[&patch[..], &OWN[..]].concat())
    };
    assert!(change(json!({"image": "other"})).status.success());
    assert_eq!(
        change(json!({"config": "electionTimout: 5s"})).stderr,
        "The Partition \"raft-1\" is invalid: spec.config.electionTimout: Unsupported value: \"electionTimout\": \
         supported values: \"electionTimeout\", \"heartbeatInterval\", \"storage\", \"compaction\"\n"
    );
}

#[test]
fn anybody_may_label_and_annotate_a_partition() {
    let namespace = two_partitions();
    let kubectl = namespace.kubectl();
    kubectl.ok(&["label", "partition.k8s.atomix.io", "raft-1", "mine=yes"]);
    kubectl.ok(&["annotate", "partition.k8s.atomix.io", "raft-1", "mine=yes"]);
}

#[test]
fn anybody_may_delete_a_partition_and_it_comes_back() {
    let namespace = two_partitions();
    let kubectl = namespace.kubectl();
    let uid = |name: &str| kubectl.get_json(&["partition.k8s.atomix.io", name])["metadata"]["uid"].clone();
    let before = uid("raft-2");
    kubectl.ok(&["delete", "partition.k8s.atomix.io", "raft-2", "--wait=false"]);
    kubectl.wait_until(&["partitions/raft-2"], SOON, |found| {
        found.first().is_some_and(|found| found["metadata"]["uid"] != before)
    });
}

#[test]
fn a_set_that_is_deleted_alone_leaves_its_partitions_as_orphans() {
    let namespace = two_partitions();
    let kubectl: Kubectl = namespace.kubectl();
    kubectl.ok(&["delete", "pset", "raft", "--cascade=orphan"]);
    kubectl.wait_until(&["partitions"], SOON, |found| {
        let orphaned = |partition: &Value| partition["metadata"].get("ownerReferences").is_none();
        found.len() == 2 && found.iter().all(orphaned)
    });
}

/// A finalizer is metadata, and so is its removal from a partition that is on its way out.
#[test]
fn a_partition_on_its_way_out_can_lose_its_finalizers() {
    let namespace = two_partitions();
    let kubectl = namespace.kubectl();
    let finalizers = |list: Value| {
        let patch = json!({"metadata": {"finalizers": list}}).to_string();
        kubectl.ok(&["patch", "partition.k8s.atomix.io", "raft-1", "--type=merge", "-p", &patch]);
    };
    finalizers(json!(["example.com/hold"]));
    let before = kubectl.get_json(&["partition.k8s.atomix.io", "raft-1"])["metadata"]["uid"].clone();
    kubectl.ok(&["delete", "partition.k8s.atomix.io", "raft-1", "--wait=false"]);
    finalizers(json!(null));
    kubectl.wait_until(&["partitions/raft-1"], SOON, |found| {
        found.first().is_none_or(|found| found["metadata"]["uid"] != before)
    });
    patches(&kubectl, "raft", &json!({"metadata": {"labels": {"still": "editable"}}}));
}
