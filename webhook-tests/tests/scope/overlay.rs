//! What kustomize makes of the one-file manifest: the same, under another name and with rights in some namespaces only.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::LazyLock;

use serde_json::{Value, json};
use webhook_tests::{MANIFEST, binaries};

use crate::support::{CLUSTER, text};

const NAMESPACES: [&str; 2] = ["team-a", "team-a-test"];

/// Objects by kind, namespace and name.
type Objects = BTreeMap<(String, String, String), Value>;

/// The objects that kubectl would create, without defaults.
fn objects(flag: &str, what: &Path) -> Objects {
    let kubectl = CLUSTER.control_plane.kubectl();
    let printed = kubectl.ok(&["create", "--dry-run=client", "-o", "json", flag, &what.to_string_lossy()]);
    let documents =
        serde_json::Deserializer::from_str(&printed).into_iter::<Value>().map(|object| object.expect("JSON"));
    documents
        .flat_map(|object| object["items"].as_array().cloned().unwrap_or_else(|| vec![object]))
        .map(|object| {
            let key = ["/kind", "/metadata/namespace", "/metadata/name"].map(|field| text(&object, field).to_owned());
            (key.into(), object)
        })
        .collect()
}

static SHIPPED: LazyLock<Objects> = LazyLock::new(|| objects("-f", &binaries::workspace().join(MANIFEST)));
static EXAMPLE: LazyLock<Objects> = LazyLock::new(|| objects("-k", &binaries::workspace().join("kustomize/example")));

fn one<'a>(objects: &'a Objects, kind: &str, namespace: &str, name: &str) -> &'a Value {
    let key = (kind.to_owned(), namespace.to_owned(), name.to_owned());
    objects.get(&key).unwrap_or_else(|| panic!("no {key:?} among {:#?}", objects.keys()))
}

/// An object of the manifest as the example should name it.
fn renamed(object: &Value) -> Value {
    let text = object.to_string();
    let text = text.replace("atomix-controller", "team-a-atomix").replace("kube-system", "team-a-system");
    serde_json::from_str(&text).expect("JSON")
}

fn rules(role: &Value) -> BTreeSet<String> {
    role["rules"].as_array().expect("rules").iter().map(Value::to_string).collect()
}

#[test]
fn all_but_rights_scope_and_priority_is_that_of_the_manifest() {
    let (mut compared, namespace) = (0, "team-a-system");
    for ((kind, _, _), object) in &*SHIPPED {
        if matches!(kind.as_str(), "CustomResourceDefinition" | "ClusterRole" | "ClusterRoleBinding") {
            continue;
        }
        let mut wanted = renamed(object);
        let (name, place) =
            (text(&wanted, "/metadata/name").to_owned(), text(&wanted, "/metadata/namespace").to_owned());
        if kind == "Deployment" {
            let pod = &mut wanted["spec"]["template"]["spec"];
            assert!(pod.as_object_mut().is_some_and(|pod| pod.remove("priorityClassName").is_some()));
            let scope = json!({"name": "WATCH_NAMESPACES", "value": NAMESPACES.join(",")});
            pod["containers"][0]["env"].as_array_mut().expect("variables").push(scope);
        }
        for webhook in wanted.get_mut("webhooks").and_then(Value::as_array_mut).into_iter().flatten() {
            webhook["namespaceSelector"]["matchExpressions"] =
                json!([{"key": "kubernetes.io/metadata.name", "operator": "In", "values": NAMESPACES}]);
        }
        assert_eq!(*one(&EXAMPLE, kind, &place, &name), wanted);
        assert!(place.is_empty() || place == namespace, "{kind} {name}");
        compared += 1;
    }
    assert!(compared >= 9, "{compared}");
}

#[test]
fn nothing_else_is_there_but_the_rights() {
    let others: Vec<_> =
        EXAMPLE.keys().filter(|(kind, _, _)| kind.ends_with("Role") || kind.ends_with("Binding")).collect();
    assert_eq!(
        EXAMPLE.len() - others.len(),
        SHIPPED
            .keys()
            .filter(|(kind, _, _)| {
                !kind.ends_with("Role") && !kind.ends_with("Binding") && kind != "CustomResourceDefinition"
            })
            .count()
    );
    // No name of the manifest is left, and settings are not sent.
    for object in EXAMPLE.values() {
        let text = object.to_string();
        assert!(!text.contains("atomix-controller") && !text.contains("kube-system"), "{text}");
        assert_ne!(object["kind"], "Installation");
    }
}

#[test]
fn the_rights_are_those_of_the_manifest_and_bound_where_they_are_needed() {
    let shipped = rules(&renamed(one(&SHIPPED, "ClusterRole", "", "atomix-controller")));
    let in_namespaces = rules(one(&EXAMPLE, "ClusterRole", "", "team-a-atomix"));
    let everywhere = rules(one(&EXAMPLE, "ClusterRole", "", "team-a-atomix-webhooks"));
    assert_eq!(in_namespaces.union(&everywhere).cloned().collect::<BTreeSet<_>>(), shipped);
    assert!(in_namespaces.is_disjoint(&everywhere));
    for rule in &everywhere {
        let rule: Value = serde_json::from_str(rule).expect("JSON");
        match text(&rule, "/apiGroups/0") {
            "admissionregistration.k8s.io" => assert_eq!(rule["resourceNames"], json!(["team-a-atomix"])),
            "authentication.k8s.io" => assert_eq!(rule["resources"], json!(["selfsubjectreviews"])),
            _ => assert_eq!(
                rule,
                json!({"apiGroups": ["networking.k8s.io"], "resources": ["ipaddresses"], "verbs": ["get"]})
            ),
        }
    }

    let account = json!([{"kind": "ServiceAccount", "name": "team-a-atomix", "namespace": "team-a-system"}]);
    let mut bound = BTreeSet::new();
    for ((kind, namespace, _), binding) in EXAMPLE.iter().filter(|((kind, _, _), _)| kind.ends_with("RoleBinding")) {
        assert_eq!(binding["subjects"], account, "{binding}");
        let role = &binding["roleRef"];
        bound.insert((kind.as_str(), namespace.as_str(), text(role, "/kind"), text(role, "/name")));
    }
    let wanted = BTreeSet::from([
        ("ClusterRoleBinding", "", "ClusterRole", "team-a-atomix-webhooks"),
        ("RoleBinding", "team-a-system", "Role", "team-a-atomix"),
        ("RoleBinding", NAMESPACES[0], "ClusterRole", "team-a-atomix"),
        ("RoleBinding", NAMESPACES[1], "ClusterRole", "team-a-atomix"),
    ]);
    assert_eq!(bound, wanted);
}

#[test]
fn custom_resources_are_installed_once_and_the_same() {
    let crds = objects("-k", &binaries::workspace().join("kustomize/crds"));
    let shipped = SHIPPED.iter().filter(|((kind, _, _), _)| kind == "CustomResourceDefinition");
    assert_eq!(crds, shipped.map(|(key, object)| (key.clone(), object.clone())).collect());
    assert_eq!(crds.len(), 2);
    assert!(EXAMPLE.keys().all(|(kind, _, _)| kind != "CustomResourceDefinition"));
    // The base is the manifest and nothing else.
    assert_eq!(objects("-k", &binaries::workspace().join("deploy")), *SHIPPED);
}
