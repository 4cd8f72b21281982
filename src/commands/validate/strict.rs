//! Unknown fields, which the API server refuses with kubectl's `--validate=strict`, the default.

use std::sync::LazyLock;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use schemars::generate::SchemaSettings;
use serde_json::Value;

use crate::api::crds;

/// The schema of a PartitionSet, with that of its metadata.
static SCHEMA: LazyLock<Value> = LazyLock::new(|| {
    let [set, _] = crds::definitions().unwrap_or_default();
    let mut schema = set.pointer(crds::SCHEMA).cloned().unwrap_or_default();
    let settings = SchemaSettings::openapi3().with(|settings| settings.inline_subschemas = true);
    let metadata = settings.into_generator().into_root_schema_for::<ObjectMeta>();
    schema["properties"]["metadata"] = metadata.to_value();
    schema
});

/// Paths of the fields of a PartitionSet that its schema lacks, in the API server's notation.
pub(super) fn unknown_fields(set: &Value) -> Vec<String> {
    let mut found = Vec::new();
    walk(set, &SCHEMA, "", &mut found);
    found
}

fn walk(value: &Value, schema: &Value, path: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            let Some(known) = schema["properties"].as_object() else {
                return;
            };
            for (key, value) in fields {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                match known.get(key) {
                    Some(schema) => walk(value, schema, &path, found),
                    None if path == "apiVersion" || path == "kind" => {}
                    None => found.push(path),
                }
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                walk(item, &schema["items"], &format!("{path}[{index}]"), found);
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
    fn unknown_fields_are_found_at_every_depth() {
        let set = json!({
            "apiVersion": "k8s.atomix.io/v1alpha1", "kind": "PartitionSet", "extra": 1,
            "metadata": {"name": "a", "labels": {"any": "b"}, "foo": 1, "ownerReferences": [{"kind": "a", "bar": 1}]},
            "spec": {"foo": null, "partitions": 2, "template": {
                "metadata": {"name": "x", "annotations": {"any": "b"}},
                "spec": {"protocol": "raft", "bar": {"x": 1}, "env": [{"name": "A", "valu": "b"}],
                    "nodeSelector": {"any": "b"}, "resources": {"limits": {"cpu": 1}, "limit": {}}},
            }},
            "status": {"nope": 1},
        });
        assert_eq!(
            unknown_fields(&set),
            [
                "extra",
                "metadata.foo",
                "metadata.ownerReferences[0].bar",
                "spec.foo",
                "spec.template.metadata.name",
                "spec.template.spec.bar",
                "spec.template.spec.env[0].valu",
                "spec.template.spec.resources.limit",
                "status.nope",
            ]
        );
    }
}
