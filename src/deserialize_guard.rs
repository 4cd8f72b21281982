//! An object that may not be readable: one bad object must not hide the others of a list or a watch.
//!
//! kube's `DeserializeGuard` does the same with two copies of the whole object in memory, which costs more than everything
//! else that is done with an event. This one keeps the text until the object is read.

use std::borrow::Cow;

use kube::Resource;
use kube::core::{ObjectMeta, PartialObjectMeta};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// An object, or why it cannot be read.
#[derive(Clone, Debug)]
pub(crate) struct DeserializeGuard<K>(pub(crate) Result<K, Unreadable>);

/// An object that cannot be read.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{error}")]
pub(crate) struct Unreadable {
    pub(crate) error: String,
    pub(crate) metadata: ObjectMeta,
}

impl<'de, K: DeserializeOwned> Deserialize<'de> for DeserializeGuard<K> {
    /// # Errors
    /// If not even the metadata can be read, or with a deserialiser other than that of JSON text.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Box::<RawValue>::deserialize(deserializer)?;
        serde_json::from_str(text.get())
            .map(Ok)
            .or_else(|error| {
                let object: PartialObjectMeta<()> =
                    serde_json::from_str(text.get()).map_err(serde::de::Error::custom)?;
                Ok(Err(Unreadable { error: error.to_string(), metadata: object.metadata }))
            })
            .map(Self)
    }
}

impl<K: Resource> Resource for DeserializeGuard<K> {
    type DynamicType = K::DynamicType;
    type Scope = K::Scope;

    fn kind(kind: &K::DynamicType) -> Cow<'_, str> {
        K::kind(kind)
    }

    fn group(kind: &K::DynamicType) -> Cow<'_, str> {
        K::group(kind)
    }

    fn version(kind: &K::DynamicType) -> Cow<'_, str> {
        K::version(kind)
    }

    fn plural(kind: &K::DynamicType) -> Cow<'_, str> {
        K::plural(kind)
    }

    fn meta(&self) -> &ObjectMeta {
        self.0.as_ref().map_or_else(|unreadable| &unreadable.metadata, K::meta)
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        self.0.as_mut().map_or_else(|unreadable| &mut unreadable.metadata, K::meta_mut)
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::ResourceExt;
    use kube::core::{ObjectList, WatchEvent};

    use super::*;

    const GOOD: &str = r#"{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "good"}, "data": {"k": "v"}}"#;
    const BAD: &str = r#"{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "bad"}, "data": ["k", "v"]}"#;

    #[test]
    fn a_list_with_an_unreadable_object_has_the_others() {
        let list = format!(r#"{{"kind": "ConfigMapList", "apiVersion": "v1", "items": [{BAD}, {GOOD}]}}"#);
        let list: ObjectList<DeserializeGuard<ConfigMap>> = serde_json::from_str(&list).unwrap();
        let names: Vec<(String, bool)> = list.items.iter().map(|item| (item.name_any(), item.0.is_ok())).collect();
        assert_eq!(names, [("bad".to_owned(), false), ("good".to_owned(), true)]);
        let error = list.items[0].0.as_ref().unwrap_err().to_string();
        assert!(error.contains("map"), "{error}");
    }

    #[test]
    fn an_event_about_an_unreadable_object_names_it() {
        for (object, name) in [(BAD, "bad"), (GOOD, "good")] {
            let event = format!(r#"{{"type": "MODIFIED", "object": {object}}}"#);
            match serde_json::from_slice(event.as_bytes()).unwrap() {
                WatchEvent::<DeserializeGuard<ConfigMap>>::Modified(object) => assert_eq!(object.name_any(), name),
                other => panic!("{other:?}"),
            }
        }
    }
}
