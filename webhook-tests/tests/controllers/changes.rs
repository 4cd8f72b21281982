//! A change of a set reaches its partitions and all that they consist of.

use std::time::Instant;

use serde_json::{Value, json};
use webhook_tests::{EventKind, Kubectl, Watch, removal_consent};

use crate::support::{SOON, addresses, await_ready, condition, create_ready, sandbox, set, text, version};

fn patch(kubectl: &Kubectl, patch: &Value) {
    kubectl.ok(&["patch", "partitionset", "w", "--type=merge", "-p", &patch.to_string()]);
}

/// Waits until all objects of a kind that belong to set `w` satisfy the predicate.
#[track_caller]
fn await_all(kubectl: &Kubectl, kind: &str, count: usize, predicate: impl Fn(&Value) -> bool) {
    kubectl.wait_until(&[kind, "-l", "app.kubernetes.io/instance=w"], SOON, |found| {
        found.len() == count && found.iter().all(&predicate)
    });
}

#[test]
fn image_environment_and_options_reach_the_pods_of_all_partitions() {
    let (_namespace, kubectl) = sandbox("template");
    create_ready(&kubectl, &set("w", 2, "raft", 1), "w");
    let hash = |sets: &Value| text(sets, "/spec/template/metadata/annotations/k8s.atomix.io~1config-hash").to_owned();
    let before = hash(&kubectl.get_json(&["statefulset", "w-1"]));
    assert!(!before.is_empty());

    patch(
        &kubectl,
        &json!({"spec": {"template": {"spec": {
            "image": "node:2", "env": [{"name": "A", "value": "b"}], "config": "electionTimeout: 7s",
        }}}}),
    );
    await_all(&kubectl, "statefulsets", 2, |found| {
        let container = &found["spec"]["template"]["spec"]["containers"][0];
        // The pull policy is the one that Kubernetes has for such a tag, not that of `latest`.
        container["image"] == "node:2"
            && container["imagePullPolicy"] == "IfNotPresent"
            && container["env"][1]["value"] == "b"
    });
    await_all(&kubectl, "configmaps", 2, |found| text(found, "/data/protocol.json") == r#"{"electionTimeout":"7s"}"#);
    await_all(&kubectl, "partitions", 2, |found| found["status"]["image"] == "node:2");
    await_ready(&kubectl, "w");
    // A pod reads the options when it starts: with others, it is of another revision.
    assert_ne!(hash(&kubectl.get_json(&["statefulset", "w-1"])), before);
}

#[test]
fn template_labels_and_annotations_reach_every_partition_and_are_removed_again() {
    // The original dropped the annotations, and its partitions shared one map of labels.
    let (_namespace, kubectl) = sandbox("labels");
    create_ready(&kubectl, &set("w", 3, "log", 2), "w");
    let metadata = |tier: Value, note: Value| {
        patch(
            &kubectl,
            &json!({"spec": {"template": {"metadata": {"labels": {"tier": tier}, "annotations": {"note": note}}}}}),
        );
    };
    let everywhere = |tier: &'static str, note: &'static str| {
        await_all(&kubectl, "partitions", 3, |found| {
            let index = text(found, "/metadata/name").rsplit('-').next().expect("an index").to_owned();
            text(found, "/metadata/labels/tier") == tier
                && text(found, "/metadata/annotations/note") == note
                && text(found, "/metadata/labels/partition") == index
                && text(found, "/metadata/annotations/k8s.atomix.io~1partition") == index
        });
        for (kind, count) in [("statefulsets", 3), ("configmaps", 3), ("poddisruptionbudgets", 3)] {
            await_all(&kubectl, kind, count, |found| text(found, "/metadata/labels/tier") == tier);
        }
        await_all(&kubectl, "services", 7, |found| {
            let of_the_set = text(found, "/metadata/name") == "w";
            of_the_set || text(found, "/metadata/labels/tier") == tier
        });
        await_all(&kubectl, "statefulsets", 3, |found| {
            text(found, "/spec/template/metadata/labels/tier") == tier
                && found["spec"]["selector"]["matchLabels"].as_object().expect("labels").len() == 4
        });
    };
    metadata("gold".into(), "n".into());
    everywhere("gold", "n");
    metadata("tin".into(), "m".into());
    everywhere("tin", "m");
    metadata(Value::Null, Value::Null);
    everywhere("", "");
    await_ready(&kubectl, "w");
}

/// Numbers of addresses that were visible, each time that they changed, until there are `last`.
fn seen_until(slices: &mut Watch, last: usize) -> Vec<usize> {
    let deadline = Instant::now() + SOON;
    let mut seen: Vec<usize> = Vec::new();
    while seen.last() != Some(&last) {
        let event = slices.next(deadline).unwrap_or_else(|| panic!("not {last} addresses in time: {seen:?}"));
        assert_ne!(event.kind, EventKind::Deleted);
        if event.kind != EventKind::Synced && seen.last() != Some(&addresses(&event.object).len()) {
            seen.push(addresses(&event.object).len());
        }
    }
    seen
}

#[test]
fn a_partial_list_of_partitions_is_never_visible_neither_at_first_nor_while_growing() {
    // The original appended to the endpoints as its reconciles came by, and never removed anything.
    let (_namespace, kubectl) = sandbox("growing");
    let mut slices = kubectl.watch(&["endpointslice", "w-ipv4"]);
    assert_eq!(slices.next(Instant::now() + SOON).expect("a beginning").kind, EventKind::Synced);
    let mut legacy = kubectl.watch(&["endpoints", "w"]);
    assert_eq!(legacy.next(Instant::now() + SOON).expect("a beginning").kind, EventKind::Synced);

    create_ready(&kubectl, &set("w", 2, "raft", 1), "w");
    assert_eq!(seen_until(&mut slices, 2), [2]);
    kubectl.ok(&["scale", "partitionset", "w", "--replicas=4"]);
    await_ready(&kubectl, "w");
    assert_eq!(seen_until(&mut slices, 4), [4]);

    let mut seen = Vec::new();
    while seen.last() != Some(&4) {
        let event = legacy.next(Instant::now() + SOON).expect("four addresses");
        seen.push(event.object["subsets"][0]["addresses"].as_array().map_or(0, Vec::len));
    }
    seen.dedup();
    assert_eq!(seen, [2, 4]);
    // In the order of the partitions, by the addresses of their Services.
    let slice = kubectl.get_json(&["endpointslice", "w-ipv4"]);
    for (index, address) in addresses(&slice).iter().enumerate() {
        assert_eq!(text(&kubectl.get_json(&["service", &format!("w-{}", index + 1)]), "/spec/clusterIP"), *address);
    }
}

#[test]
fn shrinking_takes_partitions_out_of_the_endpoints_before_it_deletes_them() {
    let (_namespace, kubectl) = sandbox("shrinking");
    create_ready(&kubectl, &set("w", 3, "raft", 1), "w");
    let mut slices = kubectl.watch(&["endpointslice", "w-ipv4"]);
    assert_eq!(seen_until(&mut slices, 3), [3]);
    let mut partitions = kubectl.watch(&["partitions"]);
    let deadline = Instant::now() + SOON;
    while partitions.next(deadline).expect("a beginning").kind != EventKind::Synced {}

    let consent = removal_consent(&kubectl, "w", 1);
    patch(&kubectl, &json!({"metadata": {"annotations": consent}, "spec": {"partitions": 1}}));
    assert_eq!(seen_until(&mut slices, 1), [1]);
    let shrunk = version(&slices.state()[0]);

    let mut gone = Vec::new();
    while gone.len() < 2 {
        let event = partitions.next(deadline).expect("two partitions fewer");
        let going = !event.object["metadata"]["deletionTimestamp"].is_null();
        if going || event.kind == EventKind::Deleted {
            assert!(version(&event.object) > shrunk, "clients still saw it: {:#}", event.object);
        }
        if event.kind == EventKind::Deleted {
            gone.push(text(&event.object, "/metadata/name").to_owned());
        }
    }
    assert_eq!(gone, ["w-3", "w-2"]);
    for kind in ["statefulsets", "configmaps", "poddisruptionbudgets", "pods"] {
        kubectl.wait_until(&[kind, "-l", "partition in (2,3)"], SOON, <[Value]>::is_empty);
    }
    let set = await_ready(&kubectl, "w");
    assert_eq!((&set["status"]["partitions"], &set["status"]["readyPartitions"]), (&json!(1), &json!(1)));
    assert_eq!(condition(&set, "Ready").expect("a condition")["message"], "1 of 1 partitions are ready");
}

#[test]
fn a_backup_partition_that_changes_its_size_gains_and_loses_its_disruption_budget() {
    let (_namespace, kubectl) = sandbox("size");
    create_ready(&kubectl, &set("w", 1, "backup", 1), "w");
    let size = |size: u32| patch(&kubectl, &json!({"spec": {"template": {"spec": {"size": size}}}}));
    let budgets = |count: usize| await_all(&kubectl, "poddisruptionbudgets", count, |_| true);
    // One pod and a budget of it would block every drain of its node.
    budgets(0);
    for (pods, with_budget) in [(3, 1), (2, 1), (1, 0)] {
        size(pods);
        kubectl.wait_until(&["statefulset", "w-1"], SOON, |found| {
            found
                .first()
                .is_some_and(|found| found["status"]["readyReplicas"] == pods && found["spec"]["replicas"] == pods)
        });
        budgets(with_budget);
        let ready = await_ready(&kubectl, "w");
        assert_eq!(ready["spec"]["partitionSize"], pods, "the other name of the field follows");
        kubectl.wait_until(&["partition", "w-1"], SOON, |found| found[0]["status"]["readyReplicas"] == pods);
    }
}

#[test]
fn each_protocol_has_its_own_nodes() {
    // The original knew no `backup`, and ran `log` with the image of Raft.
    let (_namespace, kubectl) = sandbox("protocols");
    for protocol in ["raft", "backup", "log"] {
        create_ready(&kubectl, &set(protocol, 1, protocol, 3), protocol);
        let pods = kubectl.get_json(&["statefulset", &format!("{protocol}-1")]);
        let image = format!("atomix/atomix-{protocol}-node:latest");
        assert_eq!(pods["spec"]["template"]["spec"]["containers"][0]["image"], image.as_str());
        assert_eq!(pods["spec"]["minReadySeconds"], if protocol == "raft" { json!(10) } else { Value::Null });
        let partition = kubectl.get_json(&["partition", &format!("{protocol}-1")]);
        assert_eq!(partition["status"]["image"], image.as_str());
        // Without options the nodes read an empty object: an empty file would end them.
        let files = kubectl.get_json(&["configmap", &format!("{protocol}-1-config")]);
        assert_eq!(files["data"]["protocol.json"], "{}");
    }
}

#[test]
fn nothing_is_written_for_a_paused_set() {
    let (_namespace, kubectl) = sandbox("paused");
    create_ready(&kubectl, &set("w", 1, "raft", 1), "w");
    patch(&kubectl, &json!({"metadata": {"annotations": {"k8s.atomix.io/paused": "true"}}}));
    kubectl.wait_until(&["partitionset", "w"], SOON, |found| {
        condition(&found[0], "Ready").is_some_and(|ready| ready["reason"] == "Paused")
    });
    kubectl.ok(&["delete", "configmap", "w-1-config"]);
    patch(&kubectl, &json!({"spec": {"partitions": 2, "template": {"spec": {"image": "node:2"}}}}));
    // Another set, made later, is complete: the paused one had its turn.
    create_ready(&kubectl, &set("other", 1, "raft", 1), "other");
    kubectl.wait_until(&["partitions", "-l", "group=w"], SOON, |found| found.len() == 1);
    kubectl.wait_until(&["configmap", "w-1-config"], SOON, <[Value]>::is_empty);

    patch(&kubectl, &json!({"metadata": {"annotations": {"k8s.atomix.io/paused": null}}}));
    kubectl.wait_until(&["partitions", "-l", "group=w"], SOON, |found| {
        found.len() == 2 && found.iter().all(|partition| partition["status"]["image"] == "node:2")
    });
    kubectl.wait_until(&["configmap", "w-1-config"], SOON, |found| found.len() == 1);
    await_ready(&kubectl, "w");
}
