//! Objects that the version before made are taken over without a pod replaced.

use serde_json::{Value, json};
use webhook_tests::Kubectl;

use crate::support::{SOON, await_ready, condition, create_ready, items, sandbox, text};

/// The controller's own account: only it may change the spec of a Partition.
const CONTROLLER: [&str; 2] = ["--as=system:serviceaccount:kube-system:atomix-controller", "--as-group=system:masters"];

const SET: &str = r"
apiVersion: k8s.atomix.io/v1alpha1
kind: PartitionSet
metadata: {name: w, labels: {owner: us, argocd.argoproj.io/instance: gitops}}
spec:
  partitions: 2
  template:
    metadata:
      labels: {team: x, tier: db}
      annotations: {k8s.atomix.io/member-ports: split, note: about}
    spec:
      protocol: log
      size: 2
      image: node:1
      env: [{name: A, value: b}]
      resources: {requests: {cpu: 100m, memory: 1024Mi}}
";

fn patch(kubectl: &Kubectl, kind: &str, name: &str, patch: &Value) {
    let mut arguments = vec!["patch", kind, name, "--type=merge", "-p"];
    let patch = patch.to_string();
    arguments.push(&patch);
    arguments.extend(CONTROLLER);
    kubectl.ok(&arguments);
}

fn pause(kubectl: &Kubectl) {
    kubectl.ok(&["annotate", "partitionset", "w", "k8s.atomix.io/paused=true"]);
    kubectl.wait_until(&["partitionset", "w"], SOON, |found| {
        condition(&found[0], "Ready").is_some_and(|ready| ready["reason"] == "Paused")
    });
}

/// Takes away what the version before did not write, and adds what it did.
fn as_before(kubectl: &Kubectl) {
    let notes = json!({"k8s.atomix.io/pod-template-hash": null, "k8s.atomix.io/copied-labels": null});
    for index in 1..=2 {
        let name = format!("w-{index}");
        let metadata =
            json!({"labels": {"team": "x", "tier": "db"}, "annotations": {"k8s.atomix.io/set-generation": null}});
        patch(kubectl, "partition", &name, &json!({"metadata": metadata, "spec": {"templateMetadata": null}}));
        for (kind, name) in [
            ("statefulset", name.clone()),
            ("service", name.clone()),
            ("service", format!("{name}-hs")),
            ("configmap", format!("{name}-config")),
            ("poddisruptionbudget", format!("{name}-pdb")),
        ] {
            patch(kubectl, kind, &name, &json!({"metadata": {"annotations": notes}}));
        }
    }
    let labels = json!({"k8s.atomix.io/group": null, "argocd.argoproj.io/instance": "gitops"});
    patch(kubectl, "service", "w", &json!({"metadata": {"labels": labels, "annotations": notes}}));
}

fn pods(kubectl: &Kubectl) -> Vec<(String, String)> {
    let found = items(kubectl, &["pods", "-l", "group=w"]);
    found.iter().map(|pod| (text(pod, "/metadata/uid").to_owned(), text(pod, "/metadata/name").to_owned())).collect()
}

#[test]
fn objects_of_the_version_before_are_taken_over_and_no_pod_is_replaced() {
    let (_namespace, kubectl) = sandbox("upgrade");
    create_ready(&kubectl, SET, "w");
    let before = pods(&kubectl);
    let template = kubectl.get_json(&["statefulset", "w-1"])["spec"]["template"].clone();
    pause(&kubectl);
    as_before(&kubectl);

    kubectl.ok(&["annotate", "partitionset", "w", "k8s.atomix.io/paused-"]);
    // What it writes now is noted everywhere.
    kubectl.wait_until(&["statefulsets"], SOON, |found| {
        let noted = |set: &Value| {
            text(set, "/metadata/annotations/k8s.atomix.io~1copied-labels") == "team,tier"
                && !text(set, "/metadata/annotations/k8s.atomix.io~1pod-template-hash").is_empty()
        };
        found.len() == 2 && found.iter().all(noted)
    });
    kubectl.wait_until(&["service", "w"], SOON, |found| {
        let labels = &found[0]["metadata"]["labels"];
        labels["k8s.atomix.io/group"] == "w"
            && labels["owner"] == "us"
            && labels["argocd.argoproj.io/instance"].is_null()
    });
    kubectl.wait_until(&["partitions"], SOON, |found| {
        found
            .iter()
            .all(|partition| partition["spec"]["templateMetadata"]["labels"] == json!({"team": "x", "tier": "db"}))
    });
    await_ready(&kubectl, "w");
    assert_eq!(pods(&kubectl), before);
    let set = kubectl.get_json(&["statefulset", "w-1"]);
    assert_eq!(set["spec"]["template"], template);
    let replaced = kubectl.run(&["get", "events.events.k8s.io", "-o", "name", "--field-selector", "reason=Rolling"]);
    assert_eq!(replaced.stdout.trim(), "");

    // What the template no longer has goes from then on.
    kubectl.ok(&[
        "patch",
        "partitionset",
        "w",
        "--type=json",
        "-p",
        r#"[{"op": "remove", "path": "/spec/template/metadata/labels/tier"}]"#,
    ]);
    kubectl.wait_until(&["services", "-l", "partition"], SOON, |found| {
        found.len() == 4 && found.iter().all(|service| service["metadata"]["labels"]["tier"].is_null())
    });
    await_ready(&kubectl, "w");
    assert!(items(&kubectl, &["pods", "-l", "group=w,tier"]).is_empty());
}
