//! The examples for clusters that are strict about pods.

use serde_json::json;
use webhook_tests::binaries::workspace;

use crate::support::{await_ready, sandbox};

#[test]
fn the_examples_for_strict_clusters_make_pods_that_these_take() {
    let (namespace, kubectl) = sandbox("security");
    let enforced = "pod-security.kubernetes.io/enforce=restricted";
    kubectl.ok(&["label", "namespace", namespace.name(), enforced]);
    let example = |name: &str| workspace().join("deploy/examples").join(name).to_string_lossy().into_owned();
    kubectl.ok(&["create", "-f", &example("restricted.yaml")]);
    await_ready(&kubectl, "raft");
    kubectl.ok(&["delete", "partitionset", "raft", "--cascade=foreground"]);

    // OpenShift sets the user and the group of the volumes in each pod, if no other field does.
    kubectl.ok(&["create", "-f", &example("openshift.yaml")]);
    await_ready(&kubectl, "raft");
    let pod = kubectl.get_json(&["statefulset", "raft-1"])["spec"]["template"]["spec"].clone();
    assert_eq!(pod["securityContext"], json!({"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}}));
}
