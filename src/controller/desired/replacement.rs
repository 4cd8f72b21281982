//! What a stored object is replaced by: what is wanted of it, and what others added.

use serde_json::{Map, Value};

use super::hash::hash_of_value;
use super::merge;
use super::wanted::{Desired, annotation};
use crate::api::labels::{self, annotations};
use crate::store::Kind;
use crate::store::cached::POD_TEMPLATE;

/// What replaces `stored`. `ignored` are fields to leave to others from now on.
pub(crate) fn replacement<K: Kind>(desired: &Desired<K>, stored: &Value, wanted: &Value, ignored: &[String]) -> Value {
    let mut object = stored.clone();
    remove_obsolete_labels(&mut object, desired);
    remove_copies::<K>(&mut object, stored);
    let mut ignored = ignored.to_vec();
    if keeps_template(stored, wanted) {
        ignored.push(POD_TEMPLATE.to_owned());
    } else if is_new_template(stored, wanted)
        && let Some(spec) = object.pointer_mut("/spec/template/spec")
    {
        // What is no longer wanted of the pods goes as well.
        *spec = Value::Null;
    }
    let mut object = merge::merged(&object, &without_template(wanted, &ignored), &desired.initial, &K::COMPARISON);
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        // The API server keeps its own record of who set what.
        metadata.remove("managedFields");
        note_ignored(metadata, ignored, wanted);
    }
    object
}

/// Labels that earlier versions of this controller gave an object, which it has until this version writes it.
fn remove_obsolete_labels<K>(object: &mut Value, desired: &Desired<K>) {
    if let Some(labels) = object.pointer_mut("/metadata/labels").and_then(Value::as_object_mut)
        && !labels.contains_key(labels::GROUP_OF)
    {
        labels.retain(|key, value| desired.obsolete_labels.get(key).map(String::as_str) != value.as_str());
    }
}

/// Labels and annotations that were copied from the set. Those that are still wanted come back.
fn remove_copies<K: Kind>(object: &mut Value, stored: &Value) {
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
}

/// Whether another pod template is wanted than when the object was last written.
fn is_new_template(stored: &Value, wanted: &Value) -> bool {
    let written = annotation(stored, annotations::POD_TEMPLATE_HASH);
    written.is_some() && written != annotation(wanted, annotations::POD_TEMPLATE_HASH)
}

/// Whether a StatefulSet keeps the pod template that it has: the project's first controller, and no version of this one,
/// made it, and nothing else has been wanted of its pods since it was taken over. So no pod is replaced for that.
fn keeps_template(stored: &Value, wanted: &Value) -> bool {
    if annotation(wanted, annotations::POD_TEMPLATE_HASH).is_none() || is_new_template(stored, wanted) {
        return false;
    }
    let fields = annotation(stored, annotations::IGNORED_FIELDS).unwrap_or_default();
    // Both notes are the controller's; one alone was written by hand.
    let is_noted = annotation(stored, annotations::IGNORED_FIELDS_OF).is_some();
    let was_kept = is_noted && fields.split(',').any(|field| field == POD_TEMPLATE);
    let labelled = stored.pointer("/metadata/labels").and_then(|labels| labels.get(labels::MANAGED_BY));
    let is_of_first_controller = labelled.is_none() && annotation(stored, annotations::POD_TEMPLATE_HASH).is_none();
    was_kept || is_of_first_controller
}

fn without_template(wanted: &Value, ignored: &[String]) -> Value {
    let mut wanted = wanted.clone();
    if ignored.iter().any(|field| field == POD_TEMPLATE)
        && let Some(spec) = wanted.get_mut("spec").and_then(Value::as_object_mut)
    {
        spec.remove("template");
    }
    wanted
}

/// Notes which fields are left to others. What a policy sets is found out anew by each write: the policy may be gone.
fn note_ignored(metadata: &mut Map<String, Value>, mut ignored: Vec<String>, wanted: &Value) {
    let annotations = metadata.entry("annotations").or_insert_with(|| Value::Object(Map::new()));
    let Some(annotations) = annotations.as_object_mut() else { return };
    annotations.remove(annotations::IGNORED_FIELDS);
    annotations.remove(annotations::IGNORED_FIELDS_OF);
    ignored.sort_unstable();
    ignored.dedup();
    if !ignored.is_empty() {
        annotations.insert(annotations::IGNORED_FIELDS.to_owned(), ignored.join(",").into());
        annotations.insert(annotations::IGNORED_FIELDS_OF.to_owned(), hash_of_value(wanted).into());
    }
}
