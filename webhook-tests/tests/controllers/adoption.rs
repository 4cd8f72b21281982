//! What a set or a Partition left behind when it was deleted alone is adopted by the next one of its name.

use std::collections::BTreeMap;
use std::sync::Once;

use serde_json::{Value, json};
use webhook_tests::{Kubectl, removal_consent};

use crate::support::{SOON, await_ready, create_ready, items, sandbox, set, text};

/// All kinds of objects that a set consists of, its pods and their revisions among them.
const KINDS: &str = "partitions,configmaps,statefulsets,controllerrevisions,services,poddisruptionbudgets,endpointslices,endpoints,pods";

/// What belongs to a set itself.
const ORPHANS: [&[&str]; 4] = [&["partitions"], &["service", "w"], &["endpointslice", "w-ipv4"], &["endpoints", "w"]];

/// Waits until the garbage collector knows of Partitions: on a new cluster it deletes what it should leave behind, since
/// it looks for new kinds twice a minute only.
fn await_garbage_collector() {
    static KNOWN: Once = Once::new();
    KNOWN.call_once(|| {
        let (_namespace, kubectl) = sandbox("collector");
        create_ready(&kubectl, &set("w", 1, "log", 1), "w");
        kubectl.ok(&["delete", "partitionset", "w"]);
        kubectl.wait_until(&["partitions"], SOON, <[Value]>::is_empty);
    });
}

/// The uid of each object, by kind and name.
fn uids(kubectl: &Kubectl) -> BTreeMap<String, String> {
    let objects = items(kubectl, &[KINDS]);
    let ours = objects.iter().filter(|object| text(object, "/metadata/name") != "kube-root-ca.crt");
    ours.map(|object| {
        let name = format!("{} {}", text(object, "/kind"), text(object, "/metadata/name"));
        (name, text(object, "/metadata/uid").to_owned())
    })
    .collect()
}

/// Waits until every object of a kind has a controller of that uid.
#[track_caller]
fn await_owner(kubectl: &Kubectl, selection: &[&str], uid: &str) {
    kubectl.wait_until(selection, SOON, |found| {
        !found.is_empty() && found.iter().all(|object| object["metadata"]["ownerReferences"][0]["uid"] == uid)
    });
}

#[test]
fn all_that_a_set_left_behind_is_adopted_by_the_next_set_of_its_name() {
    await_garbage_collector();
    let (_namespace, kubectl) = sandbox("orphans");
    create_ready(&kubectl, &set("w", 2, "raft", 3), "w");
    let before = uids(&kubectl);
    assert!(before.len() > 20, "{before:#?}");
    kubectl.ok(&["delete", "partitionset", "w", "--cascade=orphan"]);
    for selection in ORPHANS {
        let orphaned = |object: &Value| object["metadata"]["ownerReferences"].is_null();
        kubectl.wait_until(selection, SOON, |found| !found.is_empty() && found.iter().all(orphaned));
    }

    let now = create_ready(&kubectl, &set("w", 2, "raft", 3), "w");
    let uid = text(&now, "/metadata/uid");
    for selection in ORPHANS {
        await_owner(&kubectl, selection, uid);
    }
    await_ready(&kubectl, "w");
    assert_eq!(uids(&kubectl), before);
    kubectl.wait_until(&["events.events.k8s.io", "--field-selector", "regarding.name=w"], SOON, |events| {
        events.iter().any(|event| {
            event["reason"] == "PartitionsAdopted" && event["note"] == "2 partitions without an owner adopted: w-1, w-2"
        })
    });
}

#[test]
fn adopted_partitions_may_go_by_the_consent_of_the_new_set() {
    await_garbage_collector();
    let (_namespace, kubectl) = sandbox("orphans-consent");
    // Its generation is higher than that of the set that takes over will be.
    create_ready(&kubectl, &set("w", 1, "log", 1), "w");
    for partitions in ["2", "3"] {
        kubectl.ok(&["scale", "partitionset", "w", "--replicas", partitions]);
        await_ready(&kubectl, "w");
    }
    kubectl.ok(&["delete", "partitionset", "w", "--cascade=orphan"]);
    create_ready(&kubectl, &set("w", 3, "log", 1), "w");
    let shrink = json!({
        "metadata": {"annotations": removal_consent(&kubectl, "w", 2)},
        "spec": {"partitions": 2},
    });
    kubectl.ok(&["patch", "partitionset", "w", "--type=merge", "-p", &shrink.to_string()]);
    kubectl.wait_until(&["partitions"], SOON, |found| found.len() == 2);
    await_ready(&kubectl, "w");
}

#[test]
fn all_that_a_partition_left_behind_is_adopted_by_the_next_one_and_its_pods_run_on() {
    await_garbage_collector();
    let (_namespace, kubectl) = sandbox("orphan");
    create_ready(&kubectl, &set("w", 2, "raft", 3), "w");
    let mut before = uids(&kubectl);
    let former = before.remove("Partition w-1").expect("a partition");
    kubectl.ok(&["delete", "partition", "w-1", "--cascade=orphan"]);
    let found = kubectl.wait_until(&["partition", "w-1"], SOON, |found| {
        found.first().is_some_and(|partition| partition["metadata"]["uid"] != former.as_str())
    });
    let uid = text(&found[0], "/metadata/uid");
    for kind in ["configmaps", "statefulsets", "services", "poddisruptionbudgets"] {
        await_owner(&kubectl, &[kind, "-l", "partition=1"], uid);
    }
    await_ready(&kubectl, "w");
    let mut now = uids(&kubectl);
    now.remove("Partition w-1");
    assert_eq!(now, before);
}

#[test]
fn what_loses_its_owner_while_the_set_is_there_is_adopted_at_once() {
    let (_namespace, kubectl) = sandbox("disowned");
    create_ready(&kubectl, &set("w", 1, "raft", 3), "w");
    let before = uids(&kubectl);
    let disown = json!({"metadata": {"ownerReferences": null}}).to_string();
    let of_partition: [&[&str]; 5] = [
        &["statefulset", "w-1"],
        &["service", "w-1"],
        &["service", "w-1-hs"],
        &["configmap", "w-1-config"],
        &["poddisruptionbudget", "w-1-pdb"],
    ];
    for object in of_partition.into_iter().chain(ORPHANS.into_iter().skip(1)) {
        kubectl.ok(&[&["patch"], object, &["--type=merge", "-p", &disown]].concat());
        kubectl.wait_until(object, SOON, |found| {
            found.iter().all(|object| object["metadata"]["ownerReferences"][0]["controller"] == true)
        });
    }
    await_ready(&kubectl, "w");
    assert_eq!(uids(&kubectl), before);
}
