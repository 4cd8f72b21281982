//! The comparison of what is wanted with what is stored.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::Value;

use super::hash::hash_of_value;
use super::merge;
use crate::api::labels::{self, annotations};
use crate::controller::metadata::Labels;
use crate::store::cached::Ignored;
use crate::store::fields::{self, FieldSet, metadata_field};
use crate::store::{Cached, Kind};

/// An object that should be there.
#[derive(Clone, Debug)]
pub(crate) struct Desired<K> {
    /// What is compared with the stored object and put back where that lacks it.
    pub(crate) object: K,
    /// What is written as well where the stored object has nothing in its place, and other programs may change: the
    /// address of a new Service, for instance. Null if there is no such thing.
    pub(crate) initial: Value,
    /// Whether it is known to have existed: then it is looked for before it is created.
    pub(crate) existed: bool,
    /// Labels that earlier versions of this controller gave it. They go when this version first writes it.
    pub(crate) obsolete_labels: Labels,
}

impl<K> From<K> for Desired<K> {
    fn from(object: K) -> Self {
        Self { object, initial: Value::Null, existed: false, obsolete_labels: Labels::new() }
    }
}

impl<K: Kind> Desired<K> {
    /// The same with fields for others to change.
    pub(crate) fn with_initial(self, initial: Value) -> Self {
        Self { initial, ..self }
    }

    /// What is wanted, as JSON.
    ///
    /// # Errors
    /// None in practice: the types have only string keys.
    pub(crate) fn wanted(&self) -> serde_json::Result<Value> {
        serde_json::to_value(&self.object)
    }

    /// Whether a stored object has all that is wanted, but for what it leaves to others.
    pub(crate) fn is_met_by(&self, known: &Cached<K::Facts>) -> bool {
        let missing = |wanted| missing::<K>(&wanted, &known.fields, known.ignored.as_ref());
        self.wanted().is_ok_and(|wanted| missing(wanted).is_empty())
    }

    /// Whether a stored object without a controller is this one: it has our name, and the labels by which all objects
    /// of a set are known. It was orphaned, or restored from a backup.
    pub(crate) fn is_known_by(&self, stored: &FieldSet) -> bool {
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
pub(crate) fn fields_of<K: Kind>(object: &K) -> Vec<u32> {
    // The types have only string keys: there is no way not to be JSON.
    serde_json::to_value(object).map(|object| fields::hashes(&object, &K::COMPARISON)).unwrap_or_default()
}

/// The paths of what a stored object lacks of what is wanted. Fields that were left to others count again when something
/// else is wanted: the policy that sets them may be gone, or may let the new value pass.
pub(crate) fn missing<K: Kind>(wanted: &Value, stored: &FieldSet, ignored: Option<&Ignored>) -> Vec<String> {
    let mut missing = fields::missing(wanted, &K::COMPARISON, stored);
    if let Some(ignored) = ignored.filter(|ignored| !missing.is_empty() && *ignored.wanted == *hash_of_value(wanted)) {
        missing.retain(|path| !ignored.contains(path));
    }
    missing
}

/// Removes from an object that is adopted what is only true of its former owner: generations of another set say nothing
/// of when this one got it.
pub(crate) fn forget_former_owner(stored: &mut Value) {
    if let Some(annotations) = stored.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut) {
        annotations.remove(annotations::SET_GENERATION);
    }
}

/// `wanted` with its initial fields, as it is created.
pub(crate) fn creation(wanted: &Value, initial: &Value) -> Value {
    let mut object = wanted.clone();
    merge::fill(&mut object, initial, "");
    object
}

/// An annotation of an object in JSON.
pub(crate) fn annotation<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    object.get("metadata")?.get("annotations")?.get(key)?.as_str()
}

/// Records in `metadata` which of its labels were copied from the set, so that they go when the set has them no longer.
pub(crate) fn record_copied_labels(metadata: &mut ObjectMeta, copied: &Labels) {
    let keys = copied.keys().filter(|key| !labels::RESERVED.contains(&key.as_str())).map(String::as_str);
    let keys: Vec<&str> = keys.collect();
    if !keys.is_empty() {
        let annotations = metadata.annotations.get_or_insert_default();
        annotations.insert(annotations::COPIED_LABELS.to_owned(), keys.join(","));
    }
}

/// Whether nothing but annotations that the controller keeps on its own objects is missing: then no other program has
/// changed anything.
pub(crate) fn is_bookkeeping(missing: &[String]) -> bool {
    let notes = [annotations::POD_TEMPLATE_HASH, annotations::COPIED_LABELS, labels::GROUP_OF];
    missing.iter().all(|path| notes.iter().any(|note| path.ends_with(note)))
}
