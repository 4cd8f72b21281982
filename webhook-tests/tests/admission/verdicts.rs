//! What a specification is made of: who writes what, and what kubectl then says.

use std::sync::OnceLock;

use serde_json::{Value, json};
use webhook_tests::{Kubectl, Namespace, harness};

use crate::manifests::with;

/// A namespace on the shared control plane, where the controller answers. It stays until that goes, at the end of the
/// process: deleting it would be work for all who are still testing.
pub fn namespace(prefix: &str) -> &'static Namespace {
    Box::leak(Box::new(Namespace::new(harness().kubectl(), prefix)))
}

/// A namespace on the shared control plane for tests that store nothing.
pub fn void() -> &'static Namespace {
    static SHARED: OnceLock<&Namespace> = OnceLock::new();
    SHARED.get_or_init(|| namespace("void"))
}

/// `kubectl create` of the object succeeds; what the API server stored.
#[track_caller]
pub fn accepts(kubectl: &Kubectl, object: &Value) -> Value {
    let stored = kubectl.feed_ok(&["create", "-f", "-", "-o", "json"], &object.to_string());
    serde_json::from_str(&stored).expect("JSON")
}

/// `kubectl create` of the object prints exactly this, and nothing is stored.
#[track_caller]
pub fn rejects(kubectl: &Kubectl, object: &Value, text: &str) {
    let said = kubectl.feed_fails(&["create", "-f", "-"], &object.to_string());
    assert_eq!(said, format!("{text}\n"), "of {object}");
}

/// A merge patch of the set succeeds; what kubectl prints, warnings included.
#[track_caller]
pub fn patches(kubectl: &Kubectl, set: &str, patch: &Value) -> String {
    let output = kubectl.run(&["patch", "pset", set, "--type=merge", "-p", &patch.to_string()]);
    assert!(output.status.success(), "{patch}: {}", output.stderr);
    output.stderr + &output.stdout
}

/// A merge patch of the set prints exactly this.
#[track_caller]
pub fn refuses(kubectl: &Kubectl, set: &str, patch: &Value, text: &str) {
    let said = kubectl.fails(&["patch", "pset", set, "--type=merge", "-p", &patch.to_string()]);
    assert_eq!(said, format!("{text}\n"), "of {patch}");
}

/// Each value at a pointer makes a legal set an illegal one, for one reason.
#[track_caller]
pub fn each_is_rejected(base: &Value, cases: &[(&str, Value, &str)]) {
    let kubectl = void().kubectl();
    let name = base["metadata"]["name"].as_str().expect("a name");
    for (pointer, value, violation) in cases {
        rejects(&kubectl, &with(base.clone(), pointer, value.clone()), &invalid(name, violation));
    }
    assert_eq!(kubectl.ok(&["get", "pset", "-o", "name"]), "", "nothing is stored");
}

/// As kubectl prints the one thing that is wrong with a set.
pub fn invalid(name: &str, violation: &str) -> String {
    format!("The PartitionSet {name:?} is invalid: {violation}")
}

/// As kubectl prints all that is wrong with a set.
pub fn invalid_in_many_ways(name: &str, violations: &[&str]) -> String {
    format!("The PartitionSet {name:?} is invalid: \n* {}", violations.join("\n* "))
}

/// The set's spec as it is stored.
#[track_caller]
pub fn spec(kubectl: &Kubectl, set: &str) -> Value {
    kubectl.get_json(&["pset", set])["spec"].clone()
}

/// A merge patch of the set's annotations.
pub fn annotations(annotations: &Value) -> Value {
    json!({"metadata": {"annotations": annotations}})
}
