//! Objects compared whole: all that is stored, but for what differs from run to
//! run, which has a placeholder or is left out.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use serde_json::Value;
use webhook_tests::Kubectl;

use super::objects::Object;
use super::{items, text};

/// Metadata that the API server makes up.
const VOLATILE: [&str; 5] = ["uid", "resourceVersion", "creationTimestamp", "managedFields", "generation"];

/// Turns objects of one namespace into what they would be in any other.
pub struct Whole {
    namespace: String,
    /// What an address is to be called.
    addresses: BTreeMap<String, String>,
}

impl Whole {
    /// For the namespace of this kubectl, with the Services that are in it now.
    pub fn new(kubectl: &Kubectl) -> Self {
        let addresses = items(kubectl, &["services"])
            .iter()
            .map(|service| (text(service, "/spec/clusterIP"), text(service, "/metadata/name")))
            .filter(|(address, _)| !matches!(*address, "" | "None"))
            .map(|(address, name)| (address.to_owned(), format!("CLUSTER-IP of {name}")))
            .collect();
        Self { namespace: kubectl.namespace().to_owned(), addresses }
    }

    /// The object as it would be in any run.
    pub fn of(&self, mut object: Value) -> Value {
        if let Some(fields) = object.as_object_mut() {
            fields.remove("status");
        }
        if let Some(metadata) = object["metadata"].as_object_mut() {
            metadata.retain(|field, _| !VOLATILE.contains(&field.as_str()));
        }
        for owner in object.pointer_mut("/metadata/ownerReferences").and_then(Value::as_array_mut).into_iter().flatten()
        {
            owner["uid"] = "UID".into();
        }
        // They depend on the namespace, which is in the file that they are made of.
        for (hash, name) in [
            ("/spec/template/metadata/annotations/k8s.atomix.io~1config-hash", "CONFIG-HASH"),
            ("/metadata/annotations/k8s.atomix.io~1pod-template-hash", "POD-TEMPLATE-HASH"),
        ] {
            if let Some(hash) = object.pointer_mut(hash) {
                *hash = name.into();
            }
        }
        self.rename(&mut object);
        object
    }

    /// These objects as they are now, in the same order.
    pub fn all(&self, kubectl: &Kubectl, objects: &[Object]) -> Vec<Value> {
        let names: Vec<String> = objects.iter().map(|(kind, name)| format!("{kind}/{name}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let found = kubectl.get_json(&names);
        // One object comes as itself, several in a list.
        let found = found["items"].as_array().cloned().unwrap_or_else(|| vec![found]);
        found.into_iter().map(|object| self.of(object)).collect()
    }

    fn rename(&self, value: &mut Value) {
        match value {
            Value::String(text) => match self.addresses.get(text) {
                Some(name) => text.clone_from(name),
                None => *text = text.replace(&self.namespace, "NAMESPACE"),
            },
            Value::Array(values) => values.iter_mut().for_each(|value| self.rename(value)),
            Value::Object(fields) => fields.values_mut().for_each(|value| self.rename(value)),
            _ => {}
        }
    }
}

/// An object of the cluster in its general form.
pub fn read(kubectl: &Kubectl, (kind, name): &Object) -> Value {
    Whole::new(kubectl).of(kubectl.get_json(&[kind, name]))
}

/// The checked-in form of an object.
pub fn expected(fixture: &str, object: &Object) -> Value {
    let file = file(fixture, object);
    let content = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    serde_json::from_str(&content).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// Checks that an object is as its file has it; with `UPDATE_EXPECTED` in the
/// environment, writes the file instead.
pub fn compare(fixture: &str, object: &Object, actual: &Value) {
    if std::env::var_os("UPDATE_EXPECTED").is_some() {
        let file = file(fixture, object);
        fs::create_dir_all(file.parent().expect("a directory")).expect("a new directory");
        fs::write(&file, format!("{actual:#}\n")).expect("a written file");
    }
    assert_same(object, &expected(fixture, object), actual);
}

fn file(fixture: &str, (kind, name): &Object) -> PathBuf {
    let name = format!("{kind}-{name}.json");
    [env!("CARGO_MANIFEST_DIR"), "tests/controllers/expected", fixture, &name].iter().collect()
}

/// Panics, and names every field, if an object is not what it should be.
#[track_caller]
pub fn assert_same(object: &Object, expected: &Value, actual: &Value) {
    let mut found = Vec::new();
    differences("", expected, actual, &mut found);
    assert!(found.is_empty(), "{} {} is not what it should be:\n{}", object.0, object.1, found.join("\n"));
}

fn differences(path: &str, expected: &Value, actual: &Value, found: &mut Vec<String>) {
    match (expected, actual) {
        (Value::Object(wanted), Value::Object(given)) => {
            let names = wanted.keys().chain(given.keys().filter(|name| !wanted.contains_key(*name)));
            for name in names {
                let value = |fields: &serde_json::Map<String, Value>| fields.get(name).cloned().unwrap_or_default();
                differences(&format!("{path}.{name}"), &value(wanted), &value(given), found);
            }
        }
        (Value::Array(wanted), Value::Array(given)) if wanted.len() == given.len() => {
            for (index, (wanted, given)) in wanted.iter().zip(given).enumerate() {
                differences(&format!("{path}[{index}]"), wanted, given, found);
            }
        }
        _ if expected == actual => {}
        _ => found.push(format!("  {path}\n    expected {expected}\n    found    {actual}")),
    }
}

#[test]
fn every_field_that_differs_is_named() {
    let object = |text: &str| serde_json::from_str::<Value>(text).expect("JSON");
    let mut found = Vec::new();
    let (wanted, given) = (object(r#"{"a": {"b": [1, 2]}, "c": 3}"#), object(r#"{"a": {"b": [1, 4]}, "d": 5}"#));
    differences("", &wanted, &given, &mut found);
    let paths: Vec<_> = found.iter().map(|line| line.split_whitespace().next().unwrap_or_default()).collect();
    assert_eq!(paths, [".a.b[1]", ".c", ".d"]);
}
