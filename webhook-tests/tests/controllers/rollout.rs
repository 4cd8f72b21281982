//! A changed template reaches so many partitions at once, and stops at those that do not come back.

use std::thread;
use std::time::Instant;

use serde_json::{Value, json};
use webhook_tests::{ControlPlane, EventKind, Installation, Kubectl, Namespace, StartOptions, harness};

use crate::rolling::patch_template;
use crate::support::policy::Policy;
use crate::support::{
    SOON, addresses, await_ready, condition, create_ready, is_ready, items, sandbox, set, stage, text,
};

fn bounded(partitions: u32, most: u32) -> String {
    set("w", partitions, "log", 1)
        .replace("spec: {partitions", &format!("spec: {{maxUnavailablePartitions: {most}, partitions"))
}

fn images(kubectl: &Kubectl) -> Vec<String> {
    items(kubectl, &["partitions"]).iter().map(|partition| text(partition, "/spec/image").to_owned()).collect()
}

/// Waits until the set's Ready condition has a reason and a message with all of these words.
#[track_caller]
fn await_told(kubectl: &Kubectl, reason: &str, words: &[&str]) -> Value {
    let found = kubectl.wait_until(&["partitionset", "w"], SOON, |found| {
        condition(&found[0], "Ready").is_some_and(|ready| {
            ready["reason"] == reason && words.iter().all(|word| text(ready, "/message").contains(word))
        })
    });
    found[0].clone()
}

#[test]
fn a_bad_image_stops_at_the_partitions_that_may_be_unavailable() {
    thread::scope(|scope| {
        scope.spawn(|| stop_at(1));
        scope.spawn(|| stop_at(2));
    });
}

fn stop_at(most: u32) {
    let (_namespace, kubectl) = sandbox(&format!("bad-image-{most}"));
    create_ready(&kubectl, &bounded(4, most), "w");
    let good = images(&kubectl)[0].clone();
    patch_template(&kubectl, &json!({"image": "missing.test/node:2"}));
    let words = [
        "0 of 4 partitions are up to date; waiting for w-1: ",
        r#"pod w-1-0 cannot pull the image "missing.test/node:2""#,
    ];
    let set = await_told(&kubectl, "RollingOut", &words);
    assert!(condition(&set, "Reconciling").is_some_and(|condition| condition["reason"] == "RollingOut"));
    assert_eq!(set["status"]["readyPartitions"], 4 - most);
    let taken = usize::try_from(most).expect("a number");
    let mut expected = vec!["missing.test/node:2".to_owned(); taken];
    expected.resize(4, good);
    assert_eq!(images(&kubectl), expected);

    patch_template(&kubectl, &json!({"image": "node:3"}));
    await_ready(&kubectl, "w");
    assert_eq!(images(&kubectl), ["node:3"; 4]);
    kubectl.wait_until(&["events.events.k8s.io", "--field-selector", "regarding.name=w"], SOON, |events| {
        let count = |reason: &str| events.iter().filter(|event| event["reason"] == reason).count();
        count("RollingOut") == 1 && count("RolledOut") == 1 && count("PartitionsUpdated") == 0
    });
}

#[test]
fn a_rollout_that_is_paused_stands_still_and_goes_on() {
    let (namespace, kubectl) = sandbox("paused-rollout");
    create_ready(&kubectl, &bounded(3, 1), "w");
    patch_template(&kubectl, &json!({"image": "missing.test/node:2"}));
    await_told(&kubectl, "RollingOut", &["0 of 3 partitions are up to date"]);
    kubectl.ok(&["annotate", "partitionset", "w", "k8s.atomix.io/paused=true"]);
    await_told(&kubectl, "Paused", &["k8s.atomix.io/paused"]);

    let before = harness().control_plane().audit().len();
    patch_template(&kubectl, &json!({"image": "node:3"}));
    kubectl.wait_until(&["partitionset", "w"], SOON, |found| {
        found[0]["status"]["observedGeneration"] == found[0]["metadata"]["generation"]
    });
    // What was to be done at once is done when another set is ready.
    let (_other, barrier) = sandbox("barrier");
    create_ready(&barrier, &set("w", 1, "log", 1), "w");
    let audit = harness().control_plane().audit();
    let written = audit[before..].iter().filter(|entry| entry.namespace == namespace.name() && entry.is_write());
    let written: Vec<_> = written
        .filter(|entry| {
            entry.resource != "events" && (&*entry.resource, &*entry.subresource) != ("partitionsets", "status")
        })
        .collect();
    assert!(written.is_empty(), "{written:#?}");

    kubectl.ok(&["annotate", "partitionset", "w", "k8s.atomix.io/paused-"]);
    await_ready(&kubectl, "w");
    assert_eq!(images(&kubectl), ["node:3"; 3]);
    kubectl.wait_until(&["events.events.k8s.io", "--field-selector", "regarding.name=w"], SOON, |events| {
        ["Paused", "Resumed"]
            .iter()
            .all(|reason| events.iter().any(|event| event["reason"] == *reason && event["type"] == "Normal"))
    });
}

#[test]
fn a_bad_default_image_of_the_controller_stops_likewise() {
    let control_plane = ControlPlane::start().expect("a control plane");
    let installation = Installation::new(&control_plane).expect("an installation");
    let start = |image: &str| {
        let arguments = vec![format!("--log-image={image}")];
        let mut controller =
            installation.start_with(StartOptions { arguments, ..StartOptions::default() }).expect("a controller");
        controller.wait_ready().expect("a ready controller");
        controller
    };
    let mut controller = start("node:1");
    let namespace = Namespace::new(control_plane.kubectl(), "default-image");
    let kubectl = namespace.kubectl();
    create_ready(&kubectl, &bounded(3, 1), "w");

    assert!(controller.stop().expect("an end").success());
    controller = start("missing.test/node:2");
    await_told(&kubectl, "RollingOut", &["0 of 3 partitions are up to date", r#"image "missing.test/node:2""#]);
    assert_eq!(images(&kubectl), ["missing.test/node:2", "node:1", "node:1"]);

    assert!(controller.stop().expect("an end").success());
    let _controller = start("node:3");
    await_ready(&kubectl, "w");
    assert_eq!(images(&kubectl), ["node:3"; 3]);
}

#[test]
fn what_changes_every_partition_at_once_takes_no_more_down_than_a_template_does() {
    let control_plane = ControlPlane::start().expect("a control plane");
    let installation = Installation::new(&control_plane).expect("an installation");
    let start = |domain: &str| {
        let arguments = vec![format!("--cluster-domain={domain}")];
        let mut controller =
            installation.start_with(StartOptions { arguments, ..StartOptions::default() }).expect("a controller");
        controller.wait_ready().expect("a ready controller");
        controller
    };
    let mut controller = start("one.test");
    let namespace = Namespace::new(control_plane.kubectl(), "all-at-once");
    let kubectl = namespace.kubectl();
    create_ready(&kubectl, &bounded(5, 2), "w");
    let mut pods = kubectl.watch(&["pods"]);
    let deadline = Instant::now() + SOON;
    while pods.next(deadline).expect("the pods").kind != EventKind::Synced {}
    let first: Vec<String> = pods.state().iter().map(|pod| text(pod, "/metadata/uid").to_owned()).collect();

    // Another version of the controller, say: every partition's pods are to be replaced, and no set has changed.
    assert!(controller.stop().expect("an end").success());
    let _controller = start("two.test");
    let is_up = |pod: &Value| {
        pod["metadata"]["deletionTimestamp"].is_null()
            && pod["status"]["conditions"].as_array().is_some_and(|conditions| {
                conditions.iter().any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
            })
    };
    let mut fewest = 5;
    loop {
        pods.next(deadline).expect("five other pods");
        let state = pods.state();
        let up = state.iter().filter(|pod| is_up(pod)).count();
        fewest = fewest.min(up);
        if up == 5 && state.iter().all(|pod| !first.contains(&text(pod, "/metadata/uid").to_owned())) {
            break;
        }
    }
    assert!(fewest >= 3, "two partitions may be down at once, and {} were", 5 - fewest);
}

#[test]
fn partitions_get_a_good_template_one_after_the_other() {
    let (_namespace, kubectl) = sandbox("in-turn");
    create_ready(&kubectl, &bounded(3, 1), "w");
    let mut partitions = kubectl.watch(&["partitions"]);
    let deadline = Instant::now() + SOON;
    while partitions.next(deadline).expect("the partitions").kind != EventKind::Synced {}
    patch_template(&kubectl, &json!({"image": "node:2"}));
    let mut changed: Vec<String> = Vec::new();
    while changed.len() < 3 {
        let event = partitions.next(deadline).expect("three changed partitions");
        let state = partitions.state();
        let down: Vec<&str> =
            state.iter().filter(|partition| !is_ready(partition)).map(|found| text(found, "/metadata/name")).collect();
        assert!(down.len() <= 1, "more than one at once: {down:?}");
        let name = text(&event.object, "/metadata/name").to_owned();
        if text(&event.object, "/spec/image") == "node:2" && !changed.contains(&name) {
            changed.push(name);
        }
    }
    assert_eq!(changed, ["w-1", "w-2", "w-3"]);
    await_ready(&kubectl, "w");
}

#[test]
fn no_partition_that_is_handed_over_or_stuck_in_the_midst_of_a_change_holds_up_the_others_or_its_correction() {
    let (_namespace, kubectl) = sandbox("midst");
    create_ready(&kubectl, &bounded(2, 1).replace("size: 1", "size: 3"), "w");
    let controller = |named: &str| {
        kubectl.ok(&["annotate", "--overwrite", "partition", "w-1", &format!("k8s.atomix.io/controller={named}")]);
    };
    let await_image = |pod: &str, image: &str| {
        kubectl.wait_until(&["pods"], SOON, |pods| {
            pods.iter()
                .any(|found| text(found, "/metadata/name") == pod && text(found, "/spec/containers/0/image") == image)
        });
    };
    patch_template(&kubectl, &json!({"image": "unready.test/node:2"}));
    await_image("w-1-2", "unready.test/node:2");

    // Another controller takes it over, and its pods come up.
    controller("ops.other");
    stage(&kubectl, "w-1-2", "ready");
    await_image("w-2-2", "unready.test/node:2");

    // Now the second is in the midst of a change that does not work, and the first is ours and degraded for as long as
    // one of its pods does not end, as on a node that is gone.
    let finalizers = |finalizers: Value| {
        let patch = json!({"metadata": {"finalizers": finalizers}}).to_string();
        kubectl.ok(&["patch", "pod", "w-1-0", "--type=merge", "-p", &patch]);
    };
    finalizers(json!(["example.com/hold"]));
    kubectl.ok(&["delete", "pod", "w-1-0", "--wait=false"]);
    controller("kube-system.atomix-controller");
    kubectl.wait_until(&["partition", "w-1"], SOON, |found| found[0]["status"]["readyReplicas"] == 2);
    patch_template(&kubectl, &json!({"image": "node:3"}));
    await_image("w-2-2", "node:3");
    finalizers(Value::Null);
    await_ready(&kubectl, "w");
    let pods = items(&kubectl, &["pods"]);
    assert!(pods.len() == 6 && pods.iter().all(|pod| text(pod, "/spec/containers/0/image") == "node:3"), "{pods:#?}");
}

#[test]
fn while_a_rollout_stands_all_else_of_the_set_is_healed_and_what_serves_counts_as_ready() {
    let (_namespace, kubectl) = sandbox("stands");
    let labelled = bounded(2, 1).replace("template: {spec", "template: {metadata: {labels: {team: x}}, spec");
    create_ready(&kubectl, &labelled, "w");
    let patch = json!({"spec": {"template": {
        "metadata": {"labels": {"team": "y"}}, "spec": {"image": "missing.test/node:2"}}}});
    kubectl.ok(&["patch", "partitionset", "w", "--type=merge", "-p", &patch.to_string()]);
    await_told(&kubectl, "RollingOut", &["0 of 2 partitions are up to date"]);

    // The second is held back, and loses what the set has given it, and a Service.
    let labels = json!({"team": "z", "group": null});
    let annotations = json!({"k8s.atomix.io/controller": null, "k8s.atomix.io/partition": "7"});
    let spoil = json!({"metadata": {"labels": labels, "annotations": annotations}}).to_string();
    kubectl.ok(&["patch", "partition", "w-2", "--type=merge", "-p", &spoil]);
    kubectl.ok(&["delete", "service", "w-2"]);
    kubectl.wait_until(&["service", "w-2"], SOON, |found| found.len() == 1);
    kubectl.wait_until(&["partition", "w-2"], SOON, |found| {
        let metadata = &found[0]["metadata"];
        (&metadata["labels"]["team"], &metadata["labels"]["group"]) == (&json!("x"), &json!("w"))
            && metadata["annotations"]["k8s.atomix.io/controller"] == "kube-system.atomix-controller"
            && metadata["annotations"]["k8s.atomix.io/partition"] == "2"
    });
    let second = kubectl.get_json(&["partition", "w-2"]);
    assert_eq!(second["spec"]["image"], "atomix/atomix-log-node:latest", "it is still held back");

    // A partition that another controller runs holds up the endpoints of the others no more than that.
    kubectl.ok(&["annotate", "--overwrite", "partition", "w-1", "k8s.atomix.io/controller=ops.other"]);
    let counts = "1 of 2 partitions are ready; 0 of 2 are up to date; Partition \"w-1\" is left alone";
    await_told(&kubectl, "AnotherController", &[counts, "\"ops.other\"; waiting for w-1"]);
    kubectl.ok(&["delete", "service", "w-1"]);
    let slice = kubectl.get_json(&["endpointslice", "w-ipv4"]);
    let mut spoilt = json!({"endpoints": slice["endpoints"]});
    spoilt["endpoints"][1]["addresses"][0] = "10.96.77.77".into();
    kubectl.ok(&["patch", "endpointslice", "w-ipv4", "--type=merge", "-p", &spoilt.to_string()]);
    kubectl.wait_until(&["endpointslice", "w-ipv4"], SOON, |found| addresses(&found[0]) == addresses(&slice));
}

#[test]
fn a_partition_whose_new_template_is_refused_is_ready_and_not_up_to_date() {
    let (_namespace, kubectl) = sandbox("refused-template");
    create_ready(&kubectl, &bounded(1, 1), "w");
    let counted = |second: &str, words: &str| {
        let found = kubectl.wait_until(&["partitionset", "w"], SOON, |found| {
            condition(&found[0], "Ready").is_some_and(|ready| text(ready, "/message").contains(words))
        });
        let message = text(condition(&found[0], "Ready").expect("a condition"), "/message");
        let expected = format!("1 of 1 partitions are ready; 0 of 1 are up to date; w-1: {second}");
        assert!(message.starts_with(&expected), "{message}");
        assert_eq!(found[0]["status"]["readyPartitions"], 1);
    };
    let policy = Policy::refusing(&kubectl, &[("apps", "statefulsets")], &["UPDATE"], "Invalid", "no templates");
    patch_template(&kubectl, &json!({"image": "node:2"}));
    counted("StatefulSet \"w-1\" is refused", "no templates");
    let evictions = Policy::refusing(&kubectl, &[("", "pods/eviction")], &["CREATE"], "Forbidden", "no evictions");
    drop(policy);
    // What is tried again after a while is tried at once after an edit.
    patch_template(&kubectl, &json!({"image": "node:3"}));
    counted("outdated pod w-1-0 is not replaced: its eviction is refused", "no evictions");
    evictions.remove();
    patch_template(&kubectl, &json!({"image": "node:4"}));
    await_ready(&kubectl, "w");
}

#[test]
fn what_replaces_no_pod_reaches_all_partitions_at_once() {
    let (_namespace, kubectl) = sandbox("harmless");
    create_ready(&kubectl, &bounded(3, 1), "w");
    stage(&kubectl, "w-1-0", "never-ready");
    kubectl.wait_until(&["partition", "w-1"], SOON, |found| !is_ready(&found[0]));
    let patch = json!({"spec": {
        "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Delete", "whenScaled": "Retain"},
        "template": {"metadata": {"annotations": {"note": "n"}}},
    }});
    kubectl.ok(&["patch", "partitionset", "w", "--type=merge", "-p", &patch.to_string()]);
    kubectl.wait_until(&["partitions"], SOON, |found| {
        found.iter().all(|partition| {
            text(partition, "/metadata/annotations/note") == "n"
                && text(partition, "/spec/persistentVolumeClaimRetentionPolicy/whenDeleted") == "Delete"
        })
    });
    assert!(!is_ready(&kubectl.get_json(&["partition", "w-1"])), "it is still down");
}

#[test]
fn what_cannot_change_is_not_acted_on_and_the_rest_of_the_set_is_looked_after() {
    let control_plane = ControlPlane::start().expect("a control plane");
    let installation = Installation::new(&control_plane).expect("an installation");
    let mut controller = installation.start().expect("a controller");
    controller.wait_ready().expect("a ready controller");
    let namespace = Namespace::new(control_plane.kubectl(), "immutable");
    let kubectl = namespace.kubectl();
    create_ready(&kubectl, &set("w", 2, "raft", 1), "w");
    without_rules(&kubectl);

    let size = |size: u32| json!({"spec": {"partitionSize": size, "template": {"spec": {"size": size}}}});
    let patch = |patch: Value| kubectl.ok(&["patch", "partitionset", "w", "--type=merge", "-p", &patch.to_string()]);
    patch(size(3));
    let message = "spec.template.spec.size cannot change from 1 to 3: the partitions stay as they are";
    let set = await_told(&kubectl, "ImmutableFieldChanged", &[message]);
    assert!(condition(&set, "Stalled").is_some_and(|stalled| stalled["reason"] == "ImmutableFieldChanged"));
    kubectl.wait_until(&["events.events.k8s.io", "--field-selector", "regarding.name=w"], SOON, |events| {
        events.iter().any(|event| event["type"] == "Warning" && event["reason"] == "ImmutableFieldChanged")
    });
    // The rest is looked after: the image arrives, and what is deleted comes back.
    patch_template(&kubectl, &json!({"image": "node:2", "protocol": "log"}));
    kubectl.ok(&["delete", "service", "w", "w-1"]);
    kubectl.ok(&["scale", "partitionset", "w", "--replicas=3"]);
    kubectl.wait_until(&["pods"], SOON, |pods| {
        pods.len() == 3 && pods.iter().all(|pod| text(pod, "/spec/containers/0/image") == "node:2")
    });
    await_told(&kubectl, "ImmutableFieldChanged", &[r#"protocol cannot change from "raft" to "log""#, message]);
    for service in ["w", "w-1"] {
        kubectl.wait_until(&["service", service], SOON, |found| found.len() == 1);
    }
    for partition in items(&kubectl, &["partitions"]) {
        assert_eq!((&partition["spec"]["size"], &partition["spec"]["protocol"]), (&json!(1), &json!("raft")));
    }
    patch_template(&kubectl, &json!({"protocol": "raft"}));
    patch(size(1));
    let set = await_ready(&kubectl, "w");
    assert!(condition(&set, "Stalled").is_none());
}

/// Takes the webhooks away, and the rules of the schema.
fn without_rules(kubectl: &Kubectl) {
    for kind in ["mutatingwebhookconfiguration", "validatingwebhookconfiguration"] {
        kubectl.ok(&["delete", kind, "atomix-controller"]);
    }
    for name in ["partitionsets.k8s.atomix.io", "partitions.k8s.atomix.io"] {
        let mut definition = kubectl.get_json(&["crd", name]);
        strip(&mut definition);
        kubectl.feed_ok(&["replace", "-f", "-"], &definition.to_string());
    }
    // A schema takes a moment to be served: a change that it forbade passes when it has gone.
    let patch = json!({"spec": {"template": {"spec": {"protocol": "log"}}}}).to_string();
    let dry = ["patch", "partitionset", "w", "--type=merge", "--dry-run=server", "-p", &patch];
    let deadline = Instant::now() + SOON;
    while !kubectl.run(&dry).status.success() {
        assert!(Instant::now() < deadline, "the rules are still there");
    }
}

fn strip(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.remove("x-kubernetes-validations");
            fields.values_mut().for_each(strip);
        }
        Value::Array(values) => values.iter_mut().for_each(strip),
        _ => {}
    }
}
