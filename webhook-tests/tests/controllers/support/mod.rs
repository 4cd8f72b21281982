//! What the tests of the controllers have in common.

pub mod objects;
pub mod whole;

use std::time::Duration;

use serde_json::Value;
use webhook_tests::{Kubectl, Namespace, harness};

/// Longer than anything here takes on a busy machine.
pub const SOON: Duration = Duration::from_secs(90);

/// A namespace on the shared control plane, where a controller runs, and a
/// kubectl in it.
pub fn sandbox(prefix: &str) -> (Namespace, Kubectl) {
    let namespace = Namespace::new(harness().kubectl(), prefix);
    let kubectl = namespace.kubectl();
    (namespace, kubectl)
}

/// A PartitionSet, as YAML.
pub fn set(name: &str, partitions: u32, protocol: &str, size: u32) -> String {
    format!(
        "apiVersion: k8s.atomix.io/v1alpha1\n\
         kind: PartitionSet\n\
         metadata: {{name: {name}}}\n\
         spec: {{partitions: {partitions}, template: {{spec: {{protocol: {protocol}, size: {size}}}}}}}\n"
    )
}

/// Waits until a set is Ready for the spec that it has now.
#[track_caller]
pub fn await_ready(kubectl: &Kubectl, set: &str) -> Value {
    let found = kubectl.wait_until(&["partitionsets", set], SOON, |sets| sets.first().is_some_and(is_ready));
    found[0].clone()
}

/// Creates a set and waits until it is Ready.
#[track_caller]
pub fn create_ready(kubectl: &Kubectl, yaml: &str, name: &str) -> Value {
    kubectl.create_stdin(yaml);
    await_ready(kubectl, name)
}

/// Whether an object is Ready for its current generation.
pub fn is_ready(object: &Value) -> bool {
    condition(object, "Ready").is_some_and(|ready| {
        ready["status"] == "True" && ready["observedGeneration"] == object["metadata"]["generation"]
    })
}

/// The condition of a type.
pub fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    object["status"]["conditions"].as_array()?.iter().find(|condition| condition["type"] == kind)
}

/// The text at a JSON pointer, or nothing.
pub fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// The resource version as a number: all resources of one etcd count together.
pub fn version(object: &Value) -> u64 {
    text(object, "/metadata/resourceVersion").parse().expect("a resource version")
}

/// The items of `kubectl get <kind>` in the kubectl's namespace.
pub fn items(kubectl: &Kubectl, arguments: &[&str]) -> Vec<Value> {
    kubectl.get_json(arguments)["items"].as_array().expect("a list").clone()
}

/// The addresses of an EndpointSlice, in its order.
pub fn addresses(slice: &Value) -> Vec<&str> {
    let endpoints = slice["endpoints"].as_array().into_iter().flatten();
    endpoints.filter_map(|endpoint| endpoint["addresses"][0].as_str()).collect()
}
