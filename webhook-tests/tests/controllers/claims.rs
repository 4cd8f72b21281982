//! What becomes of the volumes of partitions that go, and come again.

use serde_json::{Value, json};
use webhook_tests::Kubectl;

use crate::support::{SOON, await_ready, create_ready, items, sandbox, text};

fn resize(kubectl: &Kubectl, partitions: u32) {
    let patch = json!({
        "metadata": {"annotations": {"k8s.atomix.io/allow-partition-removal": partitions.to_string()}},
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

    // The default: data is kept, and whoever finds it again is told.
    resize(&kubectl, 1);
    assert_eq!(claims(&kubectl), ["data-w-1-0", "data-w-2-0"]);
    resize(&kubectl, 2);
    let told = |events: &[Value]| {
        let mut claims = events.iter().filter(|event| event["reason"] == "RetainedClaims");
        claims.any(|event| text(event, "/note").ends_with("data-w-2-0") && event["type"] == "Warning")
    };
    kubectl.wait_until(&["events.events.k8s.io", "--field-selector", "regarding.name=w-2"], SOON, told);

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
