//! Normalises a manifest to the form of the schema before it is validated.
//!
//! A `null` means that the field is absent. The API server drops it from what is created, replaced or patched, and not
//! from what is applied by server-side apply, which it then refuses. A quantity may be a number with a fraction in the
//! API of pods (`cpu: 0.5`), and has to be a text in a custom resource. An empty text means that the field is left out, as
//! it does in Kubernetes' own objects; where a schema lists the values that there are, it is removed.

use std::borrow::Cow;

use serde_json::Value;

use super::edit::{Edit, pointer};
use super::shape;

const SPEC: &str = "/spec";
const TEMPLATE: &str = "/spec/template/spec";
/// Fields that have one of a list of values, and that may be left out.
const CHOICES: [&str; 5] = [
    "/spec/persistentVolumeClaimRetentionPolicy/whenDeleted",
    "/spec/persistentVolumeClaimRetentionPolicy/whenScaled",
    "/spec/template/spec/imagePullPolicy",
    "/spec/template/spec/pullPolicy",
    "/spec/template/spec/ipFamilyPolicy",
];

/// The set in the form of the schema, and the edits for it.
pub(super) fn normalise(set: &Value) -> (Cow<'_, Value>, Vec<Edit>) {
    let mut edits = Vec::new();
    if let Some(spec) = set.pointer(SPEC) {
        nulls(spec, SPEC, &mut edits);
    }
    if let Some(template) = set.pointer(TEMPLATE) {
        shape::fractions(template, TEMPLATE, &mut edits);
    }
    let empty = CHOICES.into_iter().filter(|choice| set.pointer(choice).is_some_and(|value| *value == ""));
    edits.extend(empty.map(Edit::remove));
    if edits.is_empty() {
        return (Cow::Borrowed(set), edits);
    }
    let mut set = set.clone();
    for edit in &edits {
        edit.apply(&mut set);
    }
    (Cow::Owned(set), edits)
}

/// Only fields are removed: an item of a list that is `null` is no absent item.
fn nulls(value: &Value, path: &str, edits: &mut Vec<Edit>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                let path = pointer(path, key);
                if value.is_null() {
                    edits.push(Edit::remove(path));
                } else {
                    nulls(value, &path, edits);
                }
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                nulls(item, &format!("{path}/{index}"), edits);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn nulls_of_every_depth_go_and_numbers_become_quantities() {
        let set = json!({"metadata": {"labels": null}, "spec": {"partitions": null, "template": {
            "metadata": {"annotations": {"a/b~c": null, "d": "e"}},
            "spec": {
                "env": [{"name": "A", "value": null}, null],
                "resources": {"requests": {"cpu": 0.5, "memory": 1}, "limits": {"cpu": 1.0}},
                "storageSize": 1.5,
                "pullPolicy": "",
                "image": "",
            },
        }}});
        let (normal, edits) = normalise(&set);
        assert_eq!(
            *normal,
            json!({"metadata": {"labels": null}, "spec": {"template": {
                "metadata": {"annotations": {"d": "e"}},
                "spec": {
                    "env": [{"name": "A"}, null],
                    "resources": {"requests": {"cpu": "0.5", "memory": 1}, "limits": {"cpu": 1.0}},
                    "storageSize": "1.5",
                    "image": "",
                },
            }}})
        );
        assert_eq!(edits.len(), 6);
        assert!(matches!(normalise(&normal), (Cow::Borrowed(_), edits) if edits.is_empty()));
    }
}
