//! A restart of the controller, or a change of the leader, writes nothing that changes an object: whatever policies add
//! to its objects or override in them, and however a chart writes what it does not want.

use serde_json::{Value, json};
use webhook_tests::Kubectl;

use crate::rolling::patch_template;
use crate::support::policy::{CHILDREN, Policy};
use crate::support::restart::{Case, Outcome, outcome};
use crate::support::{SOON, await_ready, set, text};

const PLATFORM: &str = "app.kubernetes.io/managed-by";

/// A patch that adds a label to any object that has labels.
const LABEL: &str = r#"[JSONPatch{op: "add", path: "/metadata/labels/by-policy", value: "yes"}]"#;

/// Overrides a label that the controller sets.
const MANAGED_BY: &str =
    r#"[JSONPatch{op: "add", path: "/metadata/labels/app.kubernetes.io~1managed-by", value: "platform"}]"#;

/// Adds to the metadata of the pod template.
const TEMPLATE_ANNOTATION: &str =
    r#"[JSONPatch{op: "add", path: "/spec/template/metadata/annotations/by-policy", value: "yes"}]"#;

/// Overrides the image of the nodes, as a mirror does.
const MIRROR: &str = r#"object.spec.template.spec.containers[0].image.startsWith("mirror/") ? [] : [JSONPatch{op: "replace",
    path: "/spec/template/spec/containers/0/image",
    value: "mirror/" + object.spec.template.spec.containers[0].image}]"#;

const STATEFUL_SETS: &[(&str, &str)] = &[("apps", "statefulsets")];
const EMPTY_VALUES: &str = "
apiVersion: k8s.atomix.io/v1alpha1
kind: PartitionSet
metadata: {name: w}
spec:
  partitions: 1
  template:
    metadata: {labels: {}, annotations: {}}
    spec:
      protocol: log
      size: 2
      tolerations: []
      nodeSelector: {}
      env: [{name: E, value: ''}]
      resources: {limits: {}}
      securityContext: {capabilities: {add: []}}
      podSecurityContext: {}
      affinity: {}
      imagePullSecrets: []
      topologySpreadConstraints: []
";

fn cases() -> Vec<Case> {
    let case = |name, policies, then| Case { name, yaml: set("w", 1, "log", 2), policies, then };
    let nothing: fn(&Kubectl) = |_| ();
    vec![
        case(
            "added-to-pods",
            |kubectl| vec![Policy::mutating(kubectl, STATEFUL_SETS, &["CREATE"], TEMPLATE_ANNOTATION)],
            nothing,
        ),
        case(
            "added-to-services",
            |kubectl| {
                let affinity = r#"[JSONPatch{op: "add", path: "/spec/sessionAffinity", value: "ClientIP"}]"#;
                vec![Policy::mutating(kubectl, &[("", "services")], &["CREATE"], affinity)]
            },
            nothing,
        ),
        case("added-at-first", |kubectl| vec![Policy::mutating(kubectl, CHILDREN, &["CREATE"], LABEL)], nothing),
        case(
            "added-always",
            |kubectl| {
                let operations = ["CREATE", "UPDATE"];
                vec![
                    Policy::mutating(kubectl, CHILDREN, &operations, LABEL),
                    Policy::mutating(kubectl, STATEFUL_SETS, &operations, TEMPLATE_ANNOTATION),
                ]
            },
            nothing,
        ),
        case(
            "overridden",
            |kubectl| {
                let operations = ["CREATE", "UPDATE"];
                vec![
                    Policy::mutating(kubectl, STATEFUL_SETS, &operations, MIRROR),
                    Policy::mutating(kubectl, CHILDREN, &operations, MANAGED_BY),
                    Policy::mutating(kubectl, &[("", "pods")], &operations, MANAGED_BY),
                ]
            },
            nothing,
        ),
        Case { yaml: EMPTY_VALUES.to_owned(), ..case("empty", |_| vec![], nothing) },
        case("set-by-others", |_| vec![], set_by_others),
        case(
            "restarted-pods",
            |_| vec![],
            |kubectl| {
                kubectl.ok(&["rollout", "restart", "statefulset/w-1"]);
                kubectl.wait_until(&["pods"], SOON, |pods| pods.len() == 2 && pods.iter().all(was_restarted));
            },
        ),
    ]
}

/// What people and meshes set on the Services, before the set is edited.
fn set_by_others(kubectl: &Kubectl) {
    for service in ["w", "w-1", "w-1-hs"] {
        let ports = &kubectl.get_json(&["service", service])["spec"]["ports"];
        let last = ports.as_array().expect("ports").len() - 1;
        let patch = json!([
            {"op": "add", "path": "/spec/sessionAffinity", "value": "ClientIP"},
            {"op": "add", "path": "/spec/internalTrafficPolicy", "value": "Local"},
            {"op": "add", "path": format!("/spec/ports/{last}/appProtocol"), "value": "kubernetes.io/h2c"},
        ]);
        kubectl.ok(&["patch", "service", service, "--type=json", "-p", &patch.to_string()]);
    }
    let metadata = json!({"metadata": {"labels": {"tier": "gold"}}, "spec": {"template": {"metadata": {"labels": {"tier": "tin"}}}}});
    kubectl.ok(&["patch", "partitionset", "w", "--type=merge", "-p", &metadata.to_string()]);
    patch_template(kubectl, &json!({"image": "node:2"}));
    await_ready(kubectl, "w");
}

/// Whether a pod is one that `kubectl rollout restart` asked for.
fn was_restarted(pod: &Value) -> bool {
    !text(pod, "/metadata/annotations/kubectl.kubernetes.io~1restartedAt").is_empty()
}

fn after(name: &str) -> &'static Outcome {
    let outcome = outcome(name, cases);
    outcome.assert_unchanged();
    outcome
}

const IGNORED: &str = "/metadata/annotations/k8s.atomix.io~1ignored-fields";

fn is_by_policy(object: &Value, parent: &str) -> bool {
    text(object, &format!("{parent}/by-policy")) == "yes"
}

#[test]
fn what_a_policy_added_to_the_pods_of_a_new_stateful_set_stays_over_a_restart() {
    let outcome = after("added-to-pods");
    assert!(is_by_policy(outcome.of("StatefulSet", "w-1"), "/spec/template/metadata/annotations"));
    assert!(is_by_policy(outcome.of("Pod", "w-1-0"), "/metadata/annotations"));
}

#[test]
fn what_a_policy_added_to_new_services_stays_over_a_restart() {
    let outcome = after("added-to-services");
    for service in ["w", "w-1", "w-1-hs"] {
        assert_eq!(outcome.of("Service", service)["spec"]["sessionAffinity"], "ClientIP");
    }
}

/// Every object of the set that the controller makes.
const MADE: [(&str, &str); 9] = [
    ("Partition", "w-1"),
    ("ConfigMap", "w-1-config"),
    ("StatefulSet", "w-1"),
    ("Service", "w-1"),
    ("Service", "w-1-hs"),
    ("PodDisruptionBudget", "w-1-pdb"),
    ("Service", "w"),
    ("EndpointSlice", "w-ipv4"),
    ("Endpoints", "w"),
];

#[test]
fn what_a_policy_added_to_new_objects_of_every_kind_stays_over_a_restart() {
    let outcome = after("added-at-first");
    for (kind, name) in MADE {
        assert!(is_by_policy(outcome.of(kind, name), "/metadata/labels"), "{kind} {name}");
    }
}

#[test]
fn what_a_policy_adds_in_every_write_stays_over_a_restart() {
    let outcome = after("added-always");
    for (kind, name) in MADE {
        assert!(is_by_policy(outcome.of(kind, name), "/metadata/labels"), "{kind} {name}");
    }
}

#[test]
fn what_a_policy_overrides_in_every_write_is_named_and_left_to_it_over_a_restart() {
    let outcome = after("overridden");
    for (kind, name) in MADE {
        let object = outcome.of(kind, name);
        assert_eq!(object["metadata"]["labels"][PLATFORM], "platform", "{kind} {name}");
        let ignored = text(object, IGNORED);
        assert!(
            ignored.split(',').any(|field| field == format!("metadata.labels.{PLATFORM}")),
            "{kind} {name}: {ignored}"
        );
    }
    let stateful_set = outcome.of("StatefulSet", "w-1");
    let ignored = text(stateful_set, IGNORED);
    assert!(ignored.contains("spec.template.spec.containers[atomix].image"), "{ignored}");
    let image = text(outcome.of("Pod", "w-1-0"), "/spec/containers/0/image");
    assert_eq!(image, "mirror/atomix/atomix-log-node:latest");
}

#[test]
fn values_that_are_empty_are_as_good_as_none_at_a_restart() {
    let outcome = after("empty");
    let env = &outcome.of("Pod", "w-1-0")["spec"]["containers"][0]["env"];
    assert!(env.as_array().expect("variables").iter().any(|variable| variable["name"] == "E"), "{env}");
}

#[test]
fn what_others_set_on_services_stays_over_an_edit_of_the_set_and_over_a_restart() {
    let outcome = after("set-by-others");
    for service in ["w", "w-1", "w-1-hs"] {
        let spec = &outcome.of("Service", service)["spec"];
        let ports = spec["ports"].as_array().expect("ports");
        assert_eq!(spec["sessionAffinity"], "ClientIP", "{service}");
        assert_eq!(spec["internalTrafficPolicy"], "Local", "{service}");
        assert_eq!(ports[ports.len() - 1]["appProtocol"], "kubernetes.io/h2c", "{service}");
    }
}

#[test]
fn pods_that_were_restarted_by_kubectl_are_not_replaced_again_at_a_restart() {
    let outcome = after("restarted-pods");
    assert!(was_restarted(outcome.of("Pod", "w-1-0")));
}
