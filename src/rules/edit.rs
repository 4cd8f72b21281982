//! Changes that admission makes to a set before it is stored.

use std::borrow::Cow;

use serde_json::Value;

/// A change of one field.
#[derive(Clone, Debug, PartialEq)]
pub struct Edit {
    /// JSON pointer of the field.
    pub pointer: Cow<'static, str>,
    /// Its new value; none if the field is removed.
    pub value: Option<Value>,
}

impl Edit {
    /// Sets a field.
    pub(super) fn set(pointer: impl Into<Cow<'static, str>>, value: impl Into<Value>) -> Self {
        Self { pointer: pointer.into(), value: Some(value.into()) }
    }

    /// Removes a field.
    pub(super) fn remove(pointer: impl Into<Cow<'static, str>>) -> Self {
        Self { pointer: pointer.into(), value: None }
    }

    /// Makes the change. An object that lacks the parent of the field stays as it is.
    pub fn apply(&self, object: &mut Value) {
        let Some((parent, key)) = self.pointer.rsplit_once('/') else { return };
        let Some(fields) = object.pointer_mut(parent).and_then(Value::as_object_mut) else { return };
        let key = key.replace("~1", "/").replace("~0", "~");
        match &self.value {
            Some(value) => drop(fields.insert(key, value.clone())),
            None => drop(fields.remove(&key)),
        }
    }
}

/// The pointer of a field below the object at `parent`.
pub(super) fn pointer(parent: &str, key: &str) -> String {
    format!("{parent}/{}", key.replace('~', "~0").replace('/', "~1"))
}
