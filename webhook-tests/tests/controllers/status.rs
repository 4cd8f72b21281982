//! What people and tools see of a set.

use std::thread;

use serde_json::{Value, json};
use webhook_tests::Kubectl;

use crate::support::{SOON, await_ready, condition, create_ready, is_ready, items, sandbox, set, stage, text};

/// The events about an object, as (type, reason, note).
#[track_caller]
fn await_event(kubectl: &Kubectl, object: &str, kind: &str, reason: &str, note: &str) {
    let of_object = format!("regarding.name={object}");
    kubectl.wait_until(&["events.events.k8s.io", "--field-selector", &of_object], SOON, |events| {
        events
            .iter()
            .any(|event| event["type"] == kind && event["reason"] == reason && text(event, "/note").contains(note))
    });
}

/// The lines of `kubectl get`, without the column of ages.
fn table(kubectl: &Kubectl, arguments: &[&str]) -> Vec<String> {
    let printed = kubectl.ok(&[&["get"], arguments].concat());
    let mut lines: Vec<Vec<&str>> = printed.lines().map(|line| line.split_whitespace().collect()).collect();
    for line in &mut lines {
        line.pop();
    }
    lines.iter().map(|line| line.join(" ")).collect()
}

#[test]
fn a_ready_set_says_so_in_its_status_and_its_partitions_in_theirs() {
    let (_namespace, kubectl) = sandbox("status");
    kubectl.create_stdin(&set("w", 2, "raft", 3));
    kubectl.ok(&["wait", "--for=condition=Ready", "--timeout=60s", "partitionset/w"]);
    kubectl.ok(&["wait", "--for=jsonpath={.status.readyPartitions}=2", "--timeout=60s", "partitionset/w"]);
    kubectl.ok(&["wait", "--for=condition=Ready", "--timeout=60s", "partition", "--all"]);

    let set = kubectl.get_json(&["partitionset", "w"]);
    let status = &set["status"];
    assert_eq!(status["observedGeneration"], set["metadata"]["generation"]);
    assert_eq!((&status["partitions"], &status["readyPartitions"]), (&json!(2), &json!(2)));
    let conditions = status["conditions"].as_array().expect("conditions");
    assert_eq!(conditions.len(), 1, "Reconciling and Stalled are there only while they are true: {conditions:#?}");
    let ready = condition(&set, "Ready").expect("a condition");
    assert_eq!(
        (text(ready, "/reason"), text(ready, "/message")),
        ("AllPartitionsReady", "2 of 2 partitions are ready")
    );

    let partition = kubectl.get_json(&["partition", "w-2"]);
    let status = &partition["status"];
    assert_eq!(status["observedGeneration"], partition["metadata"]["generation"]);
    assert_eq!((&status["replicas"], &status["readyReplicas"]), (&json!(3), &json!(3)));
    assert_eq!(text(status, "/image"), "atomix/atomix-raft-node:latest");
    let ready = condition(&partition, "Ready").expect("a condition");
    assert_eq!((text(ready, "/reason"), text(ready, "/message")), ("PodsReady", "3 of 3 pods are ready"));
    // The selector is one that kubectl takes.
    let selected = items(&kubectl, &["pods", "-l", text(status, "/selector")]);
    assert_eq!(selected.len(), 3);
    assert!(selected.iter().all(|pod| text(pod, "/metadata/name").starts_with("w-2-")));

    await_event(&kubectl, "w", "Normal", "PartitionsCreated", "2 partitions created: w-1, w-2");
    await_event(&kubectl, "w", "Normal", "Ready", "2 of 2 partitions are ready");
}

#[test]
fn kubectl_get_shows_the_columns_that_people_look_for() {
    let (_namespace, kubectl) = sandbox("columns");
    create_ready(&kubectl, &set("w", 2, "raft", 3), "w");
    for name in ["partitionsets", "partitionset", "pset"] {
        assert_eq!(table(&kubectl, &[name]), ["NAME PARTITIONS READY PROTOCOL SIZE", "w 2 2 raft 3"]);
    }
    for name in ["partitions", "partition", "atomixpart"] {
        assert_eq!(table(&kubectl, &[name]), ["NAME SIZE READY PROTOCOL GROUP", "w-1 3 3 raft w", "w-2 3 3 raft w"]);
    }
    assert_eq!(table(&kubectl, &["pset", "-o", "wide"])[1], "w 2 2 raft 3 AllPartitionsReady");
    let category = kubectl.ok(&["get", "atomix", "-o", "name"]);
    assert_eq!(
        category.lines().collect::<Vec<_>>(),
        ["partition.k8s.atomix.io/w-1", "partition.k8s.atomix.io/w-2", "partitionset.k8s.atomix.io/w"]
    );
}

#[test]
fn a_pod_that_ceases_to_be_ready_shows_in_the_set() {
    let (_namespace, kubectl) = sandbox("unready");
    create_ready(&kubectl, &set("w", 2, "raft", 3), "w");
    stage(&kubectl, "w-2-1", "never-ready");
    let found = kubectl.wait_until(&["partitionset", "w"], SOON, |found| !is_ready(&found[0]));
    assert_eq!(found[0]["status"]["readyPartitions"], 1);
    let message = "1 of 2 partitions are ready; waiting for w-2";
    for (kind, reason) in [("Ready", "PartitionsNotReady"), ("Reconciling", "WaitingForPartitions")] {
        let condition = condition(&found[0], kind).expect("a condition");
        assert_eq!((text(condition, "/reason"), text(condition, "/message")), (reason, message));
    }
    await_event(&kubectl, "w", "Warning", "NotReady", message);
    let partition = kubectl.get_json(&["partition", "w-2"]);
    assert_eq!(condition(&partition, "Ready").expect("a condition")["message"], "2 of 3 pods are ready");
    // Clients keep seeing all partitions: their number decides where a key is.
    assert_eq!(crate::support::addresses(&kubectl.get_json(&["endpointslice", "w-ipv4"])).len(), 2);
    stage(&kubectl, "w-2-1", "ready");
    await_ready(&kubectl, "w");
}

#[test]
fn what_is_said_of_a_set_that_other_controllers_run_stays_true_until_one_of_them_says_it() {
    let (_namespace, kubectl) = sandbox("handed-over");
    create_ready(&kubectl, &set("w", 2, "log", 1), "w");
    let await_told = |ready: u64| {
        let named = r#"Partitions "w-1", "w-2" are left alone: their annotation k8s.atomix.io/controller names another controller, "ops.other", "ops.third""#;
        kubectl.wait_until(&["partitionset", "w"], SOON, |found| {
            let stalled =
                condition(&found[0], "Stalled").map(|stalled| (text(stalled, "/reason"), text(stalled, "/message")));
            found[0]["status"]["readyPartitions"] == ready
                && stalled.is_some_and(|(reason, message)| {
                    reason == "AnotherController"
                        && message.starts_with(&format!("{ready} of 2 partitions are ready; {named}"))
                })
        });
    };
    for (partition, controller) in [("w-1", "ops.other"), ("w-2", "ops.third")] {
        let annotation = format!("k8s.atomix.io/controller={controller}");
        kubectl.ok(&["annotate", "--overwrite", "partition", partition, &annotation]);
    }
    await_told(2);
    stage(&kubectl, "w-2-0", "never-ready");
    await_told(1);

    // Another controller has written the status: it is that one's from here on.
    let ready = json!({"type": "Ready", "status": "True", "reason": "Theirs", "message": "m",
        "lastTransitionTime": "2020-01-01T00:00:00Z"});
    let theirs = json!({"status": {"readyPartitions": 7, "conditions": [ready]}}).to_string();
    kubectl.ok(&["patch", "partitionset", "w", "--subresource=status", "--type=merge", "-p", &theirs]);
    stage(&kubectl, "w-2-0", "ready");
    kubectl.wait_until(&["pod", "w-2-0"], SOON, |found| {
        condition(&found[0], "Ready").is_some_and(|ready| ready["status"] == "True")
    });
    // What is done for another set comes after anything that would have been done for this one.
    create_ready(&kubectl, &set("other", 1, "log", 1), "other");
    assert_eq!(kubectl.get_json(&["partitionset", "w"])["status"]["readyPartitions"], 7);
}

#[test]
fn a_set_that_says_no_size_is_ready_with_one_pod_and_not_without_any() {
    // The original ran no pods then, and called that ready.
    let (_namespace, kubectl) = sandbox("sizeless");
    kubectl.create_stdin(
        "{apiVersion: k8s.atomix.io/v1alpha1, kind: PartitionSet, metadata: {name: w}, spec: {template: {spec: {protocol: raft}}}}",
    );
    await_ready(&kubectl, "w");
    let pods = items(&kubectl, &["pods"]);
    assert_eq!(pods.len(), 1);
    assert_eq!(pods[0]["status"]["phase"], "Running");
}

#[test]
fn objects_of_others_are_never_touched_and_named_in_the_way() {
    thread::scope(|scope| {
        for (name, kind) in [("w-1", "service"), ("w", "service"), ("w-2", "statefulset"), ("w-1-config", "configmap")]
        {
            scope.spawn(move || collide(kind, name));
        }
    });
}

#[test]
fn everything_that_is_in_the_way_is_named_at_once() {
    let of_partitions =
        [("configmap", "w-1-config"), ("statefulset", "w-1"), ("service", "w-2"), ("service", "w-2-hs")];
    thread::scope(|scope| {
        // Under a Service that is not the controller's, its endpoints are none of the controller's business.
        scope.spawn(|| collide_with_all(&[&[("service", "w")], &of_partitions[..]].concat(), &[]));
        // Nor do they wait for the Services of partitions to be free.
        let of_group = [("endpoints", "w"), ("endpointslice", "w-ipv4")];
        scope.spawn(move || collide_with_all(&[&of_group, &of_partitions[..]].concat(), &["of-a-hand", "of-a-mesh"]));
    });
}

/// Objects of another owner have names that the set `w` needs, and EndpointSlices of theirs belong to its Service.
fn collide_with_all(foreign_objects: &[(&str, &str)], slices: &[&str]) {
    let (_namespace, kubectl) = sandbox("in-the-way");
    for (kind, name) in foreign_objects {
        kubectl.create_stdin(&foreign(kind, name).to_string());
    }
    for name in slices {
        let mut slice = foreign("endpointslice", name);
        slice["metadata"]["labels"]["kubernetes.io/service-name"] = "w".into();
        kubectl.create_stdin(&slice.to_string());
    }
    let mut words: Vec<String> =
        foreign_objects.iter().map(|(_, name)| format!("{name:?} exists and has no owner")).collect();
    if let [first, second] = slices {
        words.push(format!("EndpointSlices {first:?}, {second:?} belong to Service \"w\""));
    }
    kubectl.create_stdin(&set("w", 2, "log", 1));
    kubectl.wait_until(&["partitionset", "w"], SOON, |found| {
        let stalled = condition(&found[0], "Stalled").map(|stalled| text(stalled, "/message")).unwrap_or_default();
        words.iter().all(|word| stalled.contains(word))
    });
    for (kind, name) in
        foreign_objects.iter().chain(slices.iter().map(|name| ("endpointslice", *name)).collect::<Vec<_>>().iter())
    {
        kubectl.ok(&["delete", kind, name]);
    }
    await_ready(&kubectl, "w");
}

/// An object of another owner has a name that the set `w` needs.
fn collide(kind: &str, name: &str) {
    let (_namespace, kubectl) = sandbox(&format!("foreign-{kind}"));
    kubectl.create_stdin(&foreign(kind, name).to_string());
    let content =
        |object: &Value| (object["spec"].clone(), object["data"].clone(), object["metadata"]["labels"].clone());
    let before = kubectl.get_json(&[kind, name]);

    kubectl.create_stdin(&set("w", 2, "raft", 3));
    let stalled = kubectl.wait_until(&["partitionset", "w"], SOON, |found| condition(&found[0], "Stalled").is_some());
    let stalled = condition(&stalled[0], "Stalled").expect("a condition");
    let message = format!("{name:?} exists and has no owner: it is left alone; delete or rename it");
    assert!(text(stalled, "/message").contains(&message), "{stalled:#}");
    if name == "w" {
        assert_eq!(stalled["reason"], "NameCollision");
        await_event(&kubectl, "w", "Warning", "NameCollision", &message);
    } else {
        let partition = &name[..3];
        kubectl.wait_until(&["partition", partition], SOON, |found| {
            condition(&found[0], "Stalled").is_some_and(|stalled| stalled["reason"] == "NameCollision")
        });
        await_event(&kubectl, partition, "Warning", "NameCollision", &message);
        assert_eq!(stalled["reason"], "PartitionStalled");
        await_event(&kubectl, "w", "Warning", "PartitionStalled", &message);
    }
    assert_eq!(content(&kubectl.get_json(&[kind, name])), content(&before), "it was changed");

    // It goes on by itself when the other object goes.
    kubectl.ok(&["delete", kind, name]);
    let set = await_ready(&kubectl, "w");
    assert!(condition(&set, "Stalled").is_none());
}

fn foreign(kind: &str, name: &str) -> Value {
    let metadata = json!({"name": name, "labels": {"of": "somebody"}});
    match kind {
        "service" => {
            json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {"ports": [{"port": 80}]}})
        }
        "configmap" => json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"a": "b"}}),
        "endpoints" => json!({"apiVersion": "v1", "kind": "Endpoints", "metadata": metadata}),
        "endpointslice" => json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": metadata,
            "addressType": "IPv4", "endpoints": []}),
        "statefulset" => json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": metadata, "spec": {
            "replicas": 0, "serviceName": "x", "selector": {"matchLabels": {"a": "b"}}, "template": {
                "metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]},
            },
        }}),
        other => panic!("what is a {other} like?"),
    }
}

#[test]
fn what_the_api_server_refuses_in_a_pod_is_told_with_its_words_and_put_right_with_the_template() {
    let (_namespace, kubectl) = sandbox("refused");
    let mut wanted: Value = json!({"apiVersion": "k8s.atomix.io/v1alpha1", "kind": "PartitionSet"});
    wanted["metadata"] = json!({"name": "w"});
    wanted["spec"] = json!({"template": {"spec": {"protocol": "log", "podSecurityContext":
        {"seLinuxChangePolicy": "MountOption"}}}});
    kubectl.create_stdin(&wanted.to_string());
    let found = kubectl.wait_until(&["partition", "w-1"], SOON, |found| {
        found.first().and_then(|found| condition(found, "Stalled")).is_some()
    });
    let stalled = condition(&found[0], "Stalled").expect("a condition");
    assert_eq!(text(stalled, "/reason"), "InvalidPodTemplate");
    assert!(text(stalled, "/message").contains("MountOption"), "{stalled}");
    let found = kubectl.wait_until(&["partitionset", "w"], SOON, |found| condition(&found[0], "Stalled").is_some());
    let stalled = condition(&found[0], "Stalled").expect("a condition");
    assert_eq!(text(stalled, "/reason"), "PartitionStalled");
    assert!(
        text(stalled, "/message").contains("w-1: ") && text(stalled, "/message").contains("MountOption"),
        "{stalled}"
    );
    await_event(&kubectl, "w-1", "Warning", "InvalidPodTemplate", "MountOption");

    let fix = json!({"spec": {"template": {"spec": {"podSecurityContext": null}}}}).to_string();
    kubectl.ok(&["patch", "partitionset", "w", "--type=merge", "-p", &fix]);
    await_ready(&kubectl, "w");
}
