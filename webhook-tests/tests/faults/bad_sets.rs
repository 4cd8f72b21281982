//! Sets that cannot be completed never delay the others.

use serde_json::json;
use webhook_tests::{ControlPlane, Installation, Namespace, removal_consent};

use crate::support::{SOON, await_ready, condition, set};

const BAD: u32 = 30;

#[test]
fn many_sets_that_cannot_be_completed_do_not_delay_a_good_one() {
    let control_plane = ControlPlane::start().expect("a control plane");
    let installation = Installation::new(&control_plane).expect("an installation");
    let namespace = Namespace::new(control_plane.kubectl(), "bad");
    let kubectl = namespace.kubectl();
    // What only the webhooks could have refused is stored: they are not there yet.
    for kind in ["mutatingwebhookconfiguration", "validatingwebhookconfiguration"] {
        installation.kubectl().ok(&["delete", kind, "atomix-controller"]);
    }
    let mut broken = set("broken", 2, 1);
    broken["spec"]["template"]["spec"]["config"] = "memberGroupStrategy: ANYWHERE".into();
    kubectl.create_stdin(&broken.to_string());
    // Each finds an object of another owner in its place.
    let mut wanted = Vec::new();
    for index in 0..BAD {
        let name = format!("taken-{index}-x");
        wanted.push(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": format!("{name}-1-config")}}));
        wanted.push(set(&name, 1, 1));
    }
    kubectl.create_stdin(&json!({"apiVersion": "v1", "kind": "List", "items": wanted}).to_string());
    installation.restore_webhooks().expect("webhooks");
    let mut controller = installation.start().expect("a controller");
    controller.wait_ready().expect("a ready controller");

    let stalled = |set: &serde_json::Value, reason: &str| {
        condition(set, "Stalled").is_some_and(|stalled| stalled["status"] == "True" && stalled["reason"] == reason)
    };
    kubectl.wait_until(&["partitionset", "broken"], SOON, |found| stalled(&found[0], "InvalidSpec"));
    let all = kubectl.wait_until(&["partitionsets"], SOON, |found| {
        found.iter().filter(|set| stalled(set, "PartitionStalled")).count() == BAD as usize
    });
    let message = condition(&all[1], "Stalled").expect("a condition")["message"].as_str().expect("a message");
    assert!(message.contains("-config") && message.contains("has no owner"), "{message}");

    let begun = std::time::Instant::now();
    kubectl.create_stdin(&set("good", 3, 1).to_string());
    await_ready(&kubectl, "good");
    println!("a good set among {} bad ones is ready after {:?}", BAD + 1, begun.elapsed());

    // The foreign object is deleted, and the set completes by itself.
    kubectl.ok(&["delete", "configmap", "taken-0-x-1-config"]);
    await_ready(&kubectl, "taken-0-x");
}

#[test]
fn a_set_that_shrank_while_the_webhooks_were_away_loses_nothing() {
    let control_plane = ControlPlane::start().expect("a control plane");
    let installation = Installation::new(&control_plane).expect("an installation");
    let mut controller = installation.start().expect("a controller");
    controller.wait_ready().expect("a ready controller");
    let namespace = Namespace::new(control_plane.kubectl(), "shrunk");
    let kubectl = namespace.kubectl();
    kubectl.create_stdin(&set("w", 3, 1).to_string());
    await_ready(&kubectl, "w");
    let uids = || -> Vec<_> {
        let found = kubectl.get_json(&["partitions,statefulsets,pods,services,configmaps"]);
        let items = found["items"].as_array().expect("a list").clone();
        items.iter().map(|item| item["metadata"]["uid"].clone()).collect()
    };
    let before = uids();
    for kind in ["mutatingwebhookconfiguration", "validatingwebhookconfiguration"] {
        installation.kubectl().ok(&["delete", kind, "atomix-controller"]);
    }
    // The API server goes on asking for a moment.
    let shrink = ["patch", "partitionset", "w", "--type=merge", "-p", r#"{"spec":{"partitions":1}}"#];
    let deadline = std::time::Instant::now() + SOON;
    while let Err(error) = kubectl.attempt(&shrink) {
        assert!(std::time::Instant::now() < deadline, "{error:#}");
    }
    let found = kubectl.wait_until(&["partitionset", "w"], SOON, |found| condition(&found[0], "Stalled").is_some());
    let stalled = condition(&found[0], "Stalled").expect("a condition");
    assert_eq!(stalled["reason"], "PartitionRemovalNotAllowed", "{stalled:#}");
    let consent = removal_consent(&kubectl, "w", 1);
    let value = consent["k8s.atomix.io/allow-partition-removal"].as_str().expect("a consent");
    let wanted = format!("k8s.atomix.io/allow-partition-removal: \"{value}\"");
    assert!(stalled["message"].as_str().is_some_and(|message| message.ends_with(&wanted)), "{stalled:#}");
    // What it does at once, it has done when another set is ready.
    kubectl.create_stdin(&set("barrier", 1, 1).to_string());
    await_ready(&kubectl, "barrier");
    let after = uids();
    assert!(before.iter().all(|uid| after.contains(uid)), "{before:?} {after:?}");

    // A consent of the old form is none.
    kubectl.ok(&["annotate", "partitionset", "w", "k8s.atomix.io/allow-partition-removal=1"]);
    kubectl.create_stdin(&set("second-barrier", 1, 1).to_string());
    await_ready(&kubectl, "second-barrier");
    let after = uids();
    assert!(before.iter().all(|uid| after.contains(uid)), "{before:?} {after:?}");

    // The user's consent, as printed, and it is done.
    let agree = format!("k8s.atomix.io/allow-partition-removal={value}");
    kubectl.ok(&["annotate", "--overwrite", "partitionset", "w", &agree]);
    let ready = await_ready(&kubectl, "w");
    assert!(condition(&ready, "Stalled").is_none());
    kubectl.wait_until(&["partitions", "-l", "group=w"], SOON, |found| found.len() == 1);
}
