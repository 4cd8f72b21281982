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
