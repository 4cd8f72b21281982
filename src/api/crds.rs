//! The CustomResourceDefinitions, generated from the Rust types.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use serde_json::{Map, Value, json};

use super::{Partition, PartitionSet, schema};

/// Pointer of the structural schema in a CRD.
pub(crate) const SCHEMA: &str = "/spec/versions/0/schema/openAPIV3Schema";

/// Error of rendering the CRDs.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A definition is no JSON.
    #[error("rendering a custom resource definition: {0}")]
    Json(#[from] serde_json::Error),
    /// A definition is no YAML.
    #[error("writing a custom resource definition as YAML: {0}")]
    Yaml(#[from] serde_saphyr::ser::Error),
}

/// Both CRDs as JSON values: PartitionSet, then Partition.
///
/// # Errors
/// [`Error`] if one is no JSON.
pub fn definitions() -> Result<[Value; 2], Error> {
    Ok([definition(PartitionSet::crd())?, definition(Partition::crd())?])
}

/// Both CRDs as one YAML stream.
///
/// # Errors
/// [`Error`] if one is no JSON or YAML.
pub fn yaml() -> Result<String, Error> {
    let mut text = String::new();
    for definition in definitions()? {
        text.push_str("---\n");
        text.push_str(&serde_saphyr::to_string(&definition)?);
    }
    Ok(text)
}

fn definition(mut crd: CustomResourceDefinition) -> Result<Value, Error> {
    // A definition from the first version of the API for CRDs keeps unknown fields, and its schema is not accepted before
    // that ends.
    crd.spec.preserve_unknown_fields = Some(false);
    let mut crd = serde_json::to_value(crd)?;
    crd.pointer_mut(SCHEMA).map(simplify);
    Ok(crd)
}

/// Adapts the schema of the types to the API server, in every part.
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
    // drops a `null` before it is validated.
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
    // A property named `default` has an object as its schema; the keyword has none in these types.
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
    fn the_manifest_has_these_definitions() {
        let manifest = include_str!("../../deploy/atomix-controller.yaml");
        assert!(manifest.contains(&yaml().unwrap()), "run `make manifests`");
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
