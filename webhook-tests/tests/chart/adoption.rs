//! A release takes over what was installed from the one-file manifest.

use serde_json::Value;
use webhook_tests::binaries::workspace;
use webhook_tests::{ControlPlane, MANIFEST, live};

use crate::support::{helms, without_helm};

#[test]
fn a_release_takes_over_the_one_file_manifest_and_changes_nothing_but_labels() {
    let cluster = ControlPlane::start().expect("a control plane");
    let kubectl = cluster.kubectl();
    let manifest = workspace().join(MANIFEST);
    let state = || -> Vec<Value> {
        let mut objects = live(kubectl, &manifest);
        objects.iter_mut().for_each(without_helm);
        objects
    };
    let home = kubectl.in_namespace("kube-system");
    for helm in helms() {
        kubectl.ok(&["create", "-f", &manifest.to_string_lossy()]);
        let before = state();
        helm.force(&home, &["install", "atomix", "deploy/chart", "--take-ownership"]);
        assert_eq!(state(), before, "Helm {}", helm.major);
        helm.ok(&home, &["uninstall", "atomix", "--wait"]);
        // The definitions are all that is left.
        kubectl.ok(&["delete", "customresourcedefinitions", "--all"]);
        kubectl.fails(&["-n", "kube-system", "get", "deployment", "atomix-controller"]);
    }
}
