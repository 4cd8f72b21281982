//! What keeps pods from being there or ready shows in the conditions of the partition and of the set.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use webhook_tests::Kubectl;

use crate::rolling::patch_template;
use crate::support::policy::Policy;
use crate::support::{SOON, await_ready, condition, items, sandbox, set, stage, text};

#[track_caller]
pub fn await_told(kubectl: &Kubectl, object: [&str; 2], reason: &str, words: &str) {
    kubectl.wait_until(&object, SOON, |found| {
        let ready = found.first().and_then(|found| condition(found, "Ready"));
        ready.is_some_and(|ready| ready["reason"] == reason && text(ready, "/message").contains(words))
    });
}

/// Limits a kind of objects, without waiting for the controller of quotas.
pub fn limit(kubectl: &Kubectl, resource: &str, most: &str) {
    let hard = json!({resource: most});
    kubectl.create_stdin(
        &json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "q"}, "spec": {"hard": hard}})
            .to_string(),
    );
    let status = json!({"status": {"hard": hard, "used": {resource: "0"}}}).to_string();
    kubectl.ok(&["patch", "resourcequota", "q", "--subresource=status", "--type=merge", "-p", &status]);
}

#[test]
fn a_pod_that_cannot_be_scheduled_is_named_in_the_set_with_the_reason() {
    let (_namespace, kubectl) = sandbox("unschedulable");
    kubectl.create_stdin(&set("w", 2, "log", 1).replace("size: 1", "size: 1, nodeSelector: {nowhere: \"yes\"}"));
    await_told(&kubectl, ["partition", "w-1"], "PodUnschedulable", "pod w-1-0 cannot be scheduled: 0/");
    await_told(
        &kubectl,
        ["partitionset", "w"],
        "PartitionsNotReady",
        "; w-1: 0 of 1 pods are ready; pod w-1-0 cannot be scheduled: 0/",
    );
    kubectl.wait_until(&["events.events.k8s.io", "--field-selector", "regarding.name=w-1"], SOON, |events| {
        events.iter().any(|event| event["type"] == "Warning" && event["reason"] == "PodUnschedulable")
    });
    patch_template(&kubectl, &json!({"nodeSelector": null}));
    await_ready(&kubectl, "w");
}

/// How long a pod may wait for a Kubernetes node before an event reports it.
const PASSING: Duration = Duration::from_secs(10);

#[test]
fn a_pod_that_is_scheduled_within_seconds_is_not_told_of() {
    let (_namespace, kubectl) = sandbox("soon-scheduled");
    let node = items(&kubectl, &["nodes"])[0]["metadata"]["name"].as_str().expect("a name").to_owned();
    // A busy machine may take longer than that; it gets three tries.
    let events = ["a", "b", "c"].into_iter().find_map(|name| {
        let label = format!("{}-{name}", kubectl.namespace());
        let began = Instant::now();
        kubectl.create_stdin(
            &set(name, 1, "log", 1).replace("size: 1", &format!("size: 1, nodeSelector: {{{label}: here}}")),
        );
        kubectl.wait_until(&["pods", "-l", &format!("group={name}")], SOON, |pods| {
            let scheduled = pods.first().and_then(|pod| condition(pod, "PodScheduled"));
            scheduled.is_some_and(|scheduled| scheduled["reason"] == "Unschedulable")
        });
        // The events of the pods are written with the status that counts them.
        kubectl.wait_until(&["partition", &format!("{name}-1")], SOON, |found| found[0]["status"]["replicas"] == 1);
        kubectl.ok(&["label", "node", &node, &format!("{label}=here")]);
        await_ready(&kubectl, name);
        let took = began.elapsed();
        kubectl.ok(&["label", "node", &node, &format!("{label}-")]);
        // Its events were written before it was ready.
        let of = |event: &Value| text(event, "/regarding/name").starts_with(name);
        let events = kubectl.wait_until(&["events.events.k8s.io"], SOON, |events| {
            events.iter().any(|event| event["reason"] == "Ready" && of(event))
        });
        (took < PASSING).then(|| events.into_iter().filter(|event| of(event)).collect::<Vec<_>>())
    });
    let events = events.expect("a pod that is scheduled within seconds");
    let reported: Vec<_> = events.iter().filter(|event| event["reason"] == "PodUnschedulable").collect();
    assert!(reported.is_empty(), "{reported:#?}");
}

#[test]
fn a_quota_that_refuses_an_object_is_named_and_the_set_goes_on_when_it_is_gone() {
    let (_namespace, kubectl) = sandbox("quota");
    limit(&kubectl, "count/configmaps", "0");
    kubectl.create_stdin(&set("w", 1, "log", 1));
    await_told(&kubectl, ["partition", "w-1"], "QuotaExceeded", "exceeded quota: q");
    await_told(&kubectl, ["partitionset", "w"], "PartitionsNotReady", "exceeded quota: q");
    let partition = kubectl.get_json(&["partition", "w-1"]);
    assert!(condition(&partition, "Reconciling").is_some_and(|condition| condition["reason"] == "QuotaExceeded"));
    kubectl.ok(&["delete", "resourcequota", "q"]);
    await_ready(&kubectl, "w");
}

#[test]
fn a_pod_that_has_the_name_of_one_of_the_partition_is_named() {
    let (_namespace, kubectl) = sandbox("foreign-pod");
    let spec = json!({"containers": [{"name": "a", "image": "a"}]});
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "w-1-0"}, "spec": spec});
    kubectl.create_stdin(&pod.to_string());
    kubectl.create_stdin(&set("w", 1, "log", 1));
    let message = "0 of 1 pods exist; pod w-1-0 cannot be made, since there is one of that name";
    await_told(&kubectl, ["partition", "w-1"], "PodsMissing", message);
}

#[test]
fn pods_that_a_quota_refuses_are_told_of() {
    let (_namespace, kubectl) = sandbox("pods-quota");
    limit(&kubectl, "pods", "1");
    kubectl.create_stdin(&set("w", 1, "log", 2));
    let message = r#"1 of 2 pods exist; pods "w-1-"#;
    await_told(&kubectl, ["partition", "w-1"], "PodsMissing", message);
    await_told(&kubectl, ["partition", "w-1"], "PodsMissing", "exceeded quota: q, requested: pods=1");
    await_told(&kubectl, ["partitionset", "w"], "PartitionsNotReady", message);
    kubectl.ok(&["delete", "resourcequota", "q"]);
    await_ready(&kubectl, "w");
}

#[test]
fn a_failing_pod_is_not_told_of_with_every_step_of_its_kubelet() {
    let (_namespace, kubectl) = sandbox("back-off");
    kubectl.create_stdin(&set("w", 1, "log", 1).replace("size: 1", "size: 1, image: missing.test/node"));
    await_told(
        &kubectl,
        ["partition", "w-1"],
        "ImagePullFailed",
        r#"pod w-1-0 cannot pull the image "missing.test/node""#,
    );
    let reported = kubectl.get_json(&["partition", "w-1"]);
    for reason in ["ErrImagePull", "ImagePullBackOff", "ErrImagePull"] {
        let waiting: Value = json!({"status": {"containerStatuses": [{
            "name": "atomix", "image": "missing.test/node", "imageID": "", "ready": false, "restartCount": 0,
            "state": {"waiting": {"reason": reason, "message": "rpc error"}},
        }]}});
        kubectl.ok(&["patch", "pod", "w-1-0", "--subresource=status", "--type=merge", "-p", &waiting.to_string()]);
    }
    // What is written of another set comes after anything that would have been written of this one.
    kubectl.create_stdin(&set("other", 1, "log", 1));
    await_ready(&kubectl, "other");
    let now = kubectl.get_json(&["partition", "w-1"]);
    assert_eq!(now["metadata"]["resourceVersion"], reported["metadata"]["resourceVersion"]);
}

/// What a pod's status says, written in the kubelet's place.
fn report(kubectl: &Kubectl, status: &Value) {
    let status = json!({"status": status}).to_string();
    kubectl.ok(&["patch", "pod", "w-1-0", "--subresource=status", "--type=strategic", "-p", &status]);
}

#[test]
fn what_holds_up_a_pod_is_named() {
    let (_namespace, kubectl) = sandbox("held-up");
    let gate = r#"[JSONPatch{op: "add", path: "/spec/schedulingGates", value: [{"name": "example.com/later"}]}]"#;
    let policy = Policy::mutating(&kubectl, &[("", "pods")], &["CREATE"], gate);
    kubectl.create_stdin(&set("w", 1, "log", 1));
    let gated = "pod w-1-0 is not scheduled before its scheduling gates are removed: example.com/later";
    await_told(&kubectl, ["partition", "w-1"], "PodSchedulingGated", gated);
    await_told(&kubectl, ["partitionset", "w"], "PartitionsNotReady", gated);
    policy.remove();
    kubectl.ok(&["patch", "pod", "w-1-0", "--type=merge", "-p", r#"{"spec": {"schedulingGates": []}}"#]);
    await_ready(&kubectl, "w");

    // From here on the kubelet leaves the pod alone.
    stage(&kubectl, "w-1-0", "by-hand");
    let not_ready = |reason: &str, message: &str| json!({"conditions": [{"type": "Ready", "status": "False", "reason": reason, "message": message}]});
    report(&kubectl, &not_ready("", ""));
    let node = text(&kubectl.get_json(&["pod", "w-1-0"]), "/spec/nodeName").to_owned();
    let away = format!("pod w-1-0 is not ready because its node {node} is not");
    await_told(&kubectl, ["partition", "w-1"], "NodeNotReady", &away);
    report(&kubectl, &not_ready("ReadinessGatesNotReady", "readiness gate \"example.com/balanced\" does not exist."));
    await_told(
        &kubectl,
        ["partition", "w-1"],
        "PodReadinessGate",
        "readiness gates: readiness gate \"example.com/balanced",
    );
    report(
        &kubectl,
        &json!({
            "conditions": [{"type": "Initialized", "status": "False"}, {"type": "ContainersReady", "status": "False"},
                {"type": "Ready", "status": "False", "reason": "ContainersNotReady"}],
            "containerStatuses": [{"name": "atomix", "image": "i", "imageID": "", "ready": false, "restartCount": 0,
                "state": {"waiting": {"reason": "PodInitializing"}}}],
            "initContainerStatuses": [{"name": "sync", "image": "i", "imageID": "", "ready": false, "restartCount": 0,
                "state": {"running": {}}}],
        }),
    );
    await_told(&kubectl, ["partition", "w-1"], "PodInitializing", r#"pod w-1-0 waits for its init container "sync""#);

    // One that does not end.
    let hold = json!({"metadata": {"finalizers": ["example.com/hold"]}}).to_string();
    kubectl.ok(&["patch", "pod", "w-1-0", "--type=merge", "-p", &hold]);
    kubectl.ok(&["delete", "pod", "w-1-0", "--grace-period=1", "--wait=false"]);
    let late = format!("pod w-1-0 has not ended on node {node}, though its grace period was over at 20");
    await_told(&kubectl, ["partition", "w-1"], "PodTerminating", &late);
    kubectl.ok(&["patch", "pod", "w-1-0", "--type=merge", "-p", r#"{"metadata": {"finalizers": null}}"#]);
    await_ready(&kubectl, "w");
}
