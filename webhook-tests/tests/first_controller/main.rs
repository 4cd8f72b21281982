//! Coming from the project's first controller, by the steps of the documents: what runs goes on running.

mod objects;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use webhook_tests::{
    ControlPlane, Controller, Installation, Kubectl, Namespace, commands_of, condition, is_ready, items, text,
};

use crate::objects::IMAGE;

/// Longer than anything here takes on a busy machine.
const SOON: Duration = Duration::from_secs(180);

/// The uids of all pods, by name.
fn pods(kubectl: &Kubectl) -> BTreeMap<String, String> {
    let pods = items(kubectl, &["pods"]);
    pods.iter().map(|pod| (text(pod, "/metadata/name").to_owned(), text(pod, "/metadata/uid").to_owned())).collect()
}

#[track_caller]
fn run(kubectl: &Kubectl, commands: &str) -> String {
    let output = kubectl.shell(commands);
    assert!(output.status.success(), "{commands}\n{}\n{}", output.stdout, output.stderr);
    output.stdout
}

#[track_caller]
fn await_ready(kubectl: &Kubectl) {
    kubectl.wait_until(&["partitionsets"], SOON, |sets| sets.len() == 2 && sets.iter().all(is_ready));
    kubectl.wait_until(&["partitions"], SOON, |found| found.iter().all(is_ready));
}

/// Checks what the documents promise of sets that were taken over.
#[track_caller]
fn assert_taken_over(kubectl: &Kubectl, before: &BTreeMap<String, String>) {
    assert_eq!(pods(kubectl), *before);
    for partition in items(kubectl, &["partitions"]) {
        let status = &partition["status"];
        assert_eq!((&status["replicas"], &status["readyReplicas"]), (&json!(3), &json!(3)), "{partition:#}");
        assert_eq!(status["image"], IMAGE);
    }
    for set in items(kubectl, &["statefulsets"]) {
        assert_eq!(text(&set, "/spec/template/spec/containers/0/image"), IMAGE);
        assert_eq!(set["spec"]["updateStrategy"]["type"], "OnDelete");
    }
    for budget in items(kubectl, &["poddisruptionbudgets"]) {
        assert!(budget["spec"]["selector"]["matchLabels"]["partition"].is_string(), "{budget:#}");
    }
    for (group, partitions) in [("raft", 2), ("events", 1)] {
        let service = kubectl.get_json(&["service", group]);
        assert_eq!(service["spec"]["clusterIP"], "None");
        let slices = items(kubectl, &["endpointslices", "-l", &format!("kubernetes.io/service-name={group}")]);
        let endpoints: Vec<_> =
            slices.iter().flat_map(|slice| slice["endpoints"].as_array().into_iter().flatten()).collect();
        assert_eq!((slices.len(), endpoints.len()), (1, partitions), "{slices:#?}");
        let addresses = kubectl.get_json(&["endpoints", group])["subsets"][0]["addresses"].clone();
        assert_eq!(addresses.as_array().map(Vec::len), Some(partitions));
    }
}

/// Installs the first controller with two sets whose pods run. Returns the pods.
fn first_controller(kubectl: &Kubectl) -> BTreeMap<String, String> {
    for object in objects::installation() {
        kubectl.in_namespace("kube-system").create_stdin(&object.to_string());
    }
    for definition in ["partitionsets", "partitions"] {
        let name = format!("customresourcedefinition/{definition}.k8s.atomix.io");
        kubectl.ok(&["wait", "--for=condition=Established", "--timeout=60s", &name]);
    }
    objects::create(kubectl, &objects::set_of_kubectl("raft"));
    objects::create(kubectl, &objects::set_of_a_client("events"));
    kubectl.wait_until(&["statefulsets"], SOON, |found| {
        found.len() == 3 && found.iter().all(|set| set["status"]["readyReplicas"] == 3)
    });
    pods(kubectl)
}

fn start(installation: &Installation) -> Controller {
    let mut controller = installation.start().expect("a controller");
    controller.wait_ready().expect("a ready controller");
    controller
}

#[test]
fn the_documented_path_takes_all_sets_over_and_replaces_no_pod_until_the_user_wants_another() {
    let control_plane = ControlPlane::start().expect("a control plane");
    let namespace = Namespace::new(control_plane.kubectl(), "first");
    let kubectl = namespace.kubectl();
    let before = first_controller(&kubectl);
    assert_eq!(before.len(), 9);

    let steps = commands_of("docs/install.md", "Coming from the original controller");
    let [install, wait] = &steps[..] else { panic!("{steps:#?}") };
    let installed = run(control_plane.kubectl(), install);
    assert!(installed.contains("deployment.apps/atomix-controller serverside-applied"), "{installed}");
    let service = kubectl.get_json(&["service", "atomix-controller", "-n", "kube-system"]);
    assert_eq!(service["spec"]["selector"], json!({"name": "atomix-controller"}));
    let installation = Installation::of_installed(&control_plane).expect("an installation");
    let mut controller = start(&installation);
    run(control_plane.kubectl(), wait);
    await_ready(&kubectl);
    assert_taken_over(&kubectl, &before);
    // Nothing was replaced on the way either, and nothing is by a controller that starts again.
    controller.stop().expect("a stopped controller");
    let generations = || -> Vec<Value> {
        items(&kubectl, &["statefulsets"]).iter().map(|set| set["metadata"]["generation"].clone()).collect()
    };
    let former = generations();
    let controller = start(&installation);
    kubectl.ok(&["annotate", "partitionset", "events", "seen=yes"]);
    await_ready(&kubectl);
    assert_eq!(generations(), former);
    assert_taken_over(&kubectl, &before);

    edited_image_rolls_one_pod_after_the_other(&kubectl, &before);
    drop(controller);
}

fn edited_image_rolls_one_pod_after_the_other(kubectl: &Kubectl, before: &BTreeMap<String, String>) {
    let mut watch = kubectl.watch(&["pods", "-l", "group=events"]);
    let deadline = Instant::now() + SOON;
    let edit = json!({"spec": {"template": {"spec": {"image": "example.org/node:2"}}}});
    kubectl.ok(&["patch", "partitionset", "events", "--type=merge", "-p", &edit.to_string()]);
    loop {
        watch.next(deadline).expect("pods with the new image");
        if !watch.is_synced() {
            continue;
        }
        let pods = watch.state();
        let ready: Vec<_> =
            pods.iter().filter(|pod| condition(pod, "Ready").is_some_and(|ready| ready["status"] == "True")).collect();
        assert!(ready.len() >= 2, "{pods:#?}");
        if ready.len() == 3 && ready.iter().all(|pod| text(pod, "/spec/containers/0/image") == "example.org/node:2") {
            break;
        }
    }
    await_ready(kubectl);
    let partition = kubectl.get_json(&["partition", "events-1"]);
    assert_eq!(partition["status"]["image"], "example.org/node:2");
    // The other set is as it was.
    let now = pods(kubectl);
    let of_the_other = before.iter().filter(|(name, _)| name.starts_with("raft-"));
    assert!(of_the_other.into_iter().all(|(name, uid)| now.get(name) == Some(uid)), "{now:#?}");
}
