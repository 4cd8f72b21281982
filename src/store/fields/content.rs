//! Values as they are compared: without regard to the order of lists, to what is empty, and to how a quantity is written.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

use serde_json::Value;

use crate::rules::quantity::Quantity;

pub(super) fn hash_of(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

pub(super) fn text(text: &str) -> u64 {
    hash_of(&text)
}

pub(super) fn leaf_content(value: &Value, field: &str, parent: &str) -> u64 {
    match value {
        _ if is_quantity(field, parent) => text(&quantity(value)),
        Value::String(value) => text(value),
        other => hash_of(&other.to_string()),
    }
}

/// A whole value without regard to the order of lists, and to what is empty.
pub(super) fn content(value: &Value, field: &str) -> u64 {
    match value {
        Value::Null => 0,
        Value::Object(fields) => fields.iter().filter(|(_, value)| !is_empty(value)).fold(0, |sum, (name, value)| {
            let value = if is_quantity(name, field) { text(&quantity(value)) } else { content(value, name) };
            sum.wrapping_add(hash_of(&(name, value)))
        }),
        Value::Array(values) => {
            values.iter().fold(0, |sum: u64, value| sum.wrapping_add(hash_of(&(1, content(value, field)))))
        }
        Value::String(value) if value.is_empty() => 0,
        Value::String(value) => text(value),
        other => hash_of(&other.to_string()),
    }
}

/// Whether a field is a map of texts, in which a key with an empty text counts as set.
pub(super) fn is_map_of_texts(field: &str) -> bool {
    matches!(field, "labels" | "annotations" | "matchLabels" | "nodeSelector" | "data")
}

/// Whether a value is equivalent to an absent one.
pub(crate) fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(values) => values.is_empty(),
        Value::Object(fields) => fields.values().all(is_empty),
        _ => false,
    }
}

fn is_quantity(field: &str, parent: &str) -> bool {
    matches!(parent, "limits" | "requests") || matches!(field, "divisor" | "sizeLimit")
}

fn quantity(value: &Value) -> String {
    let written = match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    Quantity::parse(&written).map_or(written, Quantity::canonical)
}

pub(crate) type KeyOf = fn(&Value) -> String;

/// How the elements of a list are distinguished, by the name of the field: Kubernetes' own merge keys.
pub(crate) fn merge_key(field: &str) -> Option<KeyOf> {
    let key: KeyOf = match field {
        "containers" | "initContainers" | "env" | "volumes" | "imagePullSecrets" => |value| string(value.get("name")),
        "volumeMounts" => |value| string(value.get("mountPath")),
        "ownerReferences" => |value| string(value.get("uid")),
        "volumeClaimTemplates" => |value| string(value.pointer("/metadata/name")),
        "ports" => |value| {
            let number = value.get("port").or_else(|| value.get("containerPort"));
            let protocol = value.get("protocol").and_then(Value::as_str).unwrap_or("TCP");
            format!("{}/{protocol}", string(number))
        },
        _ => return None,
    };
    Some(key)
}

/// Lists whose order has a meaning.
pub(super) fn is_ordered(field: &str) -> bool {
    matches!(field, "args" | "command")
}

fn string(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}
