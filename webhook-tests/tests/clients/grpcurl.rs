//! grpcurl, which knows of the API only what the server tells it.

use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::de::IoRead;
use serde_json::{Deserializer, StreamDeserializer, Value, json};
use webhook_tests::binaries;

use crate::support::{SOON, cluster, run, sandbox};

const SERVICE: &str = "atomix.controller.ControllerService";

/// Runs grpcurl against the controller: `arguments server what`.
#[track_caller]
fn grpcurl(arguments: &[&str], what: &[&str]) -> String {
    let program = binaries::grpcurl().expect("grpcurl");
    run(Command::new(program).arg("-plaintext").args(arguments).arg(cluster().server()).args(what))
}

/// A call with a request in JSON.
#[track_caller]
fn call(method: &str, request: &Value) -> Value {
    let answer = grpcurl(&["-d", &request.to_string()], &[method]);
    serde_json::from_str(&answer).unwrap_or_else(|error| panic!("{error}: {answer}"))
}

#[test]
fn the_server_shows_its_services() {
    let listed = grpcurl(&[], &["list"]);
    for service in [SERVICE, "grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection"] {
        assert!(listed.lines().any(|line| line == service), "{listed}");
    }
    let methods = grpcurl(&[], &["list", SERVICE]);
    let methods: Vec<&str> = methods.lines().filter_map(|line| line.strip_prefix(SERVICE)).collect();
    assert_eq!(methods, [".CreatePartitionGroup", ".DeletePartitionGroup", ".EnterElection", ".GetPartitionGroups"]);
    let described = grpcurl(&[], &["describe", &format!("{SERVICE}.EnterElection")]);
    let stream = "rpc EnterElection ( .atomix.controller.PartitionElectionRequest ) returns \
                  ( stream .atomix.controller.PartitionElectionResponse );";
    assert!(described.contains(stream), "{described}");
}

#[test]
fn the_server_says_that_it_is_healthy() {
    for service in ["", SERVICE] {
        assert_eq!(call("grpc.health.v1.Health/Check", &json!({"service": service})), json!({"status": "SERVING"}));
    }
}

#[test]
fn a_group_can_be_made_with_no_more_than_json() {
    let (namespace, _kubectl) = sandbox("json");
    let id = json!({"name": "events", "namespace": namespace.name()});
    let spec = json!({"partitions": 2, "partitionSize": 3, "protocol": {
        "@type": "type.googleapis.com/atomix.protocols.backup.BackupProtocol", "memberGroupStrategy": "RACK_AWARE"
    }});
    let method = |name: &str| format!("{SERVICE}/{name}");
    assert_eq!(call(&method("CreatePartitionGroup"), &json!({"id": id, "spec": spec})), json!({}));
    let host = |id: u32| format!("events-{id}.{}.svc.cluster.local", namespace.name());
    let partition = |id: u32| json!({"partitionId": id, "endpoints": [{"host": host(id), "port": 5678}]});
    let group = json!({"id": id, "spec": spec, "partitions": [partition(1), partition(2)]});
    let all = json!({"id": {"namespace": namespace.name()}});
    assert_eq!(call(&method("GetPartitionGroups"), &all), json!({"groups": [group]}));
    assert_eq!(call(&method("DeletePartitionGroup"), &json!({"id": id})), json!({}));
    assert_eq!(call(&method("GetPartitionGroups"), &all), json!({}));
}

/// A stream of the terms that a candidate hears of. It gives up after a minute, and ends when it is dropped.
struct Candidate {
    grpcurl: Child,
    terms: StreamDeserializer<'static, IoRead<ChildStdout>, Value>,
}

impl Candidate {
    fn enter(namespace: &str, member: &str) -> Self {
        let group = json!({"name": "elected", "namespace": namespace});
        let request = json!({"partitionId": {"partition": 1, "group": group}, "member": member});
        let mut grpcurl = Command::new(binaries::grpcurl().expect("grpcurl"))
            .args(["-plaintext", "-max-time", "60", "-d", &request.to_string(), &cluster().server()])
            .arg(format!("{SERVICE}/EnterElection"))
            .stdout(Stdio::piped())
            .spawn()
            .expect("grpcurl");
        let output = grpcurl.stdout.take().expect("its output");
        Self { grpcurl, terms: Deserializer::from_reader(output).into_iter() }
    }

    /// The next that it hears.
    #[track_caller]
    fn next(&mut self) -> Value {
        let answer = self.terms.next().expect("a term before the minute is over").expect("JSON");
        answer["term"].clone()
    }
}

impl Drop for Candidate {
    fn drop(&mut self) {
        let _ = (self.grpcurl.kill(), self.grpcurl.wait());
    }
}

#[test]
fn the_first_candidate_is_the_primary_until_it_leaves() {
    let (namespace, kubectl) = sandbox("elected");
    kubectl.create_stdin(
        "apiVersion: k8s.atomix.io/v1alpha1\n\
         kind: PartitionSet\n\
         metadata: {name: elected}\n\
         spec: {template: {spec: {protocol: backup, size: 2, image: 'example.org/backup:1'}}}\n",
    );
    kubectl.wait_until(&["partition", "elected-1"], SOON, |partitions| !partitions.is_empty());
    // Numbers of 64 bits are text in the JSON of protobuf.
    let term =
        |term: &str, candidates: &[&str]| json!({"term": term, "primary": candidates[0], "candidates": candidates});
    let mut first = Candidate::enter(namespace.name(), "elected-1-1");
    assert_eq!(first.next(), term("1", &["elected-1-1"]));
    let mut second = Candidate::enter(namespace.name(), "elected-1-0");
    let both = term("1", &["elected-1-1", "elected-1-0"]);
    assert_eq!((first.next(), second.next()), (both.clone(), both));
    drop(first);
    assert_eq!(second.next(), term("2", &["elected-1-0"]));
}
