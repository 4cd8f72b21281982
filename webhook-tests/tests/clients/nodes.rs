//! Real nodes, which read the files that the controller writes, and real clients, which find the nodes by what the
//! Atomix API says.

use std::net::Ipv4Addr;
use std::path::Path;

use serde_json::{Value, json};
use webhook_tests::{Kubectl, binaries, loopback_address, text};

use crate::pod::{Node, Pod};
use crate::support::{HOST, PORT, SOON, atomix, cluster, run, sandbox};

/// Starts the only member of partition 1 of a group as a kubelet would, but for the image: `program` with the
/// arguments of the StatefulSet's container, and the partition's ConfigMap where the container has it. Returns when it
/// is ready; `address` is that of the partition's Service.
pub fn start(kubectl: &Kubectl, group: &str, program: &Path, address: Ipv4Addr) -> Node {
    let (set, pod) = (format!("{group}-1"), format!("{group}-1-0"));
    let found = kubectl.wait_until(&["pods", &pod], SOON, |pods| !pods.is_empty());
    let spec = &found[0]["spec"];
    let container = &spec["containers"][0];
    let names = [
        format!("{set}.{}.svc.cluster.local", kubectl.namespace()),
        format!("{pod}.{set}-hs.{}.svc.cluster.local", kubectl.namespace()),
    ];
    let files = Pod::new(&pod, &[program], &names.each_ref().map(|name| (address, name.as_str())));

    let volume = spec["volumes"].as_array().expect("volumes").iter().find(|volume| !volume["configMap"].is_null());
    let volume = volume.expect("a volume of a ConfigMap");
    let mounts = container["volumeMounts"].as_array().expect("mounts");
    let mount = mounts.iter().find(|mount| mount["name"] == volume["name"]).expect("a mount of that volume");
    let config = kubectl.get_json(&["configmap", text(volume, "/configMap/name")]);
    for (name, content) in config["data"].as_object().expect("files") {
        files.write(&format!("{}/{name}", text(mount, "/mountPath")), content.as_str().expect("text"));
    }

    let mut arguments = vec!["node".to_owned()];
    for argument in container["args"].as_array().expect("arguments") {
        arguments.push(expanded(argument.as_str().expect("an argument"), container, &pod));
    }
    let ready = container.pointer("/readinessProbe/exec/command").and_then(Value::as_array).expect("a command");
    assert_eq!(ready[0], "stat");
    let program = program.file_name().expect("a name").to_string_lossy();
    Node::start(&files, &program, &arguments, ready[1].as_str().expect("a file"))
}

/// An argument with its variables, all of which are the pod's name.
fn expanded(argument: &str, container: &Value, pod: &str) -> String {
    let variables = container["env"].as_array().expect("variables").iter();
    variables
        .filter(|variable| text(variable, "/valueFrom/fieldRef/fieldPath") == "metadata.name")
        .fold(argument.to_owned(), |argument, variable| {
            argument.replace(&format!("$({})", text(variable, "/name")), pod)
        })
}

/// Runs a node of a group's only member, and a client of the same program that takes a lock. The client knows the name
/// of the controller and the group's, no more.
fn lock(kubectl: &Kubectl, group: &str, program: &Path) -> Value {
    let (namespace, address) = (kubectl.namespace(), loopback_address());
    let _node = start(kubectl, group, program, address);
    let partition = format!("{group}-1.{namespace}.svc.cluster.local");
    let pod = Pod::new("client", &[program], &[(cluster().address, HOST), (address, &partition)]);
    let name = program.file_name().expect("a name").to_string_lossy();
    let mut command = pod.command(&name);
    command.args(["lock", &format!("{HOST}:{PORT}"), namespace, group, "first"]);
    serde_json::from_str(&run(&mut command)).expect("JSON")
}

/// That the lock was taken, and given back.
#[track_caller]
fn assert_locked(result: &Value) {
    assert!(result["version"].as_u64().is_some_and(|version| version > 0), "{result}");
    assert_eq!((&result["locked"], &result["unlocked"]), (&json!(true), &json!(true)));
}

#[test]
fn a_client_of_2019_takes_a_lock_of_a_node_of_2019() {
    let (namespace, kubectl) = sandbox("autumn");
    let options = r#"{"electionTimeout": "2.5s", "heartbeatInterval": "0.5s", "storage": {"level": "MAPPED"}}"#;
    atomix("create", &[namespace.name(), "raft", "1", "1", "raft", options]);
    let program = binaries::atomix_2019().expect("Atomix of 2019");
    assert_locked(&lock(&kubectl, "raft", program));
}

#[test]
fn a_client_of_2020_takes_a_lock_of_a_node_of_2020() {
    let (_namespace, kubectl) = sandbox("january");
    // Nodes of that time have two ports. That is not for clients to say.
    kubectl.create_stdin(
        "apiVersion: k8s.atomix.io/v1alpha1\n\
         kind: PartitionSet\n\
         metadata: {name: split}\n\
         spec: {template: {metadata: {annotations: {k8s.atomix.io/member-ports: split}}, spec: {protocol: raft}}}\n",
    );
    let program = binaries::atomix_2020().expect("Atomix of 2020");
    assert_locked(&lock(&kubectl, "split", program));
}
