//! A change of the template replaces the pods of a partition one by one, and never costs it more than one of them.

use std::collections::BTreeMap;
use std::time::Instant;

use serde_json::{Value, json};
use webhook_tests::{AuditEntry, EventKind, Kubectl, harness};

use crate::support::{SOON, await_ready, condition, create_ready, is_ready, items, sandbox, set, stage, text, version};

pub fn patch_template(kubectl: &Kubectl, spec: &Value) {
    let patch = json!({"spec": {"template": {"spec": spec}}});
    kubectl.ok(&["patch", "partitionset", "w", "--type=merge", "-p", &patch.to_string()]);
}

fn uids(kubectl: &Kubectl) -> BTreeMap<String, String> {
    let pods = items(kubectl, &["pods", "-l", "group=w"]);
    pods.iter().map(|pod| (text(pod, "/metadata/name").to_owned(), text(pod, "/metadata/uid").to_owned())).collect()
}

fn image(pod: &Value) -> &str {
    text(pod, "/spec/containers/0/image")
}

fn stays(pod: &Value) -> bool {
    condition(pod, "Ready").is_some_and(|ready| ready["status"] == "True")
        && pod["metadata"]["deletionTimestamp"].is_null()
}

/// Evictions in a namespace that were asked for, in their order.
pub fn evictions(kubectl: &Kubectl) -> Vec<AuditEntry> {
    let audit = harness().control_plane().audit();
    let all =
        audit.into_iter().filter(|entry| entry.subresource == "eviction" && entry.namespace == kubectl.namespace());
    all.collect()
}

/// The reason and message of a partition's condition.
fn reason_and_message(partition: &Value, kind: &str) -> (String, String) {
    let condition = condition(partition, kind).cloned().unwrap_or_default();
    (text(&condition, "/reason").to_owned(), text(&condition, "/message").to_owned())
}

#[test]
fn raft_pods_are_replaced_one_by_one_each_when_all_have_been_ready_for_ten_seconds() {
    let (_namespace, kubectl) = sandbox("one-by-one");
    create_ready(&kubectl, &set("w", 1, "raft", 3), "w");
    let mut pods = kubectl.watch(&["pods"]);
    let deadline = Instant::now() + SOON;
    while pods.next(deadline).expect("the pods").kind != EventKind::Synced {}
    patch_template(&kubectl, &json!({"image": "node:2"}));

    // When the last of the pods had become ready, as the pods themselves say, before each of them went.
    let (mut gone, mut changed) = (Vec::new(), 0);
    while changed < 3 {
        let event = pods.next(deadline).expect("three pods of the new image");
        let state = pods.state();
        assert!(state.iter().filter(|pod| stays(pod)).count() >= 2, "more than one was down: {state:#?}");
        let name = text(&event.object, "/metadata/name").to_owned();
        if event.object["metadata"]["deletionTimestamp"].is_string() && !gone.contains(&name) {
            assert_eq!(image(&event.object), "atomix/atomix-raft-node:latest");
            let ready_for = |pod: &Value| {
                let since = text(condition(pod, "Ready").expect("a condition"), "/lastTransitionTime").to_owned();
                seconds(text(&event.object, "/metadata/deletionTimestamp")) - 30.0 - seconds(&since)
            };
            let others = state.iter().filter(|pod| text(pod, "/metadata/name") != name);
            let youngest = others.map(ready_for).fold(f64::MAX, f64::min);
            assert!(youngest >= 9.0, "{name} went {youngest} s after another was ready");
            gone.push(name);
        }
        changed = state.iter().filter(|pod| image(pod) == "node:2" && stays(pod)).count();
    }
    assert_eq!(gone, ["w-1-2", "w-1-1", "w-1-0"]);
    await_ready(&kubectl, "w");
    let asked: Vec<String> = evictions(&kubectl).into_iter().filter(|entry| entry.code < 400).map(|e| e.name).collect();
    assert_eq!(asked, gone, "each once");
    let events = items(&kubectl, &["events.events.k8s.io"]);
    for reason in ["Rolling", "Rolled"] {
        let reported = events.iter().filter(|event| event["reason"] == reason && event["regarding"]["name"] == "w-1");
        assert_eq!(reported.count(), 1, "{reason}");
    }
}

/// The time of day of an RFC 3339 timestamp, in seconds.
fn seconds(timestamp: &str) -> f64 {
    let clock = timestamp.split(['T', 'Z']).nth(1).expect("a time");
    clock.split(':').fold(0.0, |sum, part| sum * 60.0 + part.parse::<f64>().expect("a number"))
}

#[test]
fn a_pod_that_is_down_goes_first_and_no_other_until_it_is_back() {
    let (_namespace, kubectl) = sandbox("down");
    create_ready(&kubectl, &set("w", 1, "log", 3), "w");
    let before = uids(&kubectl);
    stage(&kubectl, "w-1-0", "never-ready");
    kubectl.wait_until(&["partition", "w-1"], SOON, |found| !is_ready(&found[0]));

    // What pod 0 comes back with does not work either.
    patch_template(&kubectl, &json!({"image": "unready.test/node:2"}));
    kubectl.wait_until(&["partition", "w-1"], SOON, |found| {
        let (reason, message) = reason_and_message(&found[0], "Reconciling");
        reason == "WaitingForQuorum"
            && message == "2 of 3 pods are ready; 2 of 3 pods are outdated; waiting for pod w-1-0 to be ready"
            && reason_and_message(&found[0], "Ready").0 == "Rolling"
    });
    kubectl.wait_until(&["partitionset", "w"], SOON, |found| {
        let message =
            "0 of 1 partitions are up to date; waiting for w-1: 2 of 3 pods are ready; 2 of 3 pods are outdated";
        let (reason, reported) = reason_and_message(&found[0], "Ready");
        reason == "RollingOut" && reported.starts_with(message)
    });
    let now = uids(&kubectl);
    assert_ne!(now["w-1-0"], before["w-1-0"]);
    assert_eq!((&now["w-1-1"], &now["w-1-2"]), (&before["w-1-1"], &before["w-1-2"]));

    patch_template(&kubectl, &json!({"image": "node:3"}));
    await_ready(&kubectl, "w");
    assert!(items(&kubectl, &["pods"]).iter().all(|pod| image(pod) == "node:3"));
    let asked: Vec<String> = evictions(&kubectl).into_iter().filter(|entry| entry.code < 400).map(|e| e.name).collect();
    assert_eq!(asked, ["w-1-0", "w-1-0", "w-1-2", "w-1-1"]);
}

#[test]
fn a_partition_of_which_no_pod_is_up_is_put_right() {
    let (_namespace, kubectl) = sandbox("all-down");
    kubectl.create_stdin(&set("w", 1, "raft", 3).replace("size: 3", "size: 3, image: missing.test/node"));
    kubectl.wait_until(&["partition", "w-1"], SOON, |found| {
        found.first().is_some_and(|found| reason_and_message(found, "Ready").0 == "ImagePullFailed")
    });
    patch_template(&kubectl, &json!({"image": "node:2"}));
    await_ready(&kubectl, "w");
    assert!(items(&kubectl, &["pods"]).iter().all(|pod| image(pod) == "node:2"));
}

#[test]
fn a_refusal_of_the_disruption_budget_is_waited_for_and_told() {
    let (_namespace, kubectl) = sandbox("refused");
    create_ready(&kubectl, &set("w", 1, "log", 3), "w");
    // A pod of another owner that the budget counts, and that is down.
    let labels = json!({"app": "atomix", "type": "partition", "group": "w", "partition": "1", "of": "another"});
    kubectl.create_stdin(
        &json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": "another"}, "spec": {
            "replicas": 1, "selector": {"matchLabels": {"of": "another"}},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "unready.test/c"}]}},
        }})
        .to_string(),
    );
    kubectl
        .wait_until(&["poddisruptionbudget", "w-1-pdb"], SOON, |found| found[0]["status"]["disruptionsAllowed"] == 0);
    let before = items(&kubectl, &["pods", "-l", "app.kubernetes.io/instance=w"]);
    patch_template(&kubectl, &json!({"image": "node:2"}));
    kubectl.wait_until(&["partition", "w-1"], SOON, |found| {
        let (reason, message) = reason_and_message(&found[0], "Reconciling");
        reason == "WaitingForQuorum" && message.contains("pod w-1-2") && message.contains("disruption budget")
    });
    let now = items(&kubectl, &["pods", "-l", "app.kubernetes.io/instance=w"]);
    assert!(before.iter().zip(&now).all(|(one, other)| one["metadata"]["uid"] == other["metadata"]["uid"]));
    assert!(evictions(&kubectl).iter().all(|entry| entry.code == 429 && entry.name == "w-1-2"));

    kubectl.ok(&["delete", "replicaset", "another"]);
    await_ready(&kubectl, "w");
    let now = items(&kubectl, &["pods", "-l", "app.kubernetes.io/instance=w"]);
    assert!(now.iter().all(|pod| image(pod) == "node:2"));
}

#[test]
fn each_change_that_pods_see_replaces_them_all() {
    let (_namespace, kubectl) = sandbox("changes");
    create_ready(&kubectl, &set("w", 1, "log", 2), "w");
    let container = "/spec/containers/0";
    let changed = |patch: Value, pointer: String, value: Value| {
        let before = uids(&kubectl);
        kubectl.ok(&["patch", "partitionset", "w", "--type=merge", "-p", &json!({"spec": patch}).to_string()]);
        kubectl.wait_until(&["pods"], SOON, |pods| {
            pods.len() == 2
                && pods.iter().all(|pod| {
                    before[text(pod, "/metadata/name")] != text(pod, "/metadata/uid")
                        && pod.pointer(&pointer).cloned().unwrap_or_default() == value
                })
        });
        await_ready(&kubectl, "w");
    };
    let spec = |spec: Value| json!({"template": {"spec": spec}});
    let labels = |tier: Value| json!({"template": {"metadata": {"labels": {"tier": tier}}}});
    let env = json!([{"name": "A", "value": "b"}]);
    changed(spec(json!({"env": env})), format!("{container}/env/1/value"), json!("b"));
    changed(
        spec(json!({"resources": {"requests": {"cpu": "10m"}}})),
        format!("{container}/resources/requests/cpu"),
        json!("10m"),
    );
    // The options are in a file that a node reads when it starts.
    changed(
        spec(json!({"config": "memberGroupStrategy: RACK_AWARE"})),
        format!("{container}/image"),
        json!("atomix/atomix-log-node:latest"),
    );
    changed(labels(json!("gold")), "/metadata/labels/tier".to_owned(), json!("gold"));
    changed(labels(json!("tin")), "/metadata/labels/tier".to_owned(), json!("tin"));
    changed(labels(Value::Null), "/metadata/labels/tier".to_owned(), Value::Null);
}

#[test]
fn after_an_edit_a_set_is_ready_only_when_every_pod_is_new_and_ready() {
    let (_namespace, kubectl) = sandbox("right");
    create_ready(&kubectl, &set("w", 2, "log", 2), "w");
    for patch in
        [json!({"template": {"spec": {"image": "node:2"}}}), json!({"template": {"metadata": {"labels": {"a": "b"}}}})]
    {
        let before: Vec<String> = uids(&kubectl).into_values().collect();
        let (mut sets, mut pods) = (kubectl.watch(&["partitionset", "w"]), kubectl.watch(&["pods"]));
        let deadline = Instant::now() + SOON;
        while sets.next(deadline).expect("the set").kind != EventKind::Synced {}
        while pods.next(deadline).expect("the pods").kind != EventKind::Synced {}
        let old = sets.state()[0]["metadata"]["generation"].as_u64().expect("a generation");
        kubectl.ok(&["patch", "partitionset", "w", "--type=merge", "-p", &json!({"spec": patch}).to_string()]);
        let ready = loop {
            let set = sets.next(deadline).expect("a ready set").object;
            let generation = set["status"]["observedGeneration"].as_u64().expect("a generation");
            let ready = condition(&set, "Ready").expect("a condition");
            assert_eq!(ready["observedGeneration"], generation);
            if generation > old && ready["status"] == "True" {
                break version(&set);
            }
        };
        // The version at which each new pod became ready.
        let mut since: BTreeMap<String, u64> = BTreeMap::new();
        while since.len() < 4 {
            let event = pods.next(deadline).expect("four new pods");
            let uid = text(&event.object, "/metadata/uid").to_owned();
            if !before.contains(&uid) && event.kind != EventKind::Synced && stays(&event.object) {
                since.entry(uid).or_insert(version(&event.object));
            }
        }
        assert!(since.values().all(|since| *since < ready), "ready at {ready}, its pods at {since:?}");
    }
}
