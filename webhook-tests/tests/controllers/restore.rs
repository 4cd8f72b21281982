//! Backup and restore, by the steps of the documents.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use webhook_tests::{Kubectl, commands_of, harness};

use crate::support::{SOON, await_ready, create_ready, is_ready, items, sandbox, text};

/// What a backup tool saves of a namespace but Partitions, in the order in which Velero restores it; the sets are last.
const KINDS: [&str; 8] = [
    "persistentvolumeclaims",
    "configmaps",
    "pods",
    "endpoints",
    "services",
    "endpointslices",
    "statefulsets",
    "poddisruptionbudgets",
];
/// The account of a backup tool.
const BACKUP_TOOL: [&str; 2] = ["--as=system:serviceaccount:velero:velero", "--as-group=system:masters"];

/// Two partitions of three pods with storage.
fn set() -> String {
    json!({
        "apiVersion": "k8s.atomix.io/v1alpha1", "kind": "PartitionSet", "metadata": {"name": "w"},
        "spec": {"partitions": 2, "template": {"spec": {"protocol": "raft", "size": 3, "storageSize": "1Gi"}}},
    })
    .to_string()
}

/// An object as a backup tool restores it: without owner, status, address and all that the API server made up.
fn restored(object: &Value) -> Value {
    let mut object = object.clone();
    let metadata = &object["metadata"];
    let mut labels = metadata["labels"].as_object().cloned().unwrap_or_default();
    labels.insert("velero.io/restore-name".to_owned(), "r".into());
    let mut annotations = metadata["annotations"].as_object().cloned().unwrap_or_default();
    // The claims get other volumes.
    annotations.retain(|key, _| !key.starts_with("pv.kubernetes.io/"));
    object["metadata"] = json!({"name": metadata["name"], "annotations": annotations, "labels": labels});
    if let Some(fields) = object.as_object_mut() {
        fields.remove("status");
    }
    if let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) {
        let stays = |field: &str, value: &Value| match field {
            "clusterIP" | "clusterIPs" => *value == json!("None") || *value == json!(["None"]),
            "nodeName" | "volumeName" => false,
            _ => true,
        };
        spec.retain(|field, value| stays(field, value));
    }
    object
}

/// What belongs to a set, of a kind.
fn of_sets(kubectl: &Kubectl, kind: &str) -> Vec<Value> {
    let mut objects = items(kubectl, &[kind]);
    objects.retain(|object| {
        let label = |key: &str| object["metadata"]["labels"][key].as_str().unwrap_or_default();
        label("app") == "atomix" || label("app.kubernetes.io/name") == "atomix"
    });
    // What Kubernetes makes of Services it makes anew.
    objects.retain(|object| {
        text(object, "/metadata/labels/endpointslice.kubernetes.io~1managed-by") != "endpointslice-controller.k8s.io"
    });
    objects.retain(|object| object["metadata"]["labels"]["endpoints.kubernetes.io/managed-by"].is_null());
    objects
}

fn uids(kubectl: &Kubectl) -> BTreeMap<String, String> {
    let objects = KINDS.iter().flat_map(|kind| of_sets(kubectl, kind));
    objects
        .map(|object| {
            (
                format!("{} {}", text(&object, "/kind"), text(&object, "/metadata/name")),
                text(&object, "/metadata/uid").to_owned(),
            )
        })
        .collect()
}

/// Deletes the set and its claims.
fn lose_everything(kubectl: &Kubectl) {
    kubectl.ok(&["delete", "partitionset", "w"]);
    for kind in ["partitions", "statefulsets", "pods", "services", "endpointslices", "endpoints"] {
        kubectl.wait_until(&[kind], SOON, <[Value]>::is_empty);
    }
    kubectl.ok(&["delete", "persistentvolumeclaims", "--all"]);
}

#[test]
fn what_a_backup_tool_restores_is_adopted_as_it_is() {
    let (_namespace, kubectl) = sandbox("restore");
    create_ready(&kubectl, &set(), "w");
    let mut backup: Vec<Value> = KINDS.iter().flat_map(|kind| of_sets(&kubectl, kind)).collect();
    backup.extend(items(&kubectl, &["partitionsets"]));
    let partitions = items(&kubectl, &["partitions"]);
    lose_everything(&kubectl);

    let mut restored_uids = BTreeMap::new();
    for object in &backup {
        if object["kind"] == "PartitionSet" {
            restored_uids = uids(&kubectl);
        }
        kubectl.feed_ok(&[&["create", "-f", "-"], &BACKUP_TOOL[..]].concat(), &restored(object).to_string());
    }
    let refused =
        kubectl.feed_fails(&[&["create", "-f", "-"], &BACKUP_TOOL[..]].concat(), &restored(&partitions[0]).to_string());
    let words = "Partitions are made by the Atomix controller: create PartitionSet \"w\" instead; a restore leaves \
                 partitions.k8s.atomix.io out";
    assert!(refused.contains(words) || refused.contains("already exists"), "{refused}");

    let steps = commands_of("docs/operations.md", "Backup and restore");
    let wait = steps[1].lines().find(|line| line.starts_with("kubectl wait")).expect("a command that waits");
    let output = kubectl.shell(wait);
    assert!(output.status.success(), "{}", output.stderr);
    for kind in ["configmaps", "statefulsets", "services", "poddisruptionbudgets", "endpointslices", "endpoints"] {
        for object in of_sets(&kubectl, kind) {
            let owner = text(&object, "/metadata/ownerReferences/0/kind");
            assert!(owner.starts_with("Partition"), "{object:#}");
        }
    }
    assert_eq!(uids(&kubectl), restored_uids);
    assert_eq!(restored_uids.keys().filter(|name| name.starts_with("Pod ")).count(), 6);
}

#[test]
fn a_saved_set_and_its_claims_are_enough() {
    let (_namespace, kubectl) = sandbox("saved");
    create_ready(&kubectl, &set(), "w");
    let steps = commands_of("docs/operations.md", "Backup and restore");
    let [save, restore] = &steps[..] else { panic!("{steps:#?}") };
    let directory = harness().control_plane().dir().display().to_string();
    let run = |commands: &str| {
        let output = kubectl.shell(&format!("cd '{directory}'\n{commands}"));
        assert!(output.status.success(), "{commands}\n{}", output.stderr);
    };
    run(save);
    let claims = of_sets(&kubectl, "persistentvolumeclaims");
    lose_everything(&kubectl);
    for claim in &claims {
        kubectl.create_stdin(&restored(claim).to_string());
    }
    let before: Map<String, Value> = uids(&kubectl).into_iter().map(|(name, uid)| (name, uid.into())).collect();
    assert_eq!(before.len(), 6);
    run(restore);
    let set = await_ready(&kubectl, "w");
    assert!(is_ready(&set));
    let now = uids(&kubectl);
    assert!(before.iter().all(|(name, uid)| now.get(name).is_some_and(|now| now == uid)), "{now:#?}");
}
