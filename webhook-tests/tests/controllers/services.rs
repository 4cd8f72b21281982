//! A Service that another client changed into another one, or deleted, comes back where it was, and the controller asks for
//! nothing on the way that the API server refuses.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use webhook_tests::{Kubectl, harness};

use crate::support::policy::Policy;
use crate::support::{SOON, await_ready, condition, create_ready, is_ready, items, sandbox, set, text};

/// A patch that makes any Service an alias, without what an alias cannot have.
fn alias() -> String {
    json!({"spec": {
        "type": "ExternalName", "externalName": "elsewhere.test", "clusterIP": null, "clusterIPs": null,
        "ipFamilies": null, "ipFamilyPolicy": null, "internalTrafficPolicy": null, "ports": null,
    }})
    .to_string()
}

/// The controller's requests in a namespace that were refused, but for what the API server answers in every race.
fn refused(kubectl: &Kubectl) -> Vec<String> {
    let audit = harness().control_plane().audit();
    let refused = audit.into_iter().filter(|entry| {
        entry.namespace == kubectl.namespace() && entry.code >= 400 && !matches!(entry.code, 404 | 409)
    });
    refused.map(|entry| format!("{} {} {}: {}", entry.verb, entry.resource, entry.name, entry.code)).collect()
}

/// Waits until a Service is a ClusterIP Service with that address, and has all that a Service of ours has.
#[track_caller]
fn await_back(kubectl: &Kubectl, before: &Value) {
    let name = text(before, "/metadata/name");
    let wanted = |service: &Value| {
        let spec = |pointer: &str| service.pointer(pointer) == before.pointer(pointer);
        ["/spec/type", "/spec/clusterIP", "/spec/clusterIPs", "/spec/ports", "/spec/selector", "/metadata/labels"]
            .into_iter()
            .all(spec)
            && service["metadata"]["deletionTimestamp"].is_null()
    };
    kubectl.wait_until(&["service", name], SOON, |found| found.first().is_some_and(wanted));
}

#[test]
fn services_that_became_aliases_come_back_at_their_addresses_without_a_refused_request() {
    let (_namespace, kubectl) = sandbox("alias");
    create_ready(&kubectl, &set("w", 2, "log", 2), "w");
    let pods = pods(&kubectl);
    for name in ["w-1", "w-1-hs", "w"] {
        let before = kubectl.get_json(&["service", name]);
        for _ in 0..2 {
            kubectl.ok(&["patch", "service", name, "--type=merge", "-p", &alias()]);
            await_back(&kubectl, &before);
        }
    }
    await_ready(&kubectl, "w");
    assert_eq!(refused(&kubectl), Vec::<String>::new());
    assert_eq!(self::pods(&kubectl), pods);
}

#[test]
fn a_group_service_with_an_address_of_its_own_is_replaced_by_a_headless_one() {
    let (_namespace, kubectl) = sandbox("with-address");
    kubectl.create_stdin(&set("w", 1, "log", 1));
    let before = await_ready(&kubectl, "w");
    // The type goes there and back by hand: the way back gives it an address.
    let back = json!({"spec": {"type": "ClusterIP", "externalName": null, "ports": [{"port": 5678}]}}).to_string();
    kubectl.ok(&["annotate", "partitionset", "w", "k8s.atomix.io/paused=true"]);
    kubectl.wait_until(&["partitionset", "w"], SOON, |found| {
        condition(&found[0], "Ready").is_some_and(|ready| ready["reason"] == "Paused")
    });
    for name in ["w", "w-1-hs"] {
        kubectl.ok(&["patch", "service", name, "--type=merge", "-p", &alias()]);
        kubectl.ok(&["patch", "service", name, "--type=merge", "-p", &back]);
        assert_ne!(text(&kubectl.get_json(&["service", name]), "/spec/clusterIP"), "None");
    }
    kubectl.ok(&["annotate", "partitionset", "w", "k8s.atomix.io/paused-"]);
    for name in ["w", "w-1-hs"] {
        kubectl.wait_until(&["service", name], SOON, |found| {
            found.first().is_some_and(|service| text(service, "/spec/clusterIP") == "None")
        });
    }
    let after = await_ready(&kubectl, "w");
    assert_eq!(before["metadata"]["uid"], after["metadata"]["uid"]);
    assert_eq!(refused(&kubectl), Vec::<String>::new());
}

#[test]
fn services_that_lost_a_label_by_which_they_are_seen_keep_their_addresses() {
    let (_namespace, kubectl) = sandbox("relabelled");
    create_ready(&kubectl, &set("w", 1, "log", 1), "w");
    for (name, label) in [("w-1", "app"), ("w-1", "type"), ("w-1-hs", "app"), ("w", "k8s.atomix.io/group")] {
        let before = kubectl.get_json(&["service", name]);
        for value in [format!("{label}=other"), format!("{label}-")] {
            kubectl.ok(&["label", "service", name, "--overwrite", &value]);
            await_back(&kubectl, &before);
        }
        let after = kubectl.get_json(&["service", name]);
        assert_eq!(after["metadata"]["uid"], before["metadata"]["uid"], "{name} was never gone");
    }
    await_ready(&kubectl, "w");
    assert_eq!(refused(&kubectl), Vec::<String>::new());
}

/// The API server reports the deletion of a Service before it frees the address. A finalizer makes that moment as long as
/// the test needs it.
#[test]
fn a_deleted_service_comes_back_when_its_address_is_free_and_not_by_way_of_refused_requests() {
    let (_namespace, kubectl) = sandbox("freed");
    create_ready(&kubectl, &set("w", 1, "log", 1), "w");
    let before = kubectl.get_json(&["service", "w-1"]);
    let address = text(&before, "/spec/clusterIP");
    let finalizers = |held: Value| json!({"metadata": {"finalizers": held}}).to_string();
    kubectl.ok(&["patch", "ipaddress", address, "--type=merge", "-p", &finalizers(json!(["webhook-tests/held"]))]);
    kubectl.ok(&["delete", "service", "w-1", "--wait=false"]);
    let looked = || {
        let audit = harness().control_plane().audit();
        audit.iter().any(|entry| entry.verb == "get" && entry.resource == "ipaddresses" && entry.name == address)
    };
    let begun = Instant::now();
    while !looked() {
        assert!(begun.elapsed() < SOON, "the controller does not ask who has {address}");
        thread::sleep(Duration::from_millis(20));
    }
    kubectl.ok(&["patch", "ipaddress", address, "--type=merge", "-p", &finalizers(Value::Null)]);
    await_back(&kubectl, &before);
    assert_ne!(kubectl.get_json(&["service", "w-1"])["metadata"]["uid"], before["metadata"]["uid"]);
    await_ready(&kubectl, "w");
    assert_eq!(refused(&kubectl), Vec::<String>::new());
}

#[test]
fn tools_that_manage_the_set_do_not_manage_its_service() {
    let (_namespace, kubectl) = sandbox("tools");
    let of_tools = [
        "argocd.argoproj.io/instance",
        "kustomize.toolkit.fluxcd.io/name",
        "helm.toolkit.fluxcd.io/name",
        "helm.sh/chart",
        "app.kubernetes.io/part-of",
        "app.kubernetes.io/managed-by",
    ];
    let mut object = json!({
        "apiVersion": "k8s.atomix.io/v1alpha1", "kind": "PartitionSet", "metadata": {"name": "w", "labels": {"team": "theirs"}},
        "spec": {"partitions": 1, "template": {"spec": {"protocol": "log", "size": 1}}},
    });
    for label in of_tools {
        object["metadata"]["labels"][label] = "tool".into();
    }
    create_ready(&kubectl, &object.to_string(), "w");
    let service = kubectl.get_json(&["service", "w"]);
    let labels = &service["metadata"]["labels"];
    assert_eq!(labels["team"], "theirs");
    for label in of_tools {
        assert_ne!(labels[label], "tool", "{label}");
    }
    // Nor to anything else, also when the label comes later.
    let set = json!({"metadata": {"labels": {"argocd.argoproj.io/other": "tool", "team": "other"}}}).to_string();
    kubectl.ok(&["patch", "partitionset", "w", "--type=merge", "-p", &set]);
    kubectl.wait_until(&["service", "w"], SOON, |found| found[0]["metadata"]["labels"]["team"] == "other");
    await_ready(&kubectl, "w");
    let kinds = "partitions,configmaps,statefulsets,services,poddisruptionbudgets,endpointslices,endpoints,pods";
    for object in items(&kubectl, &[kinds]) {
        let labels = object["metadata"]["labels"].as_object().cloned().unwrap_or_default();
        let found: Vec<_> = labels.iter().filter(|(_, value)| *value == "tool").collect();
        assert!(found.is_empty(), "{} {}: {found:?}", text(&object, "/kind"), text(&object, "/metadata/name"));
    }
}

#[test]
fn the_ports_say_from_the_start_that_they_carry_grpc() {
    let (_namespace, kubectl) = sandbox("grpc-ports");
    create_ready(&kubectl, &set("w", 1, "log", 1), "w");
    for name in ["w", "w-1", "w-1-hs"] {
        let ports = kubectl.get_json(&["service", name])["spec"]["ports"].clone();
        let ports = ports.as_array().expect("ports");
        assert!(ports.iter().all(|port| port["appProtocol"] == "grpc"), "{name}: {ports:?}");
    }
    let slice = kubectl.get_json(&["endpointslice", "w-ipv4"]);
    assert_eq!(slice["ports"][0]["appProtocol"], "grpc");
    assert_eq!(kubectl.get_json(&["endpoints", "w"])["subsets"][0]["ports"][0]["appProtocol"], "grpc");
}

/// Uids of the pods.
fn pods(kubectl: &Kubectl) -> Vec<String> {
    items(kubectl, &["pods"]).iter().map(|pod| text(pod, "/metadata/uid").to_owned()).collect()
}

#[test]
fn a_policy_that_refuses_updates_of_services_is_quoted_until_it_goes() {
    let (_namespace, kubectl) = sandbox("service-refused");
    create_ready(&kubectl, &set("w", 1, "log", 1), "w");
    let policy = Policy::refusing(&kubectl, &[("", "services")], &["UPDATE"], "Forbidden", "not on a Friday");
    let edit = json!({"metadata": {"labels": {"team": "theirs"}}}).to_string();
    kubectl.ok(&["patch", "partitionset", "w", "--type=merge", "-p", &edit]);
    let found = kubectl.wait_until(&["partitionset", "w"], SOON, |found| {
        condition(&found[0], "Stalled").is_some_and(|stalled| stalled["reason"] == "Refused")
    });
    let stalled = condition(&found[0], "Stalled").expect("a condition");
    assert!(text(stalled, "/message").contains("not on a Friday"), "{stalled}");
    policy.remove();
    let found = kubectl.wait_until(&["partitionset", "w"], SOON, |found| is_ready(&found[0]));
    assert!(condition(&found[0], "Stalled").is_none());
    assert_eq!(kubectl.get_json(&["service", "w"])["metadata"]["labels"]["team"], "theirs");
}
