//! Reading an object field by field, so that one mistyped field does not hide what is wrong with the others.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::shape;
use super::violation::Violation;

/// Name of a JSON value's type in the API server's messages.
pub(super) fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        // Integers of the API server have 64 bits and a sign; a larger one is a number.
        Value::Number(number) if !number.is_i64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// The fields of one object of a manifest, and its path. A mistyped field reads as absent and is reported; `null` is
/// absent, as in the CRD schemas.
pub(super) struct Fields<'a> {
    path: String,
    map: Option<&'a Map<String, Value>>,
}

impl<'a> Fields<'a> {
    /// The fields of the outermost object.
    pub(super) fn root(object: &'a Value) -> Self {
        Self { path: String::new(), map: object.as_object() }
    }

    /// Path of a field of this object.
    pub(super) fn path(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    fn get(&self, key: &str) -> Option<&'a Value> {
        self.map?.get(key).filter(|value| !value.is_null())
    }

    fn read<T>(
        &self,
        key: &str,
        expected: &str,
        violations: &mut Vec<Violation>,
        read: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Option<T> {
        let value = self.get(key)?;
        let typed = read(value);
        if typed.is_none() {
            let detail = format!("must be {expected}");
            violations.push(Violation::mistyped(self.path(key), type_of(value), detail));
        }
        typed
    }

    /// An integer field.
    pub(super) fn integer(&self, key: &str, violations: &mut Vec<Violation>) -> Option<i64> {
        self.read(key, "an integer", violations, Value::as_i64)
    }

    /// A string field.
    pub(super) fn text(&self, key: &str, violations: &mut Vec<Violation>) -> Option<String> {
        self.read(key, "a string", violations, |value| value.as_str().map(ToOwned::to_owned))
    }

    /// A field that is an object; `None` if it is absent or none.
    pub(super) fn object(&self, key: &str, violations: &mut Vec<Violation>) -> Option<Self> {
        self.read(key, "an object", violations, |value| {
            value.as_object().map(|map| Self { path: self.path(key), map: Some(map) })
        })
    }

    /// Like [`Self::object`] for a field that must be there.
    pub(super) fn required_object(&self, key: &str, violations: &mut Vec<Violation>) -> Option<Self> {
        if self.get(key).is_none() && self.map.is_some() {
            violations.push(Violation::required(self.path(key), ""));
        }
        self.object(key, violations)
    }

    /// A field of one of Kubernetes' own types. Messages name types, never values: environment variables may be secret.
    pub(super) fn typed<T: DeserializeOwned>(&self, key: &str, violations: &mut Vec<Violation>) -> Option<T> {
        let value = self.get(key)?;
        match serde_path_to_error::deserialize(value) {
            Ok(typed) => Some(typed),
            Err(error) => {
                violations.push(self.unreadable(key, value, &error));
                None
            }
        }
    }

    /// Like [`Self::typed`] for a field of a template, whose schema requires more than its Rust type.
    pub(super) fn shaped<T: DeserializeOwned>(&self, key: &str, violations: &mut Vec<Violation>) -> Option<T> {
        if let Some(value) = self.get(key) {
            shape::check(key, value, &self.path(key), violations);
        }
        self.typed(key, violations)
    }

    fn unreadable(&self, key: &str, value: &Value, error: &serde_path_to_error::Error<serde_json::Error>) -> Violation {
        let (mut field, mut at) = (self.path(key), value);
        for segment in error.path() {
            use serde_path_to_error::Segment;
            let next = match segment {
                Segment::Seq { index } => {
                    field = format!("{field}[{index}]");
                    at.get(*index)
                }
                Segment::Map { key } => {
                    field = format!("{field}.{key}");
                    at.get(key)
                }
                Segment::Enum { .. } | Segment::Unknown => None,
            };
            let Some(next) = next else { break };
            at = next;
        }
        let message = error.inner().to_string();
        if let Some(missing) = message.strip_prefix("missing field `").and_then(|rest| rest.split('`').next()) {
            return Violation::required(format!("{field}.{missing}"), "");
        }
        let expected = match message.split_once(", expected ").map_or("another type", |(_, expected)| expected) {
            "i32" if at.is_i64() || at.is_u64() => "an integer of 32 bits",
            "i32" | "i64" => "an integer",
            "Quantity" => "a quantity, for instance 500m or 2Gi",
            // The name of a type.
            name if name.starts_with(|c: char| c.is_ascii_uppercase()) => "an object",
            expected => expected,
        };
        Violation::mistyped(field, type_of(at), format!("must be {expected}"))
    }
}
