//! A release is installed, upgraded, rolled back and uninstalled, while its controller runs as the Deployment says.

use std::collections::BTreeSet;

use serde_json::Value;
use webhook_tests::{ControlPlane, Controller, Installation, Kubectl, Namespace, is_ready, text};

use crate::support::{Helm, SOON, helms};

const NAME: &str = "atomix-controller";
const HOME: &str = "atomix-system";
const CHART: &str = "deploy/chart";

/// Kind, namespace and name of everything in the cluster that stays by itself.
fn everything(kubectl: &Kubectl) -> BTreeSet<String> {
    let kinds = kubectl.ok(&["api-resources", "--verbs=list", "-o", "name"]);
    let kinds: Vec<&str> =
        kinds.lines().filter(|kind| !kind.starts_with("events") && *kind != "componentstatuses").collect();
    let columns = "custom-columns=K:.kind,NS:.metadata.namespace,N:.metadata.name";
    let printed = kubectl.ok(&["get", &kinds.join(","), "-A", "--no-headers", "-o", columns]);
    printed.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

/// The controller that the Deployment in the cluster says, once it is ready.
fn start(cluster: &ControlPlane) -> (Installation, Controller) {
    let installation = Installation::of_installed_in(cluster, NAME, HOME).expect("an installation");
    let mut controller = installation.start().expect("a controller");
    controller.wait_ready().expect("a ready controller");
    (installation, controller)
}

fn stop(mut controller: Controller) {
    assert!(controller.stop().expect("an end").success(), "{}", controller.log());
}

fn pod(inside: &Kubectl) -> Value {
    inside.get_json(&["pod", "w-1-0"])["metadata"]["uid"].clone()
}

fn live(helm: &Helm) {
    let cluster = ControlPlane::start().expect("a control plane");
    let kubectl = cluster.kubectl();
    kubectl.ok(&["create", "namespace", HOME]);
    let namespace = Namespace::new(kubectl, "chart");
    let home = kubectl.in_namespace(HOME);
    let inside = namespace.kubectl();
    // What a namespace gets by itself.
    inside.wait_until(&["serviceaccount", "default"], SOON, |found| !found.is_empty());
    home.wait_until(&["serviceaccount", "default"], SOON, |found| !found.is_empty());
    home.wait_until(&["configmap", "kube-root-ca.crt"], SOON, |found| !found.is_empty());
    inside.wait_until(&["configmap", "kube-root-ca.crt"], SOON, |found| !found.is_empty());
    let before = everything(kubectl);

    helm.ok(&home, &["install", "atomix", CHART]);
    let (first, controller) = start(&cluster);
    inside.create_stdin(
        "apiVersion: k8s.atomix.io/v1alpha1\n\
         kind: PartitionSet\n\
         metadata: {name: w}\n\
         spec: {template: {spec: {protocol: raft, size: 1}}}\n",
    );
    inside.wait_until(&["partitionset", "w"], SOON, |found| found.first().is_some_and(is_ready));
    let uid = pod(&inside);
    stop(controller);
    let trust = "jsonpath={.webhooks[0].clientConfig.caBundle}";
    let bundle = kubectl.ok(&["get", "validatingwebhookconfiguration", NAME, "-o", trust]);
    assert!(!bundle.is_empty());

    // From all namespaces to one, with other rights, and other arguments.
    let scope = format!("namespaces={{{}}}", namespace.name());
    helm.force(&home, &["upgrade", "atomix", CHART, "--set", &scope, "--set", "log.format=text,replicas=3"]);
    assert_eq!(home.ok(&["get", "deployment", NAME, "-o", "jsonpath={.spec.replicas}"]), "3");
    assert_eq!(kubectl.ok(&["get", "validatingwebhookconfiguration", NAME, "-o", trust]), bundle);
    let (second, controller) = start(&cluster);
    assert_ne!(second.container(), first.container());
    // The log goes on where that of the controller before it has ended.
    let log = controller.log();
    assert!(log.lines().last().is_some_and(|line| !line.starts_with('{')), "{log}");
    stop(controller);

    helm.force(&home, &["rollback", "atomix", "1"]);
    let (third, controller) = start(&cluster);
    assert_eq!(third.container(), first.container());
    inside.wait_until(&["partitionset", "w"], SOON, |found| found.first().is_some_and(is_ready));
    assert_eq!(pod(&inside), uid);
    stop(controller);

    // Definitions and sets stay, with all that belongs to sets, and nothing else.
    helm.ok(&home, &["uninstall", "atomix", "--wait"]);
    inside.wait_until(&["partitionset", "w"], SOON, |found| found.first().is_some_and(is_ready));
    assert_eq!(pod(&inside), uid);
    inside.ok(&["delete", "partitionset", "w", "--cascade=foreground", "--timeout=60s"]);
    let after = everything(kubectl);
    // The API server registers an APIService for the group of a definition.
    let of_definitions = |object: &&String| {
        object.starts_with("CustomResourceDefinition ") || *object == "APIService <none> v1alpha1.k8s.atomix.io"
    };
    let left: Vec<_> = after.difference(&before).filter(|object| !of_definitions(object)).collect();
    let definitions = after.iter().filter(|object| object.starts_with("CustomResourceDefinition ")).count();
    assert!(left.is_empty() && definitions == 2, "{left:#?}");
    let lost: Vec<_> = before.difference(&after).filter(|object| !of_definitions(object)).collect();
    assert!(lost.is_empty(), "{lost:#?}");

    // A release of the same name takes the definitions up again. What is not kept goes with it.
    helm.ok(&home, &["install", "atomix", CHART, "--set", "crds.keep=false"]);
    helm.ok(&home, &["uninstall", "atomix", "--wait"]);
    let definitions = kubectl.get_json(&["customresourcedefinitions"]);
    assert_eq!(
        definitions["items"].as_array().map(Vec::len),
        Some(0),
        "{}",
        text(&definitions, "/items/0/metadata/name")
    );
}

#[test]
fn helm_3_installs_upgrades_rolls_back_and_keeps_sets_when_it_uninstalls() {
    live(&helms()[0]);
}

#[test]
fn helm_4_installs_upgrades_rolls_back_and_keeps_sets_when_it_uninstalls() {
    live(&helms()[1]);
}
