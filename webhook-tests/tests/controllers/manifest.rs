//! The one-file install, on a cluster that has nothing of it yet.

use std::fs;
use std::process::Command;
use std::sync::LazyLock;
use std::time::Duration;

use atomix_controller::admission::server::Limits;
use serde_json::{Value, json};
use webhook_tests::documents::document;
use webhook_tests::{ControlPlane, Kubectl, MANIFEST, binaries};

use crate::support::{SOON, items, text};

/// What kubectl says of each object, in the order of the file.
const CREATED: [&str; 15] = [
    "customresourcedefinition.apiextensions.k8s.io/partitionsets.k8s.atomix.io created",
    "customresourcedefinition.apiextensions.k8s.io/partitions.k8s.atomix.io created",
    "clusterrole.rbac.authorization.k8s.io/atomix-controller created",
    "clusterrolebinding.rbac.authorization.k8s.io/atomix-controller created",
    "role.rbac.authorization.k8s.io/atomix-controller created",
    "rolebinding.rbac.authorization.k8s.io/atomix-controller created",
    "serviceaccount/atomix-controller created",
    "secret/atomix-controller-webhook-ca created",
    "lease.coordination.k8s.io/atomix-controller created",
    "lease.coordination.k8s.io/atomix-controller-replicas created",
    "service/atomix-controller created",
    "deployment.apps/atomix-controller created",
    "poddisruptionbudget.policy/atomix-controller created",
    "mutatingwebhookconfiguration.admissionregistration.k8s.io/atomix-controller created",
    "validatingwebhookconfiguration.admissionregistration.k8s.io/atomix-controller created",
];

/// Those of them that the project's founding document shows.
const OF_THE_SEED: [&str; 7] = [
    "customresourcedefinition.apiextensions.k8s.io/partitionsets.k8s.atomix.io created",
    "customresourcedefinition.apiextensions.k8s.io/partitions.k8s.atomix.io created",
    "clusterrole.rbac.authorization.k8s.io/atomix-controller created",
    "clusterrolebinding.rbac.authorization.k8s.io/atomix-controller created",
    "serviceaccount/atomix-controller created",
    "deployment.apps/atomix-controller created",
    "service/atomix-controller created",
];

const CONFIGURATIONS: [&str; 2] = ["mutatingwebhookconfiguration", "validatingwebhookconfiguration"];

/// A cluster with the manifest on it as it is, and what kubectl said when it was installed. No controller runs there.
struct Installed {
    control_plane: ControlPlane,
    printed: String,
}

static INSTALLED: LazyLock<Installed> = LazyLock::new(|| {
    let control_plane = ControlPlane::start().expect("a control plane");
    let printed = control_plane.kubectl().ok(&["create", "-f", &manifest()]);
    Installed { control_plane, printed }
});

fn manifest() -> String {
    binaries::workspace().join(MANIFEST).to_string_lossy().into_owned()
}

fn kubectl() -> Kubectl {
    INSTALLED.control_plane.kubectl().in_namespace("kube-system")
}

/// An object as the file has it, without defaults.
fn shipped(kind: &str, name: &str) -> Value {
    let printed = kubectl().ok(&["create", "--dry-run=client", "-o", "json", "-f", &manifest()]);
    let objects = serde_json::Deserializer::from_str(&printed).into_iter::<Value>().map(|object| object.expect("JSON"));
    objects
        .flat_map(|object| object["items"].as_array().cloned().unwrap_or_else(|| vec![object]))
        .find(|object| text(object, "/kind").eq_ignore_ascii_case(kind) && text(object, "/metadata/name") == name)
        .unwrap_or_else(|| panic!("the manifest has no {kind} {name}"))
}

#[test]
fn one_command_installs_everything_on_an_empty_cluster() {
    let lines: Vec<&str> = INSTALLED.printed.lines().collect();
    assert_eq!(lines, CREATED);
    for line in OF_THE_SEED {
        assert!(lines.contains(&line), "{line}");
    }
    // The documents show the same.
    let page = document("docs/install.md");
    assert!(page.contains(&CREATED.join("\n")), "docs/install.md shows something else");
}

#[test]
fn the_custom_resources_of_the_manifest_are_those_of_the_program() {
    let printed = Command::new(binaries::controller().expect("a controller")).arg("crds").output().expect("its output");
    assert!(printed.status.success());
    let manifest = fs::read_to_string(manifest()).expect("the manifest");
    let generated = manifest
        .lines()
        .skip_while(|line| !line.starts_with("# BEGIN GENERATED"))
        .skip(1)
        .take_while(|line| !line.starts_with("# END GENERATED"));
    let printed = String::from_utf8(printed.stdout).expect("UTF-8");
    let differs = generated.zip(printed.lines()).find(|(ours, theirs)| ours != theirs);
    assert_eq!(differs, None, "run `make manifests`");
    assert!(manifest.contains(&printed), "run `make manifests`");
    for crd in items(&kubectl(), &["customresourcedefinitions"]) {
        let conditions = crd["status"]["conditions"].as_array().expect("conditions");
        let wrong: Vec<_> = conditions.iter().filter(|condition| condition["type"] == "NonStructuralSchema").collect();
        assert!(wrong.is_empty(), "{wrong:#?}");
    }
}

#[test]
fn a_second_look_at_the_cluster_shows_no_difference_to_the_file() {
    let applied = |what: &str| {
        let arguments = ["apply", "--server-side", "--force-conflicts", what, "-f", &manifest()];
        kubectl().ok(&arguments)
    };
    let state = || {
        let kinds = "customresourcedefinitions,mutatingwebhookconfigurations,validatingwebhookconfigurations,\
                     clusterroles/atomix-controller";
        let kinds: Vec<&str> = kinds.split(',').collect();
        let generations = |kind: &str| {
            let list = kubectl().get_json(&[kind]);
            let items = list["items"].as_array().cloned().unwrap_or_else(|| vec![list]);
            items
                .iter()
                .map(|object| (object["metadata"]["name"].clone(), object["metadata"]["generation"].clone()))
                .collect::<Vec<_>>()
        };
        kinds.into_iter().map(generations).collect::<Vec<_>>()
    };
    // An upgrade to the same version changes the spec of nothing.
    let before = state();
    applied("--dry-run=server");
    applied("--dry-run=none");
    assert_eq!(state(), before);
    let deployment = kubectl().get_json(&["deployment", "atomix-controller"]);
    assert_eq!(deployment["metadata"]["generation"], 1);
}

#[test]
fn webhook_configurations_name_every_field_that_has_a_default_and_trust_nobody_yet() {
    for kind in CONFIGURATIONS {
        let stored = kubectl().get_json(&[kind, "atomix-controller"]);
        assert_eq!(stored["webhooks"], shipped(kind, "atomix-controller")["webhooks"], "{kind}");
        for webhook in stored["webhooks"].as_array().expect("webhooks") {
            assert!(webhook["clientConfig"]["caBundle"].is_null());
            // A webhook that only warns is not waited for.
            let warns = text(webhook, "/name").starts_with("restricted.");
            let wanted = if warns { (json!("Ignore"), json!(2)) } else { (json!("Fail"), json!(5)) };
            assert_eq!((&webhook["failurePolicy"], &webhook["timeoutSeconds"]), (&wanted.0, &wanted.1));
            assert_eq!((&webhook["matchPolicy"], &webhook["sideEffects"]), (&json!("Equivalent"), &json!("None")));
            for rule in webhook["rules"].as_array().expect("rules") {
                assert_eq!(rule["apiGroups"], json!(["k8s.atomix.io"]), "an outage would touch other kinds");
            }
        }
    }
}

/// Pods of the Deployment that are ready, once there are so many as it wants.
fn pods() -> Vec<Value> {
    kubectl().wait_until(&["pods", "-l", "name=atomix-controller"], SOON, |pods| {
        let ready = |pod: &Value| {
            let conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
            pod["metadata"]["deletionTimestamp"].is_null()
                && conditions.into_iter().any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
        };
        pods.len() == 2 && pods.iter().all(ready)
    })
}

#[test]
fn two_pods_run_on_different_nodes_and_are_not_both_evicted() {
    let pods = pods();
    let nodes = [0, 1].map(|pod| text(&pods[pod], "/spec/nodeName"));
    assert_ne!(nodes[0], nodes[1]);

    // No node takes the pod that comes in place of the first.
    kubectl().ok(&["cordon", nodes[0], nodes[1]]);
    kubectl().wait_until(&["poddisruptionbudget", "atomix-controller"], SOON, |budgets| {
        budgets[0]["status"]["disruptionsAllowed"] == 1
    });
    let evict = |pod: &Value| {
        let name = text(pod, "/metadata/name");
        let path = format!("/api/v1/namespaces/kube-system/pods/{name}/eviction");
        let eviction = json!({
            "apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": "kube-system"},
        });
        kubectl().feed(&["create", "--raw", &path, "-f", "-"], &eviction.to_string())
    };
    let first = evict(&pods[0]);
    assert!(first.status.success(), "{}", first.stderr);
    let second = evict(&pods[1]);
    kubectl().ok(&["uncordon", nodes[0], nodes[1]]);
    assert!(!second.status.success() && second.stderr.contains("disruption budget"), "{}", second.stderr);
}

#[test]
fn spreading_is_preferred_so_that_one_node_will_do() {
    let spec = shipped("Deployment", "atomix-controller")["spec"].clone();
    let constraints = spec["template"]["spec"]["topologySpreadConstraints"].as_array().expect("constraints").clone();
    let keys: Vec<_> = constraints.iter().map(|constraint| text(constraint, "/topologyKey")).collect();
    assert_eq!(keys, ["kubernetes.io/hostname", "topology.kubernetes.io/zone"]);
    for constraint in &constraints {
        assert_eq!(constraint["whenUnsatisfiable"], "ScheduleAnyway");
        assert_eq!(constraint["labelSelector"], spec["selector"]);
    }
}

#[test]
fn the_number_of_pods_never_falls_below_one() {
    let spec = shipped("Deployment", "atomix-controller")["spec"].clone();
    let budget = shipped("PodDisruptionBudget", "atomix-controller")["spec"].clone();
    assert_eq!(spec["strategy"]["rollingUpdate"]["maxUnavailable"], 0);
    assert!(budget["maxUnavailable"].as_u64() < spec["replicas"].as_u64(), "a drain could take all");
    assert!(budget["maxUnavailable"].as_u64() > Some(0), "no node could be drained");
    assert_eq!(budget["selector"], spec["selector"]);
    assert_eq!(spec["selector"]["matchLabels"], spec["template"]["metadata"]["labels"]);
}

#[test]
fn a_pod_has_the_time_that_it_takes_to_stop_in_order() {
    let pod = shipped("Deployment", "atomix-controller")["spec"]["template"]["spec"].clone();
    let seconds = |value: &Value| Duration::from_secs(value.as_u64().expect("seconds"));
    let unseen = seconds(&pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]);
    let grace = seconds(&pod["terminationGracePeriodSeconds"]);
    let limits = Limits::default();
    assert!(grace > unseen + limits.drain + limits.stop, "{grace:?} is too short for {limits:?}");
    // kube-proxy and its like observe the pod's end while it still takes connections.
    assert!(unseen >= Duration::from_secs(3));
}

#[test]
fn the_authority_is_shipped_empty() {
    let secret = shipped("Secret", "atomix-controller-webhook-ca");
    assert_eq!((&secret["data"], &secret["stringData"]), (&Value::Null, &Value::Null));
}

#[test]
fn the_controllers_pod_passes_pod_security_restricted() {
    let kubectl = INSTALLED.control_plane.kubectl();
    kubectl.ok(&["create", "namespace", "restricted"]);
    kubectl.ok(&["label", "namespace", "restricted", "pod-security.kubernetes.io/enforce=restricted"]);
    let kubectl = kubectl.in_namespace("restricted");
    kubectl.ok(&["create", "serviceaccount", "atomix-controller"]);
    let mut pod = shipped("Deployment", "atomix-controller")["spec"]["template"].clone();
    pod["apiVersion"] = "v1".into();
    pod["kind"] = "Pod".into();
    pod["metadata"]["name"] = "controller".into();
    let create = ["create", "--dry-run=server", "-f", "-"];
    let said = kubectl.feed(&create, &pod.to_string());
    assert!(said.status.success(), "{}", said.stderr);
    assert_eq!(said.stderr, "");

    // The namespace does refuse what is not restricted.
    pod["spec"]["containers"][0]["securityContext"]["allowPrivilegeEscalation"] = true.into();
    let refused = kubectl.feed_fails(&create, &pod.to_string());
    assert!(refused.contains(r#"violates PodSecurity "restricted"#), "{refused}");
}

#[test]
fn the_shipped_pod_names_its_probes_ports_and_resources() {
    let pod = shipped("Deployment", "atomix-controller")["spec"]["template"]["spec"].clone();
    let container = &pod["containers"][0];
    for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
        assert!(text(container, &format!("/{probe}/httpGet/path")).ends_with('z'), "{probe}");
    }
    assert!(
        container["resources"]["requests"]["memory"].is_string()
            && container["resources"]["limits"]["memory"].is_string()
    );
    let service = shipped("Service", "atomix-controller");
    let ports = service["spec"]["ports"].as_array().expect("ports").iter();
    let ports: Vec<_> = ports.map(|port| (text(port, "/name"), port["port"].as_u64().unwrap_or_default())).collect();
    for port in [("control", 5679), ("webhook", 443), ("metrics", 8080)] {
        assert!(ports.contains(&port), "{port:?} in {ports:?}");
    }
    assert_eq!(service["spec"]["selector"], json!({"name": "atomix-controller"}));
}
