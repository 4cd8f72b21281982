//! Requirements of the schemas inside the fields of Kubernetes' own types that their Rust types lack: `k8s-openapi` reads a
//! missing field as an empty one, and any number as a quantity. The API server refuses both when it checks the
//! schema, which is after the mutating webhook: a missing field is reported here, a number is written as a text.
//!
//! `shape.txt` lists both. It is not derived from the schema when the program runs, because the whole schema with its
//! descriptions takes 2 MB; a test compares the two.

use serde_json::Value;

use super::edit::{Edit, pointer};
use super::violation::Violation;

/// A line for each place in a template: its path, in which `[]` is each item of a list and `{}` each value of a map, and
/// the names of the fields that are required there, or [`QUANTITY`].
const SHAPE: &str = include_str!("shape.txt");
/// Marks a quantity.
const QUANTITY: &str = "(quantity)";
/// Largest number that the API server accepts as an integer in any notation.
const MAX_INTEGER: f64 = 9_007_199_254_740_991.0;

/// One step into a value.
enum Step<'a> {
    Field(&'a str),
    Item(usize),
    Key(&'a str),
}

/// Reports what is missing in field `key` of a template, at `path`.
pub(super) fn check(key: &str, value: &Value, path: &str, violations: &mut Vec<Violation>) {
    for (place, required) in lines() {
        let (first, steps) = place.split_once('/').unwrap_or((place, ""));
        if first != key || required == QUANTITY {
            continue;
        }
        each(value, steps, path, field_path, &mut |path, value| {
            // A value of another type is reported where it is read.
            let Some(fields) = value.as_object() else { return };
            let missing = required.split(' ').filter(|name| fields.get(*name).is_none_or(Value::is_null));
            violations.extend(missing.map(|name| Violation::required(format!("{path}.{name}"), "")));
        });
    }
}

/// Edits that write numbers as texts, in a template at the pointer `path`: pods accept them as quantities, and the schema
/// does not.
pub(super) fn fractions(template: &Value, path: &str, edits: &mut Vec<Edit>) {
    for (place, _) in lines().filter(|(_, required)| *required == QUANTITY) {
        each(template, place, path, json_pointer, &mut |path, value| {
            let whole = |number: f64| number.fract() == 0.0 && number.abs() <= MAX_INTEGER;
            if let Value::Number(number) = value
                && number.as_f64().is_some_and(|float| number.is_f64() && !whole(float))
            {
                edits.push(Edit::set(path.to_owned(), number.to_string()));
            }
        });
    }
}

fn lines() -> impl Iterator<Item = (&'static str, &'static str)> {
    SHAPE.lines().filter_map(|line| line.split_once(' '))
}

/// Calls `found` for each value at the place `steps` within `value`, which is at `path`.
fn each(value: &Value, steps: &str, path: &str, join: fn(&str, &Step) -> String, found: &mut impl FnMut(&str, &Value)) {
    if steps.is_empty() {
        return found(path, value);
    }
    let (step, rest) = steps.split_once('/').unwrap_or((steps, ""));
    match (step, value) {
        ("[]", Value::Array(items)) => {
            for (index, item) in items.iter().enumerate() {
                each(item, rest, &join(path, &Step::Item(index)), join, found);
            }
        }
        ("{}", Value::Object(map)) => {
            for (key, value) in map {
                each(value, rest, &join(path, &Step::Key(key)), join, found);
            }
        }
        (name, Value::Object(fields)) => {
            if let Some(value) = fields.get(name) {
                each(value, rest, &join(path, &Step::Field(name)), join, found);
            }
        }
        _ => {}
    }
}

fn field_path(path: &str, step: &Step) -> String {
    match step {
        Step::Field(name) => format!("{path}.{name}"),
        Step::Item(index) => format!("{path}[{index}]"),
        Step::Key(key) => format!("{path}[{key}]"),
    }
}

fn json_pointer(path: &str, step: &Step) -> String {
    match step {
        Step::Field(name) | Step::Key(name) => pointer(path, name),
        Step::Item(index) => format!("{path}/{index}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::crds;

    /// Pointer of the schema of a set's `template.spec` in its CRD.
    const TEMPLATE: &str =
        "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/template/properties/spec/properties";

    fn found(key: &str, value: &Value) -> Vec<String> {
        let mut violations = Vec::new();
        check(key, value, key, &mut violations);
        violations.iter().map(ToString::to_string).collect()
    }

    /// The lines for a schema at `place`.
    fn lines_of(schema: &Value, place: &str, lines: &mut Vec<String>) {
        // All of these that have the pattern are quantities.
        if schema["x-kubernetes-int-or-string"] == true && schema.get("pattern").is_some() {
            lines.push(format!("{place} {QUANTITY}"));
        }
        if let Some(required) = schema["required"].as_array() {
            let names: Vec<&str> = required.iter().filter_map(Value::as_str).collect();
            lines.push(format!("{place} {}", names.join(" ")));
        }
        for (inner, step) in [("items", "[]"), ("additionalProperties", "{}")] {
            if let Some(inner) = schema.get(inner) {
                lines_of(inner, &format!("{place}/{step}"), lines);
            }
        }
        for (name, field) in schema["properties"].as_object().into_iter().flatten() {
            lines_of(field, &format!("{place}/{name}"), lines);
        }
    }

    #[test]
    fn the_shape_is_that_of_the_schema() {
        let [set, _] = crds::definitions().unwrap();
        let mut lines = Vec::new();
        for (name, field) in set.pointer(TEMPLATE).unwrap().as_object().unwrap() {
            lines_of(field, name, &mut lines);
        }
        let shape = lines.join("\n") + "\n";
        assert!(lines.len() > 30);
        assert_eq!(SHAPE, shape, "write this to src/rules/shape.txt:\n{shape}");
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
