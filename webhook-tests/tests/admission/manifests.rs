//! `PartitionSets` to begin with, and small changes of them.
//!
//! They are paused: whether a set may be written does not depend on what is built of it, and not building it leaves the
//! machine to kubectl.

use serde_json::{Map, Value, json};

const PAUSED: &str = "/metadata/annotations/k8s.atomix.io~1paused";

/// The seed document's set, with fewer and smaller partitions.
pub fn raft(name: &str) -> Value {
    set(name, json!({"partitions": 2, "template": {"spec": {"size": 3, "protocol": "raft"}}}))
}

/// A set whose partitions may change their size.
pub fn backup(name: &str) -> Value {
    set(name, json!({"partitions": 1, "template": {"spec": {"size": 2, "protocol": "backup", "image": "backup:1"}}}))
}

/// A set of any spec.
pub fn set(name: &str, spec: Value) -> Value {
    let empty = json!({"apiVersion": "k8s.atomix.io/v1alpha1", "kind": "PartitionSet", "metadata": {"name": name}});
    with(with(empty, PAUSED, json!("true")), "/spec", spec)
}

/// The set with the controller at work on it.
pub fn running(set: Value) -> Value {
    without(set, PAUSED)
}

/// The object with `value` at a pointer; parents that are missing are made.
pub fn with(mut object: Value, pointer: &str, value: Value) -> Value {
    let mut place = &mut object;
    for key in keys(pointer) {
        if !place.is_object() {
            *place = Value::Object(Map::new());
        }
        place = &mut place[key];
    }
    *place = value;
    object
}

/// The object without what stands at a pointer.
pub fn without(mut object: Value, pointer: &str) -> Value {
    let (parent, key) = pointer.rsplit_once('/').expect("a pointer");
    if let Some(parent) = object.pointer_mut(parent).and_then(Value::as_object_mut) {
        parent.remove(&unescaped(key));
    }
    object
}

fn keys(pointer: &str) -> impl Iterator<Item = String> {
    pointer.split('/').skip(1).map(unescaped)
}

fn unescaped(key: &str) -> String {
    key.replace("~1", "/").replace("~0", "~")
}
