//! What the controllers promise where Services can have addresses of both families.

use std::collections::BTreeSet;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use webhook_tests::{ControlPlane, Controller, Installation, Kubectl, Namespace, Watch, is_ready, items, text};

/// Longer than anything here takes on a busy machine.
const SOON: Duration = Duration::from_secs(180);

/// A cluster with both families, and the controller on it.
struct Cluster {
    control_plane: ControlPlane,
    _controller: Controller,
}

static CLUSTER: LazyLock<Cluster> = LazyLock::new(|| {
    let control_plane = ControlPlane::start_dual_stack().expect("a control plane");
    let mut controller =
        Installation::new(&control_plane).and_then(|installed| installed.start()).expect("a controller");
    controller.wait_ready().expect("a ready controller");
    Cluster { control_plane, _controller: controller }
});

fn sandbox(prefix: &str) -> (Namespace, Kubectl) {
    let namespace = Namespace::new(CLUSTER.control_plane.kubectl(), prefix);
    let kubectl = namespace.kubectl();
    (namespace, kubectl)
}

/// Creates the set `w` with these fields in its template, and waits until it is Ready.
#[track_caller]
fn create_ready(kubectl: &Kubectl, partitions: u32, fields: &Value) {
    let mut set = json!({
        "apiVersion": "k8s.atomix.io/v1alpha1", "kind": "PartitionSet", "metadata": {"name": "w"},
        "spec": {"partitions": partitions, "template": {"spec": {"protocol": "log"}}},
    });
    for (name, value) in fields.as_object().expect("fields") {
        set["spec"]["template"]["spec"][name] = value.clone();
    }
    kubectl.create_stdin(&set.to_string());
    await_ready(kubectl);
}

#[track_caller]
fn await_ready(kubectl: &Kubectl) {
    kubectl.wait_until(&["partitionset", "w"], SOON, |sets| is_ready(&sets[0]));
}

/// The cluster IPs of a Service.
fn cluster_ips(service: &Value) -> Vec<&str> {
    service["spec"]["clusterIPs"].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

/// The addresses that a slice publishes, with the names of their partitions.
fn endpoints(slice: &Value) -> Vec<(&str, &str)> {
    let endpoints = slice["endpoints"].as_array().into_iter().flatten();
    endpoints.map(|endpoint| (text(endpoint, "/hostname"), text(endpoint, "/addresses/0"))).collect()
}

/// Checks that every Service of `w`'s partitions has both families, and that both slices name the addresses of all.
#[track_caller]
fn assert_both_families(kubectl: &Kubectl, partitions: usize) {
    let slices = ["w-ipv4", "w-ipv6"].map(|name| kubectl.get_json(&["endpointslice", name]));
    let [ipv4, ipv6] = slices.each_ref().map(endpoints);
    assert_eq!((ipv4.len(), ipv6.len()), (partitions, partitions), "{slices:#?}");
    for (index, (of_ipv4, of_ipv6)) in (1..).zip(ipv4.into_iter().zip(ipv6)) {
        let name = format!("w-{index}");
        let service = kubectl.get_json(&["service", &name]);
        assert_eq!(cluster_ips(&service), [of_ipv4.1, of_ipv6.1], "{service:#}");
        assert!(!of_ipv4.1.contains(':') && of_ipv6.1.contains(':'));
        assert_eq!((of_ipv4.0, of_ipv6.0), (&*name, &*name));
        let headless = kubectl.get_json(&["service", &format!("{name}-hs")]);
        assert_eq!(headless["spec"]["ipFamilies"], json!(["IPv4", "IPv6"]), "{headless:#}");
    }
}

/// How many endpoints a slice had, from each of its events up to the one that has as many as are wanted.
#[track_caller]
fn lengths_until(slices: &mut Watch, wanted: usize) -> BTreeSet<usize> {
    let (deadline, mut lengths) = (Instant::now() + SOON, BTreeSet::new());
    while !lengths.contains(&wanted) {
        let event = slices.next(deadline).expect("a slice of that length");
        if event.object.is_object() {
            lengths.insert(endpoints(&event.object).len());
        }
    }
    lengths
}

#[test]
fn every_service_of_a_dual_stack_set_has_both_addresses_and_both_slices_are_complete() {
    let (_namespace, kubectl) = sandbox("dual");
    create_ready(&kubectl, 3, &json!({"ipFamilyPolicy": "PreferDualStack"}));
    assert_both_families(&kubectl, 3);
}

#[test]
fn the_first_family_is_the_one_that_the_set_names_first() {
    let (_namespace, kubectl) = sandbox("ipv6-first");
    create_ready(&kubectl, 2, &json!({"ipFamilyPolicy": "RequireDualStack", "ipFamilies": ["IPv6", "IPv4"]}));
    for service in ["w-1", "w-2", "w-1-hs", "w-2-hs"] {
        let service = kubectl.get_json(&["service", service]);
        assert_eq!(service["spec"]["ipFamilies"], json!(["IPv6", "IPv4"]));
    }
    let service = kubectl.get_json(&["service", "w-1"]);
    kubectl.ok(&["delete", "service", "w-1", "--wait=false"]);
    let again = await_anew(&kubectl, &service);
    assert_eq!(again["spec"]["clusterIPs"], service["spec"]["clusterIPs"]);
}

#[test]
fn a_set_can_have_ipv6_addresses_alone() {
    let (_namespace, kubectl) = sandbox("ipv6");
    create_ready(&kubectl, 2, &json!({"ipFamilies": ["IPv6"]}));
    assert_eq!(endpoints(&kubectl.get_json(&["endpointslice", "w-ipv6"])).len(), 2);
    let slices = items(&kubectl, &["endpointslices", "-l", "kubernetes.io/service-name=w"]);
    assert_eq!(slices.len(), 1);
}

#[test]
fn a_set_that_grows_keeps_its_ipv6_endpoints_and_gets_the_new_ones_in_one_write() {
    let (_namespace, kubectl) = sandbox("growing");
    create_ready(&kubectl, 2, &json!({"ipFamilyPolicy": "PreferDualStack"}));
    let mut slices = kubectl.watch(&["endpointslice", "w-ipv6"]);
    assert_eq!(lengths_until(&mut slices, 2), BTreeSet::from([2]));
    kubectl.ok(&["scale", "partitionset", "w", "--replicas=6"]);
    let lengths = lengths_until(&mut slices, 6);
    assert!(lengths.is_subset(&BTreeSet::from([2, 6])), "{lengths:?}");
    await_ready(&kubectl);
    assert_both_families(&kubectl, 6);
}

/// Waits until a Service has been made anew, and returns it.
#[track_caller]
fn await_anew(kubectl: &Kubectl, before: &Value) -> Value {
    let found = kubectl.wait_until(&["service", text(before, "/metadata/name")], SOON, |found| {
        found.first().is_some_and(|service| service["metadata"]["uid"] != before["metadata"]["uid"])
    });
    found[0].clone()
}

#[test]
fn a_deleted_service_comes_back_with_both_of_its_addresses() {
    let (_namespace, kubectl) = sandbox("deleted");
    create_ready(&kubectl, 2, &json!({"ipFamilyPolicy": "PreferDualStack"}));
    for name in ["w-1", "w-2", "w-1-hs"] {
        let before = kubectl.get_json(&["service", name]);
        kubectl.ok(&["delete", "service", name, "--wait=false"]);
        let after = await_anew(&kubectl, &before);
        for field in ["clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
            assert_eq!(after["spec"][field], before["spec"][field], "{field} of {name}");
        }
    }
    await_ready(&kubectl);
    assert_both_families(&kubectl, 2);
}

/// Makes Services dual-stack by hand.
fn make_dual_stack(kubectl: &Kubectl, services: &[&str]) {
    for service in services {
        kubectl.ok(&[
            "patch",
            "service",
            service,
            "--type=merge",
            "-p",
            r#"{"spec":{"ipFamilyPolicy":"PreferDualStack"}}"#,
        ]);
    }
}

#[test]
fn where_the_set_says_nothing_new_services_are_like_those_that_were_made_dual_stack_by_hand() {
    let (_namespace, kubectl) = sandbox("siblings");
    create_ready(&kubectl, 2, &json!({}));
    assert_eq!(cluster_ips(&kubectl.get_json(&["service", "w-1"])).len(), 1);
    make_dual_stack(&kubectl, &["w-1", "w-2", "w-1-hs", "w-2-hs"]);
    kubectl.wait_until(&["endpointslice", "w-ipv6"], SOON, |found| found.len() == 1);

    let mut slices = kubectl.watch(&["endpointslice", "w-ipv6"]);
    assert_eq!(lengths_until(&mut slices, 2), BTreeSet::from([2]));
    kubectl.ok(&["scale", "partitionset", "w", "--replicas=4"]);
    let lengths = lengths_until(&mut slices, 4);
    assert!(lengths.is_subset(&BTreeSet::from([2, 4])), "{lengths:?}");
    await_ready(&kubectl);
    assert_both_families(&kubectl, 4);

    // And one that is made anew is as it was.
    let before = kubectl.get_json(&["service", "w-1"]);
    kubectl.ok(&["delete", "service", "w-1", "--wait=false"]);
    assert_eq!(await_anew(&kubectl, &before)["spec"]["clusterIPs"], before["spec"]["clusterIPs"]);
}

#[test]
fn an_edited_policy_reaches_existing_services_and_replaces_no_pod() {
    let (_namespace, kubectl) = sandbox("edited");
    create_ready(&kubectl, 2, &json!({"protocol": "raft", "size": 3, "ipFamilyPolicy": "SingleStack"}));
    let pods =
        || -> Vec<Value> { items(&kubectl, &["pods"]).iter().map(|pod| pod["metadata"]["uid"].clone()).collect() };
    let (before, addresses) = (pods(), kubectl.get_json(&["service", "w-1"])["spec"]["clusterIP"].clone());
    let edit = json!({"spec": {"template": {"spec": {"ipFamilyPolicy": "PreferDualStack"}}}});
    kubectl.ok(&["patch", "partitionset", "w", "--type=merge", "-p", &edit.to_string()]);
    kubectl.wait_until(&["endpointslice", "w-ipv6"], SOON, |found| {
        found.first().is_some_and(|found| endpoints(found).len() == 2)
    });
    await_ready(&kubectl);
    assert_both_families(&kubectl, 2);
    assert_eq!(kubectl.get_json(&["service", "w-1"])["spec"]["clusterIP"], addresses);
    assert_eq!(pods(), before);

    // And back.
    let edit = json!({"spec": {"template": {"spec": {"ipFamilyPolicy": "SingleStack"}}}});
    kubectl.ok(&["patch", "partitionset", "w", "--type=merge", "-p", &edit.to_string()]);
    kubectl.wait_until(&["endpointslice", "w-ipv6"], SOON, <[Value]>::is_empty);
    await_ready(&kubectl);
    assert_eq!(kubectl.get_json(&["service", "w-1"])["spec"]["clusterIPs"], json!([addresses]));
    assert_eq!(pods(), before);
}
