//! What the controller wants of an object, and whether a stored one is so.
//!
//! The controller owns the fields that it sets and no others: what it wants is put back when it is changed, and what
//! others add stays. docs: README, "Healing".

mod fields;
mod merge;

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::Value;

pub use self::fields::{FieldSet, Rules, content_hash, metadata_field, stable_hash};
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

/// Whether the project's first controller, and no version of this one, made a stored object. Its StatefulSets are taken
/// over with the pod template that they have, so that no pod is replaced before the user wants something else of them.
fn is_of_first_controller(stored: &Value) -> bool {
    let labelled = stored.pointer("/metadata/labels").and_then(|labels| labels.get(labels::MANAGED_BY));
    labelled.is_none() && annotation(stored, annotations::POD_TEMPLATE_HASH).is_none()
}

/// The pod template of the StatefulSet, by path.
const POD_TEMPLATE: &str = "spec.template";

/// What replaces `stored`: what is wanted and what others added. `ignored` are further fields to leave to others.
#[must_use]
pub fn replacement<K: Child>(desired: &Desired<K>, stored: &Value, wanted: &Value, ignored: &[String]) -> Value {
    let mut object = stored.clone();
    if let Some(labels) = object.pointer_mut("/metadata/labels").and_then(Value::as_object_mut)
        && !labels.contains_key(labels::GROUP_OF)
    {
        labels.retain(|key, value| desired.obsolete_labels.get(key).map(String::as_str) != value.as_str());
    }
    for (map, keys) in K::copied_before(stored) {
        for parent in ["/metadata", "/spec/template/metadata"] {
            if let Some(fields) = object.pointer_mut(&format!("{parent}/{map}")).and_then(Value::as_object_mut) {
                fields.retain(|key, _| !keys.contains(key));
            }
        }
    }
    if let Some(annotations) = object.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut) {
        annotations.remove(annotations::COPIED_LABELS);
    }
    let mut ignored: Vec<String> = ignored.to_vec();
    let before = annotation(stored, annotations::POD_TEMPLATE_HASH);
    let template = annotation(wanted, annotations::POD_TEMPLATE_HASH);
    let is_new_template = before.is_some() && before != template;
    if is_new_template {
        // What is no longer wanted of the pods goes as well.
        if let Some(spec) = object.pointer_mut("/spec/template/spec") {
            *spec = Value::Null;
        }
    }
    // What a policy sets is found out anew by each write: the policy may be gone.
    let keeps_template = annotation(stored, annotations::IGNORED_FIELDS)
        .is_some_and(|fields| !is_new_template && fields.split(',').any(|field| field == POD_TEMPLATE));
    if keeps_template || template.is_some() && is_of_first_controller(stored) {
        ignored.push(POD_TEMPLATE.to_owned());
    }
    let hash = stable_hash(wanted);
    let mut wanted = wanted.clone();
    if ignored.iter().any(|field| field == POD_TEMPLATE)
        && let Some(spec) = wanted.get_mut("spec").and_then(Value::as_object_mut)
    {
        spec.remove("template");
    }
    let mut object = merge::merged(&object, &wanted, &desired.initial, &K::RULES);
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        // The API server keeps its own record of who set what.
        metadata.remove("managedFields");
        let annotations = metadata.entry("annotations").or_insert_with(|| Value::Object(serde_json::Map::new()));
        if let Some(annotations) = annotations.as_object_mut() {
            annotations.remove(annotations::IGNORED_FIELDS);
            annotations.remove(annotations::IGNORED_FIELDS_OF);
            ignored.sort_unstable();
            ignored.dedup();
            if !ignored.is_empty() {
                annotations.insert(annotations::IGNORED_FIELDS.to_owned(), ignored.join(",").into());
                annotations.insert(annotations::IGNORED_FIELDS_OF.to_owned(), hash.into());
            }
        }
    }
    object
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
