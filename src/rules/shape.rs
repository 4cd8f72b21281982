//! What the schemas ask for inside the fields of Kubernetes' own types, and reading them does not: `k8s-openapi` takes a
//! missing field for an empty one, and any number for a quantity. The API server refuses both when it checks the
//! schema, which is after the mutating webhook: a missing field is reported here, a number is written as a text.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde_json::Value;

use super::edit::{Edit, pointer};
use super::violation::Violation;
use crate::api::crds;

/// Where the schema of a set's `template.spec` stands in its CRD.
const TEMPLATE: &str =
    "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/template/properties/spec/properties";
/// Largest number that the API server takes for an integer, whatever its notation.
const MAX_INTEGER: f64 = 9_007_199_254_740_991.0;

/// The fields of a template by name, as far as there is anything to look for.
static FIELDS: LazyLock<BTreeMap<String, Shape>> = LazyLock::new(|| {
    let definitions = crds::definitions().unwrap_or_default();
    definitions[0].pointer(TEMPLATE).map(fields).unwrap_or_default()
});

/// The part of a schema that says what must be there.
#[derive(Debug)]
enum Shape {
    Object { required: Vec<String>, fields: BTreeMap<String, Shape> },
    List(Box<Shape>),
    Map(Box<Shape>),
    Quantity,
}

/// Reports what is missing in field `key` of a template, which stands at `path`.
pub(super) fn check(key: &str, value: &Value, path: &str, violations: &mut Vec<Violation>) {
    if let Some(shape) = FIELDS.get(key) {
        shape.check(value, path, violations);
    }
}

/// Numbers that the schema does not take for quantities, and pods do, in a template that stands at the pointer `path`:
/// the edits that write them as texts.
pub(super) fn fractions(template: &Value, path: &str, edits: &mut Vec<Edit>) {
    for (name, shape) in &*FIELDS {
        if let Some(value) = template.get(name) {
            shape.fractions(value, pointer(path, name), edits);
        }
    }
}

fn fields(properties: &Value) -> BTreeMap<String, Shape> {
    let properties = properties.as_object().into_iter().flatten();
    properties.filter_map(|(name, schema)| Some((name.clone(), Shape::of(schema)?))).collect()
}

impl Shape {
    /// The shape that a schema asks for; none if anything will do.
    fn of(schema: &Value) -> Option<Self> {
        if schema["x-kubernetes-int-or-string"] == true {
            // All of these that have the pattern are quantities.
            return schema.get("pattern").map(|_| Self::Quantity);
        }
        if let Some(items) = schema.get("items") {
            return Self::of(items).map(|shape| Self::List(Box::new(shape)));
        }
        if let Some(values) = schema.get("additionalProperties") {
            return Self::of(values).map(|shape| Self::Map(Box::new(shape)));
        }
        let required = schema["required"].as_array().into_iter().flatten();
        let required: Vec<String> = required.filter_map(Value::as_str).map(ToOwned::to_owned).collect();
        let fields = fields(&schema["properties"]);
        (!required.is_empty() || !fields.is_empty()).then_some(Self::Object { required, fields })
    }

    /// Values of another type than the shape are reported where they are read.
    fn check(&self, value: &Value, path: &str, violations: &mut Vec<Violation>) {
        match (self, value) {
            (Self::Object { required, fields }, Value::Object(map)) => {
                let given = |name: &str| map.get(name).filter(|value| !value.is_null());
                for name in required.iter().filter(|name| given(name).is_none()) {
                    violations.push(Violation::required(format!("{path}.{name}"), ""));
                }
                for (name, shape) in fields {
                    if let Some(value) = given(name) {
                        shape.check(value, &format!("{path}.{name}"), violations);
                    }
                }
            }
            (Self::List(shape), Value::Array(items)) => {
                for (index, item) in items.iter().enumerate() {
                    shape.check(item, &format!("{path}[{index}]"), violations);
                }
            }
            (Self::Map(shape), Value::Object(map)) => {
                for (key, value) in map {
                    shape.check(value, &format!("{path}[{key}]"), violations);
                }
            }
            _ => {}
        }
    }

    fn fractions(&self, value: &Value, path: String, edits: &mut Vec<Edit>) {
        match (self, value) {
            (Self::Object { fields, .. }, Value::Object(map)) => {
                for (name, shape) in fields {
                    if let Some(value) = map.get(name) {
                        shape.fractions(value, pointer(&path, name), edits);
                    }
                }
            }
            (Self::List(shape), Value::Array(items)) => {
                for (index, item) in items.iter().enumerate() {
                    shape.fractions(item, format!("{path}/{index}"), edits);
                }
            }
            (Self::Map(shape), Value::Object(map)) => {
                for (key, value) in map {
                    shape.fractions(value, pointer(&path, key), edits);
                }
            }
            (Self::Quantity, Value::Number(number)) => {
                let whole = |number: f64| number.fract() == 0.0 && number.abs() <= MAX_INTEGER;
                if let Some(number) = number.as_f64().filter(|float| number.is_f64() && !whole(*float)) {
                    edits.push(Edit::set(path, number.to_string()));
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn found(key: &str, value: &Value) -> Vec<String> {
        let mut violations = Vec::new();
        check(key, value, key, &mut violations);
        violations.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_is_missing_deep_inside_is_found() {
        let env = json!([{"name": "A"}, {"name": "B", "valueFrom": {"fieldRef": {"fieldPath": null}}}]);
        assert_eq!(found("env", &env), ["env[1].valueFrom.fieldRef.fieldPath: Required value"]);
        let terms = json!({"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{}]}});
        assert_eq!(
            found("affinity", &terms),
            ["affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].topologyKey: Required value"]
        );
    }

    #[test]
    fn what_is_whole_passes() {
        assert!(found("env", &json!([{"name": "A", "value": "b"}])).is_empty());
        assert!(found("tolerations", &json!([{}])).is_empty());
        assert!(found("unknown", &json!(1)).is_empty());
    }
}
