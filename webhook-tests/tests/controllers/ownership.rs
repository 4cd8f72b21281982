//! The controller owns the fields that it sets and no others: what others add stays, what they change comes back, and
//! neither costs a pod.

use std::collections::BTreeMap;
use std::time::Instant;

use serde_json::{Value, json};
use webhook_tests::{EventKind, Kubectl, Watch};

use crate::rolling::patch_template;
use crate::support::objects::{Object, of_group, of_partition};
use crate::support::policy::{CHILDREN, Policy};
use crate::support::{SOON, await_ready, condition, create_ready, is_ready, items, sandbox, set, text};

const MANAGED_BY: &str = "app.kubernetes.io/managed-by";

fn uids(kubectl: &Kubectl) -> BTreeMap<String, String> {
    let pods = items(kubectl, &["pods"]);
    pods.iter().map(|pod| (text(pod, "/metadata/name").to_owned(), text(pod, "/metadata/uid").to_owned())).collect()
}

/// A watch whose first list has been read.
fn watch(kubectl: &Kubectl, arguments: &[&str]) -> Watch {
    let mut watch = kubectl.watch(arguments);
    while watch.next(Instant::now() + SOON).expect("a first list").kind != EventKind::Synced {}
    watch
}

fn stays(pod: &Value) -> bool {
    condition(pod, "Ready").is_some_and(|ready| ready["status"] == "True")
        && pod["metadata"]["deletionTimestamp"].is_null()
}

/// When a pod was asked to restart, by the annotation of its template.
fn restarted_at(object: &Value, template: &str) -> String {
    text(object, &format!("{template}/metadata/annotations/kubectl.kubernetes.io~1restartedAt")).to_owned()
}

/// Asserts that no object of the namespace was ever called contested.
#[track_caller]
fn assert_never_contested(kubectl: &Kubectl) {
    let events = items(kubectl, &["events.events.k8s.io"]);
    let contested: Vec<_> =
        events.iter().filter(|event| matches!(text(event, "/reason"), "Contested" | "Restored")).collect();
    assert!(contested.is_empty(), "{contested:#?}");
}

/// Restarts the pods so often in a row, and follows them until all are those of the last restart.
fn restart_pods(kubectl: &Kubectl, times: usize) {
    create_ready(kubectl, &set("w", 1, "log", 3), "w");
    let before = uids(kubectl);
    let mut pods = watch(kubectl, &["pods"]);
    let mut partitions = watch(kubectl, &["partition", "w-1"]);
    // kubectl says the time in seconds, and restarts nothing twice in one.
    let mut last = String::new();
    for _ in 0..times {
        let deadline = Instant::now() + SOON;
        while !kubectl.run(&["rollout", "restart", "statefulset/w-1"]).status.success() {
            assert!(Instant::now() < deadline, "kubectl restarts nothing");
        }
        last = restarted_at(&kubectl.get_json(&["statefulset", "w-1"]), "/spec/template");
    }
    assert!(!last.is_empty());
    let deadline = Instant::now() + SOON;
    loop {
        pods.next(deadline).expect("three pods that were restarted");
        let state = pods.state();
        let ready = state.iter().filter(|pod| stays(pod)).count();
        assert!(ready >= 2, "more than one of three was down: {state:#?}");
        if ready == 3 && state.iter().all(|pod| restarted_at(pod, "") == last) {
            break;
        }
    }
    await_ready(kubectl, "w");
    let stateful_set = kubectl.get_json(&["statefulset", "w-1"]);
    assert_eq!(restarted_at(&stateful_set, "/spec/template"), last);
    let after = uids(kubectl);
    assert!(before.iter().all(|(name, uid)| after[name] != *uid));
    while let Some(event) = partitions.next(Instant::now()) {
        let stalled = condition(&event.object, "Stalled");
        assert!(stalled.is_none(), "{stalled:?}");
    }
    assert_never_contested(kubectl);
}

#[test]
fn kubectl_rollout_restart_replaces_the_pods_one_by_one() {
    let (_namespace, kubectl) = sandbox("restart");
    restart_pods(&kubectl, 1);
}

#[test]
fn six_restarts_in_a_row_are_no_contest_and_cost_no_quorum() {
    let (_namespace, kubectl) = sandbox("restarts");
    restart_pods(&kubectl, 6);
}

/// What a write of a StatefulSet would change.
fn written(stateful_set: &Value) -> (Value, Value) {
    (stateful_set["metadata"]["generation"].clone(), stateful_set["metadata"]["resourceVersion"].clone())
}

/// The controller's own account: only it may write Partitions.
const AS_CONTROLLER: [&str; 2] =
    ["--as=system:serviceaccount:kube-system:atomix-controller", "--as-group=system:masters"];

#[test]
fn foreign_labels_of_objects_without_managed_fields_stay_and_reach_no_pod() {
    let (_namespace, kubectl) = sandbox("unmanaged");
    create_ready(&kubectl, &set("w", 1, "log", 3), "w");
    let pods = uids(&kubectl);
    let stateful_set = written(&kubectl.get_json(&["statefulset", "w-1"]));
    let objects: Vec<Object> = of_partition("w", 1).into_iter().chain(of_group("w")).collect();
    for (kind, name) in &objects {
        if *kind == "statefulset" {
            continue;
        }
        let patch = json!({"metadata": {"managedFields": [{}]}}).to_string();
        let merge = ["patch", kind, name, "--type=merge", "-p", &patch];
        kubectl.ok(&[&merge[..], &AS_CONTROLLER].concat());
        kubectl.ok(&["label", kind, name, "cost=y"]);
    }
    // A change of ours that reaches them all but the StatefulSet.
    let edit = json!({"metadata": {"labels": {"team": "a"}}}).to_string();
    kubectl.ok(&["patch", "partitionset", "w", "--type=merge", "-p", &edit]);
    kubectl.wait_until(&["service", "w"], SOON, |found| found[0]["metadata"]["labels"]["team"] == "a");
    await_ready(&kubectl, "w");
    for (kind, name) in &objects {
        let labels = kubectl.get_json(&[kind, name])["metadata"]["labels"].clone();
        assert_eq!(labels["cost"] == "y", *kind != "statefulset", "{kind} {name}: {labels}");
    }
    assert_eq!(written(&kubectl.get_json(&["statefulset", "w-1"])), stateful_set);
    assert_eq!(uids(&kubectl), pods);
    assert!(items(&kubectl, &["pods"]).iter().all(|pod| pod["metadata"]["labels"]["cost"].is_null()));

    // The StatefulSet itself: one label, and no pod.
    let patch = json!({"metadata": {"managedFields": [{}]}}).to_string();
    kubectl.ok(&["patch", "statefulset", "w-1", "--type=merge", "-p", &patch]);
    kubectl.ok(&["label", "statefulset", "w-1", "cost=y"]);
    await_settled(&kubectl);
    let labelled = kubectl.get_json(&["statefulset", "w-1"]);
    assert_eq!(labelled["metadata"]["labels"]["cost"], "y");
    assert_eq!(written(&labelled).0, stateful_set.0, "the spec was not written");
    assert_eq!(uids(&kubectl), pods);
}

/// Returns when the controller has done all that it had to do before: a set that is made now is complete.
fn await_settled(kubectl: &Kubectl) {
    let (_other, barrier) = sandbox("barrier");
    create_ready(&barrier, &set("w", 1, "log", 1), "w");
    await_ready(kubectl, "w");
}

#[test]
fn an_edited_label_of_a_partition_comes_back_and_never_reaches_its_pods() {
    let (_namespace, kubectl) = sandbox("edited-label");
    let yaml = set("w", 1, "log", 3).replace("template: {spec", "template: {metadata: {labels: {tier: gold}}, spec");
    create_ready(&kubectl, &yaml, "w");
    let pods = uids(&kubectl);
    let stateful_set = written(&kubectl.get_json(&["statefulset", "w-1"]));
    for edit in ["tier=tin", "tier-", "app=other", "app.kubernetes.io/instance=other"] {
        let label = ["label", "partition", "w-1", "--overwrite", edit];
        kubectl.ok(&[&label[..], &AS_CONTROLLER].concat());
        kubectl.wait_until(&["partition", "w-1"], SOON, |found| {
            let labels = &found[0]["metadata"]["labels"];
            labels["tier"] == "gold" && labels["app"] == "atomix" && labels["app.kubernetes.io/instance"] == "w"
        });
    }
    await_settled(&kubectl);
    assert_eq!(written(&kubectl.get_json(&["statefulset", "w-1"])), stateful_set);
    assert_eq!(uids(&kubectl), pods);
}

/// Whether all objects of set `w` carry the label that says who manages them with one of the values.
fn are_managed_by(kubectl: &Kubectl, objects: &[Object], values: &[&str]) -> bool {
    objects.iter().all(|(kind, name)| {
        let label = kubectl.get_json(&[kind, name])["metadata"]["labels"][MANAGED_BY].clone();
        values.iter().any(|value| label == *value)
    })
}

fn everything() -> Vec<Object> {
    of_partition("w", 1).into_iter().chain(of_group("w")).collect()
}

/// A template edit rolls the pods, and a child that is deleted comes back. No partition is ever called one without pods.
fn assert_runs_as_ever(kubectl: &Kubectl) {
    let mut partitions = watch(kubectl, &["partition", "w-1"]);
    patch_template(kubectl, &json!({"image": "node:2"}));
    await_ready(kubectl, "w");
    assert!(items(kubectl, &["pods"]).iter().all(|pod| text(pod, "/spec/containers/0/image") == "node:2"));
    for (kind, name) in everything().iter().filter(|(kind, _)| *kind != "partition") {
        let uid = kubectl.get_json(&[kind, name])["metadata"]["uid"].clone();
        kubectl.ok(&["delete", kind, name, "--wait=false"]);
        kubectl.wait_until(&[kind, name], SOON, |found| {
            found.first().is_some_and(|found| found["metadata"]["uid"] != uid)
        });
    }
    await_ready(kubectl, "w");
    while let Some(event) = partitions.next(Instant::now()) {
        for kind in ["Ready", "Stalled"] {
            let reason = condition(&event.object, kind).map(|condition| text(condition, "/reason").to_owned());
            assert_ne!(reason.as_deref(), Some("PodsMissing"));
            assert_ne!(reason.as_deref(), Some("Contested"));
        }
    }
}

#[test]
fn a_rewritten_managed_by_label_is_seen_and_healed_and_the_set_runs_as_ever() {
    let (_namespace, kubectl) = sandbox("rewritten");
    create_ready(&kubectl, &set("w", 1, "log", 2), "w");
    let pods = uids(&kubectl);
    for pod in pods.keys() {
        kubectl.ok(&["label", "pod", pod, "--overwrite", &format!("{MANAGED_BY}=platform")]);
    }
    for (kind, name) in everything() {
        let label = format!("{MANAGED_BY}=platform");
        let label = ["label", kind, &name, "--overwrite", &label];
        kubectl.ok(&[&label[..], &AS_CONTROLLER].concat());
        kubectl.wait_until(&[kind, &name], SOON, |found| {
            found[0]["metadata"]["labels"][MANAGED_BY] == "atomix-controller"
        });
    }
    let set = await_ready(&kubectl, "w");
    assert!(is_ready(&set));
    assert_eq!(uids(&kubectl), pods, "a label of pods costs no pod");
    assert_runs_as_ever(&kubectl);
}

#[test]
fn a_policy_that_owns_the_managed_by_label_is_left_alone_and_the_set_runs_as_ever() {
    let (_namespace, kubectl) = sandbox("platform");
    let platform =
        r#"[JSONPatch{op: "add", path: "/metadata/labels/app.kubernetes.io~1managed-by", value: "platform"}]"#;
    let operations = ["CREATE", "UPDATE"];
    let _children = Policy::mutating(&kubectl, CHILDREN, &operations, platform);
    let _pods = Policy::mutating(&kubectl, &[("", "pods")], &operations, platform);
    create_ready(&kubectl, &set("w", 1, "log", 2), "w");
    assert!(are_managed_by(&kubectl, &everything(), &["platform"]));
    assert_runs_as_ever(&kubectl);
    let events = items(&kubectl, &["events.events.k8s.io"]);
    assert!(events.iter().all(|event| event["reason"] != "Restored"), "{events:#?}");
}

#[test]
fn a_policy_that_takes_the_managed_by_label_of_running_sets_is_left_alone() {
    let (_namespace, kubectl) = sandbox("taken-over");
    create_ready(&kubectl, &set("w", 1, "log", 2), "w");
    let pods = uids(&kubectl);
    let platform =
        r#"[JSONPatch{op: "add", path: "/metadata/labels/app.kubernetes.io~1managed-by", value: "platform"}]"#;
    let _policy = Policy::mutating(&kubectl, CHILDREN, &["CREATE", "UPDATE"], platform);
    for (kind, name) in everything() {
        let label = ["label", kind, &name, "touched=yes"];
        kubectl.ok(&[&label[..], &AS_CONTROLLER].concat());
    }
    await_settled(&kubectl);
    assert_eq!(uids(&kubectl), pods);
    let ignored = "/metadata/annotations/k8s.atomix.io~1ignored-fields";
    for (kind, name) in everything() {
        kubectl.wait_until(&[kind, &name], SOON, |found| text(&found[0], ignored).contains(MANAGED_BY));
    }
    assert_runs_as_ever(&kubectl);
}

#[test]
fn what_was_left_to_a_policy_comes_back_with_the_next_edit_after_it_is_gone() {
    let (_namespace, kubectl) = sandbox("policy-gone");
    let tier = r#"[JSONPatch{op: "add", path: "/metadata/labels/tier", value: "platform"}]"#;
    let policy = Policy::mutating(&kubectl, CHILDREN, &["CREATE", "UPDATE"], tier);
    let yaml = set("w", 1, "log", 2).replace("template: {spec", "template: {metadata: {labels: {tier: gold}}, spec");
    create_ready(&kubectl, &yaml, "w");
    policy.remove();
    let edit = json!({"spec": {"template": {"metadata": {"labels": {"tier": "tin"}}}}}).to_string();
    kubectl.ok(&["patch", "partitionset", "w", "--type=merge", "-p", &edit]);
    await_ready(&kubectl, "w");
    for (kind, name) in of_partition("w", 1) {
        kubectl.wait_until(&[kind, &name], SOON, |found| found[0]["metadata"]["labels"]["tier"] == "tin");
    }
}

#[test]
fn an_edit_of_a_set_reaches_its_partitions_also_where_a_policy_changes_their_spec() {
    let (_namespace, kubectl) = sandbox("spec-policy");
    let mirror = r#"object.spec.image.startsWith("mirror/") ? [] :
        [JSONPatch{op: "replace", path: "/spec/image", value: "mirror/" + object.spec.image}]"#;
    let partitions = [("k8s.atomix.io", "partitions")];
    let _policy = Policy::mutating(&kubectl, &partitions, &["CREATE", "UPDATE"], mirror);
    create_ready(&kubectl, &set("w", 1, "log", 2), "w");
    let image = |kubectl: &Kubectl| text(&kubectl.get_json(&["pod", "w-1-0"]), "/spec/containers/0/image").to_owned();
    assert_eq!(image(&kubectl), "mirror/atomix/atomix-log-node:latest");
    patch_template(&kubectl, &json!({"image": "node:2"}));
    kubectl.wait_until(&["pods"], SOON, |pods| {
        pods.len() == 2 && pods.iter().all(|pod| text(pod, "/spec/containers/0/image") == "mirror/node:2" && stays(pod))
    });
    await_ready(&kubectl, "w");
}
