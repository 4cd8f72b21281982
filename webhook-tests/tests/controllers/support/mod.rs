//! What the tests of the controllers have in common.

pub mod objects;
pub mod policy;
pub mod restart;
pub mod whole;

use std::time::Duration;

use serde_json::Value;
use webhook_tests::{Kubectl, Namespace, harness};
pub use webhook_tests::{condition, is_ready, items, text};

/// Longer than anything here takes on a busy machine. The disruption controller counts a pod as disrupted for two
/// minutes after its eviction if it did not see the pod go before another one of its name came.
pub const SOON: Duration = Duration::from_secs(300);

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

/// Steers a simulated pod: `ready`, `never-ready`, ...
pub fn stage(kubectl: &Kubectl, pod: &str, stage: &str) {
    kubectl.ok(&["annotate", "pod", pod, "--overwrite", &format!("webhook-tests.atomix.io/stage={stage}")]);
}

/// Creates a set and waits until it is Ready.
#[track_caller]
pub fn create_ready(kubectl: &Kubectl, yaml: &str, name: &str) -> Value {
    kubectl.create_stdin(yaml);
    await_ready(kubectl, name)
}

/// The resource version as a number: all resources of one etcd count together.
pub fn version(object: &Value) -> u64 {
    text(object, "/metadata/resourceVersion").parse().expect("a resource version")
}

/// The addresses of an EndpointSlice, in its order.
pub fn addresses(slice: &Value) -> Vec<&str> {
    let endpoints = slice["endpoints"].as_array().into_iter().flatten();
    endpoints.filter_map(|endpoint| endpoint["addresses"][0].as_str()).collect()
}
