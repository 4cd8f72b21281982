//! An installation for all namespaces that is not in kube-system.

use serde_json::{Value, json};
use webhook_tests::{Installation, MANIFEST, Namespace, binaries, text};

use crate::support::{await_leader, cluster, create_ready};

const HOME: &str = "atomix-system";

#[test]
fn in_another_namespace_it_is_the_same_and_needs_nothing_of_kube_system() {
    let cluster = cluster();
    let kubectl = cluster.kubectl();
    let directory = binaries::workspace().join("kustomize/elsewhere");
    let overlay = directory.to_string_lossy().into_owned();

    // Only the namespace and the class differ.
    let printed = |flag: &str, what: &str| {
        let printed = kubectl.ok(&["create", "--dry-run=client", "-o", "json", flag, what]);
        let objects = serde_json::Deserializer::from_str(&printed).into_iter::<Value>();
        let objects = objects.map(|object| object.expect("JSON"));
        let mut objects: Vec<Value> =
            objects.flat_map(|object| object["items"].as_array().cloned().unwrap_or_else(|| vec![object])).collect();
        objects.sort_by_key(|object| ["/kind", "/metadata/name"].map(|field| text(object, field).to_owned()));
        objects
    };
    let manifest = printed("-f", &binaries::workspace().join(MANIFEST).to_string_lossy());
    let mut wanted: Vec<Value> =
        serde_json::from_str(&json!(manifest).to_string().replace("kube-system", HOME)).expect("JSON");
    for object in wanted.iter_mut().filter(|object| object["kind"] == "Deployment") {
        let pod = object["spec"]["template"]["spec"].as_object_mut().expect("a pod");
        assert!(pod.remove("priorityClassName").is_some());
    }
    assert_eq!(printed("-k", &overlay), wanted);

    // The controller as it is meets the strictest standard.
    kubectl.ok(&["create", "namespace", HOME]);
    let standard = ["enforce", "warn"].map(|mode| format!("pod-security.kubernetes.io/{mode}=restricted"));
    kubectl.ok(&["label", "namespace", HOME, &standard[0], &standard[1]]);
    let tried = kubectl.run(&["create", "--dry-run=server", "-k", &overlay]);
    assert!(tried.status.success() && !tried.stderr.contains("Warning"), "{tried:?}");
    let installation =
        Installation::of_kustomization(&cluster, &directory, "atomix-controller", HOME).expect("an installation");
    let before = cluster.audit_stages_of(&installation.user()).len();
    let mut controller = installation.start().expect("a controller");
    controller.wait_ready().expect("a ready controller");
    await_leader(&controller);
    let namespace = Namespace::new(kubectl, "elsewhere");
    let inside = create_ready(&namespace, "w");
    let files = inside.get_json(&["configmap", "w-1-config"]);
    assert!(text(&files, "/data/partition.json").contains("atomix-controller.atomix-system.svc.cluster.local"));

    let audit = cluster.audit_stages_of(&installation.user());
    let wrong: Vec<_> =
        audit[before..].iter().filter(|entry| entry.namespace == "kube-system" || entry.code == 403).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");

    inside.ok(&["delete", "partitionset", "w", "--cascade=foreground", "--timeout=60s"]);
    kubectl.ok(&["delete", "-k", &overlay]);
    assert!(controller.stop().expect("an end").success());
    kubectl.ok(&["delete", "namespace", HOME]);
}
