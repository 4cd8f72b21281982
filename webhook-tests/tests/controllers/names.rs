//! Nothing is written for, or named after, an object that another client has made under a name of the set's.

use std::time::Duration;

use serde_json::{Value, json};
use webhook_tests::{Kubectl, text};

use crate::support::objects::{of_group, of_partition};
use crate::support::{SOON, addresses, await_ready, condition, create_ready, is_ready, items, sandbox, set};

/// How long a name may be free before the controller has taken it.
const AT_MOST: Duration = Duration::from_secs(60);

/// A Service of another owner, with pods of its own.
pub fn foreign_service(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
        "spec": {"selector": {"app": "theirs"}, "ports": [{"name": "http", "port": 80}]},
    })
}

/// A headless Service of another owner, whose endpoints they write by themselves.
fn foreign_headless_service(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
        "spec": {"clusterIP": "None", "ports": [{"name": "http", "port": 80}]},
    })
}

/// Waits until an object says that a name has another owner.
#[track_caller]
pub fn await_collision(kubectl: &Kubectl, kind: &str, name: &str, wanted: &str) {
    kubectl.wait_until(&[kind, name], SOON, |found| {
        let stalled = found.first().and_then(|found| condition(found, "Stalled"));
        stalled
            .is_some_and(|stalled| stalled["reason"] == "NameCollision" && text(stalled, "/message").contains(wanted))
    });
}

/// Puts a foreign object in the place of one of a set's, which is paused meanwhile.
#[track_caller]
pub fn replaced_by_a_foreign(kubectl: &Kubectl, set: &str, kind: &str, name: &str, foreign: &Value) {
    pause(kubectl, set);
    kubectl.ok(&["delete", kind, name]);
    kubectl.create_stdin(&foreign.to_string());
    kubectl.ok(&["annotate", "partitionset", set, "k8s.atomix.io/paused-"]);
}

#[track_caller]
fn pause(kubectl: &Kubectl, set: &str) {
    kubectl.ok(&["annotate", "partitionset", set, "k8s.atomix.io/paused=true"]);
    kubectl.wait_until(&["partitionset", set], SOON, |found| {
        condition(&found[0], "Ready").is_some_and(|ready| ready["reason"] == "Paused")
    });
}

#[track_caller]
fn await_ready_within(kubectl: &Kubectl, most: Duration) {
    kubectl.wait_until(&["partitionset", "w"], most, |found| is_ready(&found[0]));
}

/// What this controller has published under the name of set `w`.
fn published(kubectl: &Kubectl) -> Vec<String> {
    let objects = items(kubectl, &["endpointslices,endpoints"]);
    let owned = objects.iter().filter(|object| object["metadata"]["ownerReferences"][0]["kind"] == "PartitionSet");
    owned.map(|object| format!("{} {}", text(object, "/kind"), text(object, "/metadata/name"))).collect()
}

#[track_caller]
fn nothing_is_published_under_a_foreign_service(prefix: &str, foreign: &Value) {
    let (_namespace, kubectl) = sandbox(prefix);
    kubectl.create_stdin(&foreign.to_string());
    kubectl.create_stdin(&set("w", 2, "log", 1));
    await_collision(&kubectl, "partitionset", "w", r#"Service "w" exists and has no owner"#);
    // All else is there: only the name is missing.
    kubectl.wait_until(&["partitions"], SOON, |found| found.len() == 2 && found.iter().all(is_ready));
    await_collision(&kubectl, "partitionset", "w", r#"Service "w" exists and has no owner"#);
    assert_eq!(published(&kubectl), [""; 0]);
    assert_eq!(kubectl.get_json(&["service", "w"])["spec"]["selector"], foreign["spec"]["selector"]);

    kubectl.ok(&["delete", "service", "w"]);
    await_ready_within(&kubectl, AT_MOST);
    assert_eq!(published(&kubectl), ["EndpointSlice w-ipv4", "Endpoints w"]);
}

#[test]
fn nothing_is_published_under_a_foreign_service_with_a_selector() {
    nothing_is_published_under_a_foreign_service("foreign-service", &foreign_service("w"));
}

#[test]
fn nothing_is_published_under_a_foreign_headless_service() {
    nothing_is_published_under_a_foreign_service("foreign-headless", &foreign_headless_service("w"));
}

#[test]
fn what_was_published_goes_when_the_group_service_becomes_somebody_elses() {
    let (_namespace, kubectl) = sandbox("replaced");
    create_ready(&kubectl, &set("w", 2, "log", 1), "w");
    assert_eq!(published(&kubectl), ["EndpointSlice w-ipv4", "Endpoints w"]);
    replaced_by_a_foreign(&kubectl, "w", "service", "w", &foreign_headless_service("w"));
    await_collision(&kubectl, "partitionset", "w", r#"Service "w" exists and has no owner"#);
    for (kind, name) in [("endpointslice", "w-ipv4"), ("endpoints", "w")] {
        kubectl.wait_until(&[kind, name], SOON, <[Value]>::is_empty);
    }

    kubectl.ok(&["delete", "service", "w"]);
    await_ready_within(&kubectl, AT_MOST);
    assert_eq!(published(&kubectl), ["EndpointSlice w-ipv4", "Endpoints w"]);
}

#[track_caller]
fn no_stateful_set_names(prefix: &str, kind: &str, foreign: &Value) {
    let (_namespace, kubectl) = sandbox(prefix);
    let name = text(foreign, "/metadata/name");
    kubectl.create_stdin(&foreign.to_string());
    kubectl.create_stdin(&set("w", 1, "log", 1));
    await_collision(
        &kubectl,
        "partition",
        "w-1",
        &format!("{} {name:?} exists and has no owner", text(foreign, "/kind")),
    );
    assert!(items(&kubectl, &["statefulsets"]).is_empty());
    kubectl.ok(&["delete", kind, name]);
    await_ready_within(&kubectl, AT_MOST);
}

#[test]
fn no_stateful_set_names_a_foreign_headless_service() {
    no_stateful_set_names("foreign-hs", "service", &foreign_service("w-1-hs"));
}

#[test]
fn no_stateful_set_mounts_a_foreign_config_map() {
    let foreign =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "w-1-config"}, "data": {"a": "b"}});
    no_stateful_set_names("foreign-config", "configmap", &foreign);
}

#[test]
fn what_kubernetes_published_for_a_selector_that_was_put_on_the_group_service_goes_with_it() {
    let (_namespace, kubectl) = sandbox("selector");
    create_ready(&kubectl, &set("w", 2, "log", 1), "w");
    let before = kubectl.get_json(&["endpoints", "w"])["subsets"].clone();
    let of_kubernetes =
        "kubernetes.io/service-name=w,endpointslice.kubernetes.io/managed-by!=atomix-controller.k8s.atomix.io";
    // The controller would have removed it before Kubernetes had seen it.
    pause(&kubectl, "w");
    let selector = json!({"spec": {
        "selector": {"app": "atomix"}, "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack",
    }});
    kubectl.ok(&["patch", "service", "w", "--type=merge", "-p", &selector.to_string()]);
    kubectl.wait_until(&["endpointslices", "-l", of_kubernetes], SOON, |found| {
        found.iter().any(|slice| addresses(slice).len() == 2)
    });
    kubectl.wait_until(&["endpoints", "w"], SOON, |found| found[0]["subsets"] != before);

    kubectl.ok(&["annotate", "partitionset", "w", "k8s.atomix.io/paused-"]);
    kubectl.wait_until(&["service", "w"], SOON, |found| found[0]["spec"]["selector"].is_null());
    kubectl.wait_until(&["endpointslices", "-l", of_kubernetes], SOON, <[Value]>::is_empty);
    kubectl.wait_until(&["endpoints", "w"], SOON, |found| {
        found[0]["subsets"] == before
            && found[0]["metadata"]["labels"]["endpointslice.kubernetes.io/skip-mirror"] == "true"
    });
    await_ready(&kubectl, "w");
    assert_eq!(addresses(&kubectl.get_json(&["endpointslice", "w-ipv4"])).len(), 2);
}

#[test]
fn a_slice_of_a_stranger_under_the_name_of_the_group_service_is_reported_until_it_goes() {
    let (_namespace, kubectl) = sandbox("stranger");
    create_ready(&kubectl, &set("w", 1, "log", 1), "w");
    for (name, manager) in [("of-a-mesh", Some("mesh.example.com")), ("of-a-hand", None)] {
        let mut slice = json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {"name": name, "labels": {"kubernetes.io/service-name": "w"}},
            "addressType": "IPv4", "endpoints": [{"addresses": ["10.1.2.3"]}], "ports": [{"name": "api", "port": 5678}],
        });
        if let Some(manager) = manager {
            slice["metadata"]["labels"]["endpointslice.kubernetes.io/managed-by"] = manager.into();
        }
        kubectl.create_stdin(&slice.to_string());
        let found = kubectl.wait_until(&["partitionset", "w"], SOON, |found| {
            condition(&found[0], "Stalled").is_some_and(|stalled| stalled["reason"] == "ForeignEndpoints")
        });
        let message = text(condition(&found[0], "Stalled").expect("a condition"), "/message");
        assert!(message.contains(&format!("; EndpointSlice {name:?} belongs to Service \"w\"")), "{message}");
        assert!(!is_ready(&found[0]));
        kubectl.ok(&["delete", "endpointslice", name]);
        let now = await_ready(&kubectl, "w");
        assert!(condition(&now, "Stalled").is_none());
    }
}

#[test]
fn an_object_with_all_labels_and_another_controller_is_never_adopted() {
    let (_namespace, kubectl) = sandbox("another-owner");
    create_ready(&kubectl, &set("w", 1, "raft", 3), "w");
    let owner = kubectl.get_json(&["serviceaccount", "default"]);
    let theirs = json!([{
        "apiVersion": "v1", "kind": "ServiceAccount", "name": "default", "uid": owner["metadata"]["uid"], "controller": true,
    }]);
    let objects = of_group("w").into_iter().chain(of_partition("w", 1).into_iter().skip(1));
    let objects: Vec<_> = objects.filter(|(kind, _)| *kind != "statefulset").collect();
    for (kind, name) in objects {
        let mut foreign = kubectl.get_json(&[kind, &name]);
        foreign["metadata"] = json!({
            "name": name, "labels": foreign["metadata"]["labels"], "annotations": foreign["metadata"]["annotations"],
            "ownerReferences": theirs,
        });
        // The address is given anew; that there is none stays.
        if let Some(spec) = foreign.get_mut("spec").and_then(Value::as_object_mut) {
            spec.retain(|field, value| !field.starts_with("clusterIP") || value == "None");
        }
        replaced_by_a_foreign(&kubectl, "w", kind, &name, &foreign);
        let found = if foreign["metadata"]["labels"]["partition"].is_null() {
            ("partitionset", "w")
        } else {
            ("partition", "w-1")
        };
        let said = format!("{} {name:?} exists and belongs to ServiceAccount \"default\"", text(&foreign, "/kind"));
        await_collision(&kubectl, found.0, found.1, &said);
        assert_eq!(kubectl.get_json(&[kind, &name])["metadata"]["ownerReferences"], theirs, "{kind} {name}");
        kubectl.ok(&["delete", kind, &name]);
        await_ready(&kubectl, "w");
    }
}
