//! Groups while something is broken: the API server away, a replica dead, a set that cannot be read.

use std::time::{Duration, Instant};

use atomix_controller::grpc::proto::protocols::raft::RaftProtocol;
use serde_json::json;
use tonic::Code;
use webhook_tests::{ControlPlane, Installation, Kubectl, Link, Namespace, StartOptions};

use crate::support::{Api, SOON, raft, set};

/// Longest that a request may wait for an API server that is away.
const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn discovery_goes_on_without_the_api_server_and_no_group_is_lost_with_a_replica() {
    let control_plane = ControlPlane::start().expect("a control plane");
    let installation = Installation::new(&control_plane).expect("an installation");
    let link = Link::new(&control_plane).expect("a link");
    let options = StartOptions { server: Some(link.server()), ..StartOptions::default() };
    let mut replicas = installation.replicas_with(3, options, Duration::ZERO).expect("replicas");
    let namespace = Namespace::new(control_plane.kubectl(), "away");
    let kubectl = namespace.kubectl();
    let clients: Vec<Api> =
        replicas.controllers.iter().map(|replica| Api::new(replica.grpc_addr(), namespace.name())).collect();
    let group = || raft(2, 1, &RaftProtocol::default());

    for (index, client) in clients.iter().enumerate() {
        client.create(&format!("g{index}"), group()).expect("created");
    }
    for client in &clients {
        client.await_names(&["g0", "g1", "g2"]);
    }
    clients[2].create("own", group()).expect("created");
    link.cut();
    kubectl.create_stdin(&set("unseen", &json!({"template": {"spec": {"protocol": "raft"}}})).to_string());
    kubectl.ok(&["delete", "partitionset", "g1"]);
    let client = &clients[2];
    let begun = Instant::now();
    assert_eq!(client.names(), ["g0", "g1", "g2", "own"], "what it knew and what it made");
    assert_eq!(client.get("g0").expect("known")[0].partitions.len(), 2);
    for refused in [
        client.get("unseen").expect_err("not in the cache"),
        client.create("new", group()).expect_err("no API server"),
        client.delete("g0").expect_err("no API server"),
    ] {
        assert_eq!(refused.code(), Code::Unavailable, "{refused:?}");
        assert!(refused.message().contains("API server"), "{refused:?}");
    }
    assert!(begun.elapsed() < PATIENCE, "{:?}", begun.elapsed());
    link.mend();
    for client in &clients {
        client.await_names(&["g0", "g2", "own", "unseen"]);
    }
    client.create("new", group()).expect("created");

    // Each dies with the answer on its way; what it created is there on the others.
    for (index, name) in [(0, "last"), (1, "least")] {
        clients[index].create(name, group()).expect("created");
        replicas.controllers[index].kill().expect("killed");
        assert_eq!(client.get(name).expect("an answer").len(), 1, "{name}");
        assert!(client.names().contains(&name.to_owned()));
    }
    kubectl.wait_until(&["partitions"], SOON, |found| found.len() == 11);
}

#[test]
fn a_set_that_is_broken_does_not_disturb_the_others() {
    let control_plane = ControlPlane::start().expect("a control plane");
    let installation = Installation::new(&control_plane).expect("an installation");
    let options = StartOptions { arguments: vec!["--grpc-delete=any".to_owned()], ..StartOptions::default() };
    let mut controller = installation.start_with(options).expect("a controller");
    controller.wait_ready().expect("a ready controller");
    let namespace = Namespace::new(control_plane.kubectl(), "broken");
    let kubectl = namespace.kubectl();
    let client = Api::new(controller.grpc_addr(), namespace.name());
    client.create("good", raft(2, 1, &RaftProtocol::default())).expect("created");

    let admin = control_plane.kubectl();
    for kind in ["mutatingwebhookconfiguration", "validatingwebhookconfiguration"] {
        admin.ok(&["delete", kind, "atomix-controller"]);
    }
    let anything = json!([
        {"op": "remove", "path": "/spec/versions/0/subresources/scale"},
        {"op": "replace", "path": "/spec/versions/0/schema/openAPIV3Schema",
            "value": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
    ]);
    let crd = "partitionsets.k8s.atomix.io";
    admin.ok(&["patch", "crd", crd, "--type=json", "-p", &anything.to_string()]);
    let template = |protocol: &str| json!({"spec": {"protocol": protocol}});
    store(&kubectl, &set("unreadable", &json!({"partitions": "six", "template": template("raft")})).to_string());
    for (name, spec) in [
        ("empty", json!({})),
        ("none", json!({"partitions": 0, "template": template("raft")})),
        ("paxos", json!({"template": template("paxos")})),
        ("many", json!({"partitions": 100_000, "template": template("log")})),
        ("odd-options", json!({"partitions": 2, "template": {"spec": {"protocol": "log", "config": "["}}})),
    ] {
        store(&kubectl, &set(name, &spec).to_string());
    }
    store(&kubectl, &set("z-good", &json!({"template": template("log")})).to_string());
    client.await_names(&["good", "odd-options", "z-good"]);

    let odd = client.get("odd-options").expect("an answer").remove(0);
    assert_eq!(odd.partitions.len(), 2);
    let protocol = odd.spec.and_then(|spec| spec.protocol).expect("a protocol");
    assert!(protocol.type_url.ends_with("/atomix.protocols.log.LogProtocol") && protocol.value.is_empty());
    for (name, why) in [
        ("none", "spec.partitions: Invalid value: 0"),
        ("paxos", "spec.template.spec.protocol: Unsupported value: \"paxos\""),
        ("many", "spec.partitions: Invalid value: 100000"),
        ("unreadable", "six"),
        ("empty", "template"),
    ] {
        let refused = client.get(name).expect_err(name);
        assert_eq!(refused.code(), Code::FailedPrecondition, "{refused:?}");
        assert!(refused.message().contains(why), "{refused:?}");
    }
    let taken = client.create("none", raft(1, 1, &RaftProtocol::default())).expect_err("another one");
    assert_eq!(taken.code(), Code::AlreadyExists, "{taken:?}");
    for name in ["none", "unreadable", "good"] {
        client.delete(name).expect("deleted");
        kubectl.fails(&["get", "partitionset", name]);
    }
    assert_eq!(client.names(), ["odd-options", "z-good"]);
}

/// Stores a set as soon as the schema that forbids it is gone.
fn store(kubectl: &Kubectl, set: &str) {
    let begun = Instant::now();
    loop {
        let output = kubectl.feed(&["create", "--validate=false", "-f", "-"], set);
        if output.status.success() {
            return;
        }
        assert!(begun.elapsed() < SOON, "{}", output.stderr);
    }
}
