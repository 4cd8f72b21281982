//! Two field managers that apply the two names of one field. Server-side apply sees no conflict between them, and each
//! would revert the other again and again.

use serde_json::Value;

use super::review::Request;
use crate::rules::Edit;

/// Pairs of names of one field, as JSON pointers.
const NAMES: [(&str, &str); 2] = [
    ("/spec/template/spec/size", "/spec/partitionSize"),
    ("/spec/template/spec/imagePullPolicy", "/spec/template/spec/pullPolicy"),
];

/// Warnings for fields that an update changes under one name while another manager applies them under the other. `edits`
/// are the changes that admission makes: of two names, one follows the other.
pub(super) fn warnings(request: &Request, edits: &[Edit]) -> Vec<String> {
    let Some(old) = request.old() else { return Vec::new() };
    let manager = request.options.get("fieldManager").and_then(Value::as_str).unwrap_or_default();
    let changed = edits.iter().filter_map(|Edit { pointer, value }| {
        let value = value.as_ref()?;
        let given = other_name(pointer)?;
        let before = old.pointer(pointer).filter(|before| !before.is_null() && *before != value)?;
        let owner = applier(old, pointer).filter(|owner| *owner != manager)?;
        Some(format!(
            "{}: is {value} by now, as {} of which it is another name; field manager {owner:?} applies {before} there, and will set both back: agree on one of the two names",
            path(pointer),
            path(given)
        ))
    });
    changed.collect()
}

fn other_name(pointer: &str) -> Option<&'static str> {
    NAMES.iter().find_map(|(first, second)| match pointer {
        pointer if pointer == *first => Some(*second),
        pointer if pointer == *second => Some(*first),
        _ => None,
    })
}

/// The path of a field in messages.
fn path(pointer: &str) -> String {
    pointer.trim_start_matches('/').replace('/', ".")
}

/// The field manager that applies a field, if one does.
fn applier<'a>(object: &'a Value, pointer: &str) -> Option<&'a str> {
    let entries = object.pointer("/metadata/managedFields")?.as_array()?;
    let steps = || pointer.split('/').skip(1).map(|step| format!("f:{step}"));
    let owner = entries.iter().find(|entry| {
        let fields = steps().try_fold(&entry["fieldsV1"], |fields, step| fields.get(step));
        entry["operation"] == "Apply" && fields.is_some()
    });
    owner?["manager"].as_str()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn warned(manager: &str, operation: &str, edit: &Edit) -> Vec<String> {
        let fields = json!({"f:spec": {"f:template": {"f:spec": {"f:size": {}, "f:imagePullPolicy": {}}}}});
        let old = json!({
            "metadata": {"managedFields": [{"manager": "one", "operation": operation, "fieldsV1": fields}]},
            "spec": {"partitionSize": 3, "template": {"spec": {"size": 3, "imagePullPolicy": "Never"}}},
        });
        let request = json!({"uid": "u", "operation": "UPDATE", "object": {}, "oldObject": old,
            "options": {"fieldManager": manager}});
        warnings(&serde_json::from_value(request).unwrap(), std::slice::from_ref(edit))
    }

    #[test]
    fn who_applies_the_other_name_is_named() {
        let size = Edit { pointer: "/spec/template/spec/size".into(), value: Some(json!(5)) };
        assert_eq!(
            warned("two", "Apply", &size),
            ["spec.template.spec.size: is 5 by now, as spec.partitionSize of which it is another name; field manager \
                 \"one\" applies 3 there, and will set both back: agree on one of the two names"]
        );
        let policy = Edit { pointer: "/spec/template/spec/imagePullPolicy".into(), value: Some(json!("Always")) };
        assert!(warned("two", "Apply", &policy)[0].contains("spec.template.spec.pullPolicy"));
        let same = Edit { pointer: "/spec/template/spec/size".into(), value: Some(json!(3)) };
        let other = Edit { pointer: "/spec/partitions".into(), value: Some(json!(1)) };
        for (manager, operation, filled) in
            [("one", "Apply", &size), ("two", "Update", &size), ("two", "Apply", &same), ("two", "Apply", &other)]
        {
            assert_eq!(warned(manager, operation, filled), [""; 0], "{manager} {operation} {filled:?}");
        }
    }
}
