//! What the controller wants of an object, and whether a stored one is so.
//!
//! The controller owns the fields that it sets and no others: what it wants is put back when it is changed, and what
//! others add stays. See docs/operations.md, "Healing".

mod fields;
mod merge;
mod replacement;

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::Value;

pub use self::fields::{FieldSet, Rules, content_hash, metadata_field, stable_hash};
use self::replacement::POD_TEMPLATE;
pub use self::replacement::replacement;
use super::objects::{Child, Known, Labels};
use crate::api::labels::{self, annotations};

/// An object that should be there.
#[derive(Clone, Debug)]
pub struct Desired<K> {
    /// What is compared with the stored object and put back where that lacks it.
    pub object: K,
    /// What is written as well where the stored object has nothing in its place, and is anybody's to change: the
    /// address of a new Service, for instance. Null if there is no such thing.
    pub initial: Value,
    /// Whether it is known to have existed: then it is looked for before it is created.
    pub existed: bool,
    /// Labels that earlier versions of this controller gave it. They go when this version first writes it.
    pub obsolete_labels: Labels,
}

impl<K> From<K> for Desired<K> {
    fn from(object: K) -> Self {
        Self { object, initial: Value::Null, existed: false, obsolete_labels: Labels::new() }
    }
}

impl<K: Child> Desired<K> {
    /// The same with fields for others to change.
    #[must_use]
    pub fn with_initial(self, initial: Value) -> Self {
        Self { initial, ..self }
    }

    /// What is wanted, as JSON.
    ///
    /// # Errors
    /// None in practice: the types have only string keys.
    pub(super) fn wanted(&self) -> serde_json::Result<Value> {
        serde_json::to_value(&self.object)
    }

    /// Whether a stored object has all that is wanted, but for what it leaves to others.
    pub(super) fn is_met_by(&self, known: &Known<K::Facts>) -> bool {
        let missing = |wanted| missing::<K>(&wanted, &known.fields, known.ignored.as_ref());
        self.wanted().is_ok_and(|wanted| missing(wanted).is_empty())
    }

    /// Whether a stored object without a controller is this one: it has our name, and the labels by which all objects
    /// of a set are known. It was orphaned, or restored from a backup.
    pub(super) fn is_known_by(&self, stored: &FieldSet) -> bool {
        let own = self.object.meta();
        let labels = own.labels.iter().flatten().filter(|(key, _)| labels::RESERVED.contains(&key.as_str()));
        let annotations = own.annotations.iter().flatten().filter(|(key, _)| *key == annotations::CONTROLLER);
        let labels = labels.map(|(key, value)| metadata_field("labels", key, value));
        let fields = labels.chain(annotations.map(|(key, value)| metadata_field("annotations", key, value)));
        let fields: Vec<u32> = fields.collect();
        !fields.is_empty() && fields.into_iter().all(|field| stored.contains(field))
    }
}

/// The fields of what is wanted, as [`FieldSet`] knows them.
#[must_use]
pub fn fields_of<K: Child>(object: &K) -> Vec<u32> {
    // The types have only string keys: there is no way not to be JSON.
    serde_json::to_value(object).map(|object| fields::hashes(&object, &K::RULES)).unwrap_or_default()
}

/// Fields that a stored object leaves to others, by its annotations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ignored {
    /// Their paths, separated by commas.
    fields: Box<str>,
    /// Hash of what was wanted of the object when they were left.
    wanted: Box<str>,
}

impl Ignored {
    /// Reads them off the annotations of a stored object.
    #[must_use]
    pub fn of(annotations: &BTreeMap<String, String>) -> Option<Self> {
        let fields = annotations.get(annotations::IGNORED_FIELDS)?.as_str().into();
        let wanted = annotations.get(annotations::IGNORED_FIELDS_OF).map(String::as_str).unwrap_or_default().into();
        Some(Self { fields, wanted })
    }

    fn contains(&self, path: &str) -> bool {
        self.fields.split(',').any(|field| {
            path == field || field == POD_TEMPLATE && path.strip_prefix(field).is_some_and(|rest| rest.starts_with('.'))
        })
    }
}

/// The paths of what a stored object lacks of what is wanted. Fields that were left to others count again when something
/// else is wanted: the policy that sets them may be gone, or may let the new value pass.
#[must_use]
pub fn missing<K: Child>(wanted: &Value, stored: &FieldSet, ignored: Option<&Ignored>) -> Vec<String> {
    let mut missing = fields::missing(wanted, &K::RULES, stored);
    if let Some(ignored) = ignored.filter(|ignored| !missing.is_empty() && *ignored.wanted == *stable_hash(wanted)) {
        missing.retain(|path| !ignored.contains(path));
    }
    missing
}

/// Removes from an object that is adopted what is only true of its former owner: generations of another set say nothing
/// of when this one got it.
pub fn forget_former_owner(stored: &mut Value) {
    if let Some(annotations) = stored.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut) {
        annotations.remove(annotations::SET_GENERATION);
    }
}

/// `wanted` with its initial fields, as it is created.
#[must_use]
pub fn creation(wanted: &Value, initial: &Value) -> Value {
    let mut object = wanted.clone();
    merge::fill(&mut object, initial, "");
    object
}

/// An annotation of an object in JSON.
#[must_use]
pub fn annotation<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    object.get("metadata")?.get("annotations")?.get(key)?.as_str()
}

/// The labels that were copied to a stored object from its set, by its annotation.
pub(super) fn copied_labels(stored: &Value) -> Vec<String> {
    let keys = annotation(stored, annotations::COPIED_LABELS).unwrap_or_default().split(',');
    keys.filter(|key| !key.is_empty()).map(str::to_owned).collect()
}

/// Records in `metadata` which of its labels were copied from the set, so that they go when the set has them no longer.
pub(super) fn record_copied_labels(metadata: &mut ObjectMeta, copied: &Labels) {
    let keys = copied.keys().filter(|key| !labels::RESERVED.contains(&key.as_str())).map(String::as_str);
    let keys: Vec<&str> = keys.collect();
    if !keys.is_empty() {
        let annotations = metadata.annotations.get_or_insert_default();
        annotations.insert(annotations::COPIED_LABELS.to_owned(), keys.join(","));
    }
}

/// Whether nothing but what this controller notes down on its own objects is missing: then nobody has changed anything.
#[must_use]
pub fn is_bookkeeping(missing: &[String]) -> bool {
    let notes = [annotations::POD_TEMPLATE_HASH, annotations::COPIED_LABELS, labels::GROUP_OF];
    missing.iter().all(|path| notes.iter().any(|note| path.ends_with(note)))
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
