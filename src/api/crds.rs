//! The CustomResourceDefinitions, generated from the Rust types.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use serde_json::{Map, Value, json};

use super::{Partition, PartitionSet, schema};

/// Where the structural schema of the one version stands in a CRD.
pub(crate) const SCHEMA: &str = "/spec/versions/0/schema/openAPIV3Schema";
/// What `spec` is, in both kinds.
const SPEC: &str = "What the object should be.";

/// Why the CRDs could not be made: a programming error that the unit tests would show.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A definition is no JSON.
    #[error("rendering a custom resource definition: {0}")]
    Json(#[from] serde_json::Error),
    /// The schema lacks a part that rules are to be added to.
    #[error("the generated schema has nothing at {0}")]
    MissingSchema(String),
    /// A definition is no YAML.
    #[error("writing a custom resource definition as YAML: {0}")]
    Yaml(#[from] serde_saphyr::ser::Error),
}

/// Both CRDs as JSON values: PartitionSet, then Partition.
///
/// # Errors
/// [`Error`] if the types and the rules no longer fit together.
pub fn definitions() -> Result<[Value; 2], Error> {
    const SET_SPEC: &str = "/properties/spec";
    const TEMPLATE: &str = "/properties/spec/properties/template/properties/spec";
    const PARTITION_SPEC: &str = "/properties/spec";
    let at = |place: &'static str| {
        schema::template_fields().into_iter().map(move |(pointer, rule)| (format!("{place}{pointer}"), rule))
    };
    let set = [
        (String::new(), schema::partition_set_root()),
        (SET_SPEC.to_owned(), schema::partition_set_spec()),
        (TEMPLATE.to_owned(), schema::template_spec()),
    ];
    let set = definition(&PartitionSet::crd(), TEMPLATE, set.into_iter().chain(at(TEMPLATE)))?;
    let partition = [(String::new(), schema::partition_root()), (PARTITION_SPEC.to_owned(), schema::partition_spec())];
    let partition = definition(&Partition::crd(), PARTITION_SPEC, partition.into_iter().chain(at(PARTITION_SPEC)))?;
    Ok([set, partition])
}

/// Both CRDs as one YAML stream.
///
/// # Errors
/// [`Error`] if the types and the rules no longer fit together.
pub fn yaml() -> Result<String, Error> {
    let mut text = String::new();
    for definition in definitions()? {
        text.push_str("---\n");
        text.push_str(&serde_saphyr::to_string(&definition)?);
    }
    Ok(text)
}

/// A definition whose template stands at `template`.
fn definition(
    crd: &CustomResourceDefinition,
    template: &str,
    rules: impl Iterator<Item = (String, Value)>,
) -> Result<Value, Error> {
    let mut crd = serde_json::to_value(crd)?;
    // One that a cluster has had since the first version of the API for CRDs keeps unknown fields, and its schema is not
    // taken before that ends.
    crd["spec"]["preserveUnknownFields"] = Value::Bool(false);
    let root = crd.pointer_mut(SCHEMA).ok_or_else(|| Error::MissingSchema(SCHEMA.to_owned()))?;
    simplify(root);
    // The derive knows one text, that of the Rust struct: it is about the whole object.
    let about = root.pointer_mut("/properties/spec/description").map(|text| std::mem::replace(text, SPEC.into()));
    root["description"] = about.unwrap_or_default();
    for (pointer, field) in schema::OPTIONAL {
        let pointer = format!("{template}{pointer}");
        let part = root.pointer_mut(&pointer).and_then(Value::as_object_mut).ok_or(Error::MissingSchema(pointer))?;
        let required = part.remove("required").unwrap_or_default();
        let required: Vec<Value> =
            required.as_array().into_iter().flatten().filter(|name| *name != field).cloned().collect();
        if !required.is_empty() {
            part.insert("required".to_owned(), Value::Array(required));
        }
    }
    for (pointer, rule) in rules {
        let part = root.pointer_mut(&pointer).and_then(Value::as_object_mut);
        let part = part.ok_or(Error::MissingSchema(pointer))?;
        part.insert("x-kubernetes-validations".to_owned(), rule);
    }
    Ok(crd)
}

/// Adapts what the types say to what the API server makes of it, in every part of a schema.
fn simplify(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            simplify_one(fields);
            fields.values_mut().for_each(simplify);
        }
        Value::Array(items) => items.iter_mut().for_each(simplify),
        _ => {}
    }
}

fn simplify_one(fields: &mut Map<String, Value>) {
    // An absent field and `null` mean the same here, as in Kubernetes' own types: without `nullable` the API server
    // drops a `null` before anybody has to judge it.
    if fields.get("nullable") == Some(&Value::Bool(true)) {
        fields.remove("nullable");
    }
    if let Some(Value::Array(choices)) = fields.get_mut("enum") {
        choices.retain(|choice| !choice.is_null());
    }
    // Doc comments are wrapped as source code; `kubectl explain` wraps by itself.
    if let Some(Value::String(text)) = fields.get_mut("description") {
        let paragraphs = text.split("\n\n").map(|paragraph| paragraph.split('\n').collect::<Vec<_>>().join(" "));
        *text = paragraphs.collect::<Vec<_>>().join("\n\n");
    }
    // Of two meanings of `default` only the keyword is meant: it has no object as its value in our types.
    if fields.contains_key("type") && fields.get("default").is_some_and(|value| !value.is_object()) {
        fields.remove("default");
    }
    // All numbers that may be strings are quantities here.
    if fields.get("x-kubernetes-int-or-string") == Some(&Value::Bool(true)) {
        fields.insert("pattern".to_owned(), schema::QUANTITY.into());
        fields.insert("anyOf".to_owned(), json!([{ "type": "integer" }, { "type": "string" }]));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_schema_sets_defaults_or_allows_null() {
        for definition in definitions().unwrap() {
            let text = definition.pointer(SCHEMA).unwrap().to_string();
            assert!(!text.contains("nullable") && !text.contains("\"default\":"), "{text}");
        }
    }

    #[test]
    fn unknown_fields_are_not_kept_whatever_the_cluster_had_before() {
        for definition in definitions().unwrap() {
            assert_eq!(definition["spec"]["preserveUnknownFields"], false);
        }
    }

    #[test]
    fn every_field_of_ours_is_described() {
        for definition in definitions().unwrap() {
            let spec = definition.pointer(&format!("{SCHEMA}/properties/spec/properties")).unwrap();
            for (field, schema) in spec.as_object().unwrap() {
                assert!(schema["description"].as_str().is_some_and(|text| text.len() > 20), "{field}");
            }
        }
    }
}
