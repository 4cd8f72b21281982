//! Every file of `deploy/examples` is what an API server takes, and the pods of its sets run.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;
use webhook_tests::binaries::workspace;
use webhook_tests::documents::documents;
use webhook_tests::{Kubectl, Namespace, harness};

use crate::support::{await_ready, items, sandbox, text};

/// Those for namespaces that enforce the "restricted" pod security standard.
const STRICT: [&str; 2] = ["openshift.yaml", "restricted.yaml"];

fn examples() -> Vec<PathBuf> {
    let folder = fs::read_dir(workspace().join("deploy/examples")).expect("the examples");
    let mut files: Vec<_> = folder.map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    files
}

fn name(file: &Path) -> String {
    file.file_name().expect("a name").to_string_lossy().into_owned()
}

/// A set of an example, in a namespace of its own.
struct Applied {
    example: String,
    set: String,
    kubectl: Kubectl,
    _namespace: Namespace,
}

/// Asserts that kubectl printed no warning whose beginning, up to the field, is not in the comments of the file.
fn assert_announced(example: &str, content: &str, printed: &str) {
    for warning in printed.lines() {
        let beginning: Vec<&str> = warning.splitn(3, ": ").take(2).collect();
        let is_announced = content.lines().any(|line| line.starts_with('#') && line.contains(&beginning.join(": ")));
        assert!(is_announced, "{example} does not announce: {warning}");
    }
}

fn apply(file: &Path) -> Option<Applied> {
    let (example, path) = (name(file), file.to_string_lossy());
    let content = fs::read_to_string(file).expect("an example");
    if !content.contains("\nkind: PartitionSet\n") {
        // These change what the installation may do, and other tests run beside this one.
        let output = harness().kubectl().run(&["apply", "--dry-run=server", "-f", &path]);
        assert!(output.status.success(), "{example}: {}", output.stderr);
        assert_announced(&example, &content, &output.stderr);
        return None;
    }
    let (namespace, kubectl) = sandbox("example");
    if STRICT.contains(&example.as_str()) {
        kubectl.ok(&["label", "namespace", namespace.name(), "pod-security.kubernetes.io/enforce=restricted"]);
    }
    let output = kubectl.run(&["apply", "-f", &path]);
    assert!(output.status.success(), "{example}: {}", output.stderr);
    assert_announced(&example, &content, &output.stderr);
    let sets = items(&kubectl, &["partitionsets"]);
    assert_eq!(sets.len(), 1, "{example}");
    Some(Applied { example, set: text(&sets[0], "/metadata/name").to_owned(), kubectl, _namespace: namespace })
}

#[test]
fn every_example_is_applied_with_no_warning_that_it_does_not_announce_and_its_pods_get_ready() {
    // All at once: a Raft pod counts after ten seconds.
    let applied: Vec<Applied> = examples().iter().filter_map(|file| apply(file)).collect();
    for Applied { example, set, kubectl, .. } in &applied {
        let set = await_ready(kubectl, set);
        let partitions = set["spec"]["partitions"].as_u64().expect("a number");
        let stateful_sets = items(kubectl, &["statefulsets"]);
        assert_eq!(stateful_sets.len() as u64, partitions, "{example}");
        let pod = &stateful_sets[0]["spec"]["template"];
        match example.as_str() {
            "mesh.yaml" => assert_eq!(pod["metadata"]["labels"]["sidecar.istio.io/inject"], "true"),
            // OpenShift sets the user and the group of the volumes in each pod, if no other field does.
            "openshift.yaml" => assert_eq!(
                pod["spec"]["securityContext"],
                json!({"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}})
            ),
            "placement.yaml" => assert_spread(kubectl),
            "private-registry.yaml" => assert_eq!(pod["spec"]["imagePullSecrets"], json!([{"name": "registry"}])),
            "storage.yaml" => assert_eq!(items(kubectl, &["persistentvolumeclaims"]).len(), 9),
            _ => {}
        }
    }
}

/// Asserts that each partition has a pod on both nodes of the control plane, which are in two zones.
fn assert_spread(kubectl: &Kubectl) {
    let pods = items(kubectl, &["pods"]);
    let spread: BTreeSet<(&str, &str)> =
        pods.iter().map(|pod| (text(pod, "/metadata/labels/partition"), text(pod, "/spec/nodeName"))).collect();
    assert_eq!(spread.len(), 6, "{spread:?}");
}

#[test]
fn every_example_is_named_in_the_documents() {
    let documents = documents();
    for file in examples() {
        let path = format!("deploy/examples/{}", name(&file));
        assert!(documents.iter().any(|document| document.text.contains(&path)), "{path}");
    }
}
