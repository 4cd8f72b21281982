//! Which groups are deleted over gRPC.

use atomix_controller::grpc::proto::protocols::raft::RaftProtocol;
use serde_json::{Value, json};
use tonic::Code;
use webhook_tests::{Kubectl, Namespace};

use crate::support::{Api, ground, raft, set};
use crate::wire::start;

fn make(kubectl: &Kubectl, name: &str) {
    kubectl.create_stdin(&set(name, &json!({"template": {"spec": {"protocol": "raft"}}})).to_string());
}

/// Checks that a group is not deleted, and that the answer says how it is.
#[track_caller]
fn kept(client: &Api, kubectl: &Kubectl, namespace: &Namespace, name: &str) {
    let refused = client.delete(name).expect_err("refused");
    assert_eq!(refused.code(), Code::PermissionDenied, "{refused:?}");
    let command = format!("`kubectl delete partitionset {name} -n {}`", namespace.name());
    for part in ["was not created over gRPC", &command, "--grpc-delete=any"] {
        assert!(refused.message().contains(part), "{refused:?}");
    }
    let stored = kubectl.get_json(&["partitionset", name]);
    assert!(stored["metadata"].get("deletionTimestamp").is_none(), "{stored}");
}

#[test]
fn a_group_that_was_not_created_over_grpc_is_deleted_with_kubectl() {
    let ground = ground();
    let namespace = Namespace::new(ground.control_plane.kubectl(), "owned");
    let (kubectl, [one, other]) = (namespace.kubectl(), ground.clients(namespace.name()));
    make(&kubectl, "k");
    // To create a group again that exists is no error, and does not make it one of gRPC's.
    one.create("k", raft(1, 1, &RaftProtocol::default())).expect("the same");
    kept(&one, &kubectl, &namespace, "k");
    kubectl.ok(&["delete", "partitionset", "k"]);
    assert_eq!(one.delete("k").expect_err("gone").code(), Code::NotFound);

    // A group of gRPC's is one however it is edited, on every replica; a copy of its YAML is none.
    one.create("g", raft(1, 1, &RaftProtocol::default())).expect("created");
    kubectl.ok(&["annotate", "partitionset", "g", "example.org/edited=yes"]);
    kubectl.ok(&["scale", "partitionset", "g", "--replicas=2"]);
    let applied = set("g", &json!({"partitions": 2, "template": {"spec": {"protocol": "raft"}}})).to_string();
    kubectl.apply_stdin(&applied);
    let mut copy = kubectl.get_json(&["partitionset", "g"]);
    copy["metadata"]["name"] = "copy".into();
    for field in ["uid", "resourceVersion", "creationTimestamp", "generation"] {
        copy["metadata"].as_object_mut().expect("metadata").remove(field);
    }
    copy.as_object_mut().expect("an object").remove("status");
    kubectl.create_stdin(&copy.to_string());
    kept(&other, &kubectl, &namespace, "copy");
    other.delete("g").expect("deleted");
    kubectl.fails(&["get", "partitionset", "g"]);

    // Without the record of its creation a group is not known to be one of gRPC's.
    one.create("cleared", raft(1, 1, &RaftProtocol::default())).expect("created");
    let clear: Value = json!([{"op": "replace", "path": "/metadata/managedFields", "value": [{}]}]);
    kubectl.ok(&["patch", "partitionset", "cleared", "--type=json", "-p", &clear.to_string()]);
    kept(&one, &kubectl, &namespace, "cleared");
}

#[test]
fn the_flag_lets_clients_delete_every_group() {
    let controller = start(&["--grpc-delete=any"]);
    let namespace = Namespace::new(ground().control_plane.kubectl(), "anyone");
    let (kubectl, client) = (namespace.kubectl(), Api::new(controller.grpc_addr(), namespace.name()));
    make(&kubectl, "k");
    client.delete("k").expect("deleted");
    kubectl.fails(&["get", "partitionset", "k"]);
}
