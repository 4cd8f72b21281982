use std::path::Path;

use serde_json::{Value, json};

use crate::kubectl::Kubectl;

/// The condition of a type.
#[must_use]
pub fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    object["status"]["conditions"].as_array()?.iter().find(|condition| condition["type"] == kind)
}

/// Whether an object is Ready for its current generation.
#[must_use]
pub fn is_ready(object: &Value) -> bool {
    condition(object, "Ready").is_some_and(|ready| {
        ready["status"] == "True" && ready["observedGeneration"] == object["metadata"]["generation"]
    })
}

/// The text at a JSON pointer, or nothing.
#[must_use]
pub fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// The items of `kubectl get <arguments>`.
///
/// # Panics
///
/// If kubectl fails, or shows no list.
#[must_use]
pub fn items(kubectl: &Kubectl, arguments: &[&str]) -> Vec<Value> {
    kubectl.get_json(arguments)["items"].as_array().expect("a list").clone()
}

/// The annotation that agrees to shrink a set, as it is now, to so many partitions.
///
/// # Panics
///
/// If there is no such set.
#[must_use]
pub fn removal_consent(kubectl: &Kubectl, set: &str, partitions: u32) -> Value {
    let generation = &kubectl.get_json(&["partitionset", set])["metadata"]["generation"];
    json!({"k8s.atomix.io/allow-partition-removal": format!("{partitions}@{generation}")})
}

/// The objects of a manifest as the cluster has them, without what the API
/// server and the controllers write there.
///
/// # Panics
///
/// If kubectl fails.
#[must_use]
pub fn live(kubectl: &Kubectl, manifest: &Path) -> Vec<Value> {
    let written = [
        "/status",
        "/data",
        "/metadata/uid",
        "/metadata/resourceVersion",
        "/metadata/creationTimestamp",
        "/metadata/generation",
        "/metadata/managedFields",
        "/metadata/annotations/deployment.kubernetes.io~1revision",
        "/spec/clusterIP",
        "/spec/clusterIPs",
    ];
    let mut objects = items(kubectl, &["-f", &manifest.to_string_lossy()]);
    for object in &mut objects {
        for pointer in written {
            remove(object, pointer);
        }
        for webhook in 0..3 {
            remove(object, &format!("/webhooks/{webhook}/clientConfig/caBundle"));
        }
        if object["kind"] == "Lease" {
            remove(object, "/spec");
        }
        if object["metadata"]["annotations"] == json!({}) {
            remove(object, "/metadata/annotations");
        }
    }
    objects
}

/// Removes what a JSON pointer names, if it is there.
fn remove(object: &mut Value, pointer: &str) {
    let Some((parent, field)) = pointer.rsplit_once('/') else { return };
    if let Some(parent) = object.pointer_mut(parent).and_then(Value::as_object_mut) {
        parent.remove(&field.replace("~1", "/"));
    }
}
