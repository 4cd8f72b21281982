//! Admission policies in the namespace of one test, which are in force when they are returned and gone when they are
//! dropped.

use std::time::Instant;

use serde_json::{Value, json};
use webhook_tests::{Kubectl, suffix};

use super::SOON;

/// What a policy is about: API group and plural of the kinds.
pub type Kinds<'a> = &'a [(&'a str, &'a str)];

/// All kinds that the controller makes, but for those of which pods are made.
pub const CHILDREN: Kinds<'static> = &[
    ("k8s.atomix.io", "partitions"),
    ("apps", "statefulsets"),
    ("", "services"),
    ("", "configmaps"),
    ("", "endpoints"),
    ("policy", "poddisruptionbudgets"),
    ("discovery.k8s.io", "endpointslices"),
];

/// A policy and its binding.
pub struct Policy {
    kubectl: Kubectl,
    kind: &'static str,
    /// Its own name, and that of an object of which only the admission is tried, which shows whether it is in force:
    /// other policies of the namespace may be so already.
    name: String,
}

impl Policy {
    /// A `MutatingAdmissionPolicy`: `patches` is a CEL expression of a list of `JSONPatch`.
    #[track_caller]
    pub fn mutating(kubectl: &Kubectl, kinds: Kinds, operations: &[&str], patches: &str) -> Self {
        let name = Self::new_name(kubectl);
        let probed = r#"[JSONPatch{op: "add", path: "/data", value: {"probed": "yes"}}]"#;
        let expression = format!(r#"request.name == "{name}" ? {probed} : ({patches})"#);
        let mutation = json!({"patchType": "JSONPatch", "jsonPatch": {"expression": expression}});
        let spec = json!({"reinvocationPolicy": "Never", "mutations": [mutation]});
        let policy = Self::create(kubectl, ("MutatingAdmissionPolicy", name), spec, kinds, operations, &json!({}));
        policy.await_effect(true);
        policy
    }

    /// A `ValidatingAdmissionPolicy` that refuses everything: `reason` is `Forbidden` or `Invalid`.
    #[track_caller]
    pub fn refusing(kubectl: &Kubectl, kinds: Kinds, operations: &[&str], reason: &str, message: &str) -> Self {
        let spec = json!({"validations": [{"expression": "false", "reason": reason, "message": message}]});
        let deny = json!({"validationActions": ["Deny"]});
        let named = ("ValidatingAdmissionPolicy", Self::new_name(kubectl));
        let policy = Self::create(kubectl, named, spec, kinds, operations, &deny);
        policy.await_effect(true);
        policy
    }

    fn new_name(kubectl: &Kubectl) -> String {
        format!("{}-{}", kubectl.namespace(), suffix())
    }

    fn create(
        kubectl: &Kubectl,
        (kind, name): (&'static str, String),
        mut spec: Value,
        kinds: Kinds,
        operations: &[&str],
        bound: &Value,
    ) -> Self {
        let rules = kinds.iter().map(|(group, plural)| {
            json!({"apiGroups": [group], "apiVersions": ["*"], "resources": [plural], "operations": operations})
        });
        let probe = json!({"apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"],
            "operations": ["CREATE"], "resourceNames": [name]});
        spec["failurePolicy"] = "Fail".into();
        spec["matchConstraints"] = json!({
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": kubectl.namespace()}},
            "resourceRules": rules.chain([probe]).collect::<Value>(),
        });
        let mut binding = bound.clone();
        binding["policyName"] = name.clone().into();
        let version = "admissionregistration.k8s.io/v1";
        let policy = Self { kubectl: kubectl.clone(), kind, name: name.clone() };
        for (kind, spec) in [(kind.to_owned(), spec), (format!("{kind}Binding"), binding)] {
            let object = json!({"apiVersion": version, "kind": kind, "metadata": {"name": name}, "spec": spec});
            kubectl.create_stdin(&object.to_string());
        }
        policy
    }

    /// Returns when the API server has taken in that the policy is there, or that it is gone.
    #[track_caller]
    fn await_effect(&self, wanted: bool) {
        let deadline = Instant::now() + SOON;
        let probe = ["create", "configmap", &self.name, "--dry-run=server", "-o", "json"];
        loop {
            let answer = self.kubectl.run(&probe);
            let effect = !answer.status.success() || answer.stdout.contains("probed");
            if effect == wanted {
                return;
            }
            assert!(Instant::now() < deadline, "{} {}: {} {}", self.kind, self.name, answer.stdout, answer.stderr);
        }
    }

    /// Removes it. Returns when it has no effect any more.
    #[track_caller]
    pub fn remove(self) {
        self.delete();
        self.await_effect(false);
    }

    fn delete(&self) {
        for kind in [format!("{}Binding", self.kind), self.kind.to_owned()] {
            let _ = self.kubectl.run(&["delete", &kind, &self.name, "--ignore-not-found", "--wait=false"]);
        }
    }
}

impl Drop for Policy {
    fn drop(&mut self) {
        self.delete();
    }
}
