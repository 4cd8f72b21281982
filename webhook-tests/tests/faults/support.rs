//! What these tests have in common.

use std::time::Duration;

use serde_json::{Value, json};
use webhook_tests::{Controller, Kubectl, is_ready};
pub use webhook_tests::{condition, items, text};

/// Longer than anything here takes on a busy machine.
pub const SOON: Duration = Duration::from_secs(300);

/// A PartitionSet of the log protocol.
pub fn set(name: &str, partitions: u32, size: u32) -> Value {
    json!({
        "apiVersion": "k8s.atomix.io/v1alpha1", "kind": "PartitionSet", "metadata": {"name": name},
        "spec": {"partitions": partitions, "template": {"spec": {"protocol": "log", "size": size}}},
    })
}

/// Waits until a set is Ready for the spec that it has now.
#[track_caller]
pub fn await_ready(kubectl: &Kubectl, set: &str) -> Value {
    let found = kubectl.wait_until(&["partitionset", set], SOON, |sets| sets.first().is_some_and(is_ready));
    found[0].clone()
}

/// The group's endpoints in both forms.
pub fn endpoints(kubectl: &Kubectl, set: &str) -> Vec<Value> {
    items(kubectl, &[&format!("endpointslices/{set}-ipv4"), &format!("endpoints/{set}")])
}

/// Whether `/readyz` says so.
pub fn says_ready(controller: &Controller) -> bool {
    controller.get("/readyz").is_ok_and(|response| response.status == 200)
}
