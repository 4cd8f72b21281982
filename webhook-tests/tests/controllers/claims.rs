//! What becomes of the volumes of partitions that go, and come again.

use serde_json::{Value, json};
use webhook_tests::{Kubectl, Namespace, removal_consent};

use crate::rolling::patch_template;
use crate::support::{SOON, await_ready, create_ready, items, sandbox, text};

fn resize(kubectl: &Kubectl, partitions: u32) {
    let patch = json!({
        "metadata": {"annotations": removal_consent(kubectl, "w", partitions)},
        "spec": {"partitions": partitions},
    });
    kubectl.ok(&["patch", "partitionset", "w", "--type=merge", "-p", &patch.to_string()]);
    kubectl.wait_until(&["partitions"], SOON, |found| found.len() == partitions as usize);
    await_ready(kubectl, "w");
}

fn claims(kubectl: &Kubectl) -> Vec<String> {
    items(kubectl, &["persistentvolumeclaims"]).iter().map(|claim| text(claim, "/metadata/name").to_owned()).collect()
}

#[test]
fn claims_of_a_removed_partition_stay_or_go_as_the_policy_says_and_what_stays_is_found_again() {
    let (_namespace, kubectl) = sandbox("claims");
    let set = json!({
        "apiVersion": "k8s.atomix.io/v1alpha1", "kind": "PartitionSet", "metadata": {"name": "w"},
        "spec": {"partitions": 2, "template": {"spec": {"protocol": "log", "storageSize": "1Gi"}}},
    });
    create_ready(&kubectl, &set.to_string(), "w");
    assert_eq!(claims(&kubectl), ["data-w-1-0", "data-w-2-0"]);

    // The default: data is kept, and an event reports it to who finds it again.
    resize(&kubectl, 1);
    assert_eq!(claims(&kubectl), ["data-w-1-0", "data-w-2-0"]);
    resize(&kubectl, 2);
    let reported = |events: &[Value]| {
        let mut claims = events.iter().filter(|event| event["reason"] == "RetainedClaims");
        claims.any(|event| text(event, "/note").ends_with("data-w-2-0") && event["type"] == "Warning")
    };
    kubectl.wait_until(&["events.events.k8s.io", "--field-selector", "regarding.name=w-2"], SOON, reported);

    // As asked for: the claim goes with its partition, and only that.
    let delete = json!({"spec": {"persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Delete"}}}).to_string();
    kubectl.ok(&["patch", "partitionset", "w", "--type=merge", "-p", &delete]);
    kubectl.wait_until(&["statefulset", "w-2"], SOON, |found| {
        text(&found[0], "/spec/persistentVolumeClaimRetentionPolicy/whenDeleted") == "Delete"
    });
    // The StatefulSet controller makes the StatefulSet an owner of the claim: then its deletion takes the claim along.
    kubectl.wait_until(&["persistentvolumeclaim", "data-w-2-0"], SOON, |found| {
        !found[0]["metadata"]["ownerReferences"].is_null()
    });
    resize(&kubectl, 1);
    kubectl.wait_until(&["persistentvolumeclaims"], SOON, |found| {
        found.iter().map(|claim| text(claim, "/metadata/name")).eq(["data-w-1-0"])
    });
}

/// In Kubernetes an empty class says that no volume is made for a claim, and none says that the default class makes one.
#[test]
fn an_empty_storage_class_reaches_the_claims() {
    let (_namespace, kubectl) = sandbox("class");
    let set = |class: &str| {
        json!({
            "apiVersion": "k8s.atomix.io/v1alpha1", "kind": "PartitionSet", "metadata": {"name": class},
            "spec": {"template": {"spec": {"protocol": "log", "storageSize": "1Gi"}}},
        })
    };
    let mut none = set("none");
    none["spec"]["template"]["spec"]["storageClass"] = "".into();
    kubectl.create_stdin(&none.to_string());
    kubectl.create_stdin(&set("default").to_string());
    let classes = |name: &str| {
        let found = kubectl.wait_until(&["statefulset", name], SOON, |found| found.len() == 1);
        found[0]["spec"]["volumeClaimTemplates"][0]["spec"]["storageClassName"].clone()
    };
    assert_eq!((classes("none-1"), classes("default-1")), ("".into(), Value::Null));
}

/// A set of one partition of three pods with storage, and the claims when its last pod is gone.
fn claims_of_a_smaller_partition(prefix: &str, when_scaled: &str) -> (Namespace, Kubectl) {
    let (namespace, kubectl) = sandbox(prefix);
    let set = json!({
        "apiVersion": "k8s.atomix.io/v1alpha1", "kind": "PartitionSet", "metadata": {"name": "w"},
        "spec": {
            "persistentVolumeClaimRetentionPolicy": {"whenScaled": when_scaled},
            "template": {"spec": {"protocol": "backup", "size": 3, "storageSize": "1Gi"}},
        },
    });
    create_ready(&kubectl, &set.to_string(), "w");
    assert_eq!(claims(&kubectl), ["data-w-1-0", "data-w-1-1", "data-w-1-2"]);
    patch_template(&kubectl, &json!({"size": 2}));
    kubectl.wait_until(&["pods"], SOON, |pods| pods.len() == 2);
    await_ready(&kubectl, "w");
    (namespace, kubectl)
}

#[track_caller]
fn await_claims(kubectl: &Kubectl, wanted: &[&str]) {
    kubectl.wait_until(&["persistentvolumeclaims"], SOON, |found| {
        let mut names: Vec<_> = found.iter().map(|claim| text(claim, "/metadata/name")).collect();
        names.sort_unstable();
        names == wanted
    });
}

#[test]
fn the_claim_of_a_pod_that_goes_with_a_smaller_size_stays_or_goes_as_the_policy_says() {
    let (_deletes, deletes) = claims_of_a_smaller_partition("scaled-delete", "Delete");
    await_claims(&deletes, &["data-w-1-0", "data-w-1-1"]);
    // As long as it took the other to go, and longer.
    let (_retains, retains) = claims_of_a_smaller_partition("scaled-retain", "Retain");
    patch_template(&retains, &json!({"size": 1}));
    retains.wait_until(&["pods"], SOON, |pods| pods.len() == 1);
    await_ready(&retains, "w");
    assert_eq!(claims(&retains), ["data-w-1-0", "data-w-1-1", "data-w-1-2"]);
    let owned = items(&retains, &["persistentvolumeclaims"]);
    assert!(owned.iter().all(|claim| claim["metadata"]["ownerReferences"].is_null()), "{owned:#?}");
}

#[test]
fn the_claims_of_a_deleted_set_stay_or_go_as_the_policy_says() {
    let (_namespace, kubectl) = sandbox("claims-deleted");
    for (name, when_deleted) in [("goes", "Delete"), ("stays", "Retain")] {
        let set = json!({
            "apiVersion": "k8s.atomix.io/v1alpha1", "kind": "PartitionSet", "metadata": {"name": name},
            "spec": {
                "partitions": 2, "persistentVolumeClaimRetentionPolicy": {"whenDeleted": when_deleted},
                "template": {"spec": {"protocol": "log", "storageSize": "1Gi"}},
            },
        });
        create_ready(&kubectl, &set.to_string(), name);
    }
    let stay = ["data-stays-1-0", "data-stays-2-0"];
    assert_eq!(claims(&kubectl), [["data-goes-1-0", "data-goes-2-0"], stay].concat());
    // The StatefulSet controller makes the StatefulSet an owner of the claim: then its deletion takes the claim along.
    kubectl.wait_until(&["persistentvolumeclaims"], SOON, |found| {
        found.iter().filter(|claim| !claim["metadata"]["ownerReferences"].is_null()).count() == 2
    });
    for name in ["stays", "goes"] {
        kubectl.ok(&["delete", "partitionset", name]);
    }
    kubectl.wait_until(&["pods"], SOON, <[Value]>::is_empty);
    await_claims(&kubectl, &stay);
}

#[test]
fn a_claim_that_is_being_deleted_is_not_said_to_be_used_again() {
    let (_namespace, kubectl) = sandbox("claims-going");
    let claim = |partition: &str| {
        let labels = json!({"app": "atomix", "type": "partition", "group": "w", "partition": partition});
        let metadata =
            json!({"name": format!("data-w-{partition}-0"), "labels": labels, "finalizers": ["example.com/hold"]});
        json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": {
            "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}})
    };
    for partition in ["1", "2"] {
        kubectl.create_stdin(&claim(partition).to_string());
    }
    kubectl.ok(&["delete", "persistentvolumeclaim", "data-w-1-0", "--wait=false"]);
    let set = json!({
        "apiVersion": "k8s.atomix.io/v1alpha1", "kind": "PartitionSet", "metadata": {"name": "w"},
        "spec": {"partitions": 2, "template": {"spec": {"protocol": "log", "storageSize": "1Gi"}}},
    });
    kubectl.create_stdin(&set.to_string());
    kubectl.wait_until(&["statefulsets"], SOON, |found| found.len() == 2);
    let release = json!({"metadata": {"finalizers": null}}).to_string();
    for claim in ["data-w-1-0", "data-w-2-0"] {
        kubectl.ok(&["patch", "persistentvolumeclaim", claim, "--type=merge", "-p", &release]);
    }
    await_ready(&kubectl, "w");
    let reported = items(&kubectl, &["events.events.k8s.io"]);
    let reported: Vec<_> = reported.iter().filter(|event| event["reason"] == "RetainedClaims").collect();
    assert!(matches!(&*reported, [one] if text(one, "/note").ends_with("data-w-2-0")), "{reported:#?}");
}
