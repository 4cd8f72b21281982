//! The rules of the "restricted" pod security standard, and what the API server refuses in a namespace that enforces it,
//! agree: for each of them, on whether it is broken.

use std::collections::BTreeSet;

use atomix_controller::rules;
use futures::future::join_all;
use kube::Client;
use serde_json::{Value, json};
use webhook_tests::Namespace;

use super::pods::{create, merged, stateful_set};
use super::{alone, assert_none, client, runtime};
use crate::SOON;
use crate::bare::bare;
use crate::manifests::{raft, with};

const AT_ONCE: usize = 16;
/// Where a warning points to, and what the API server calls that. It has one more, `privileged`, which this control plane
/// allows nowhere.
const RULES: [(&str, &str); 9] = [
    ("runAsNonRoot", "runAsNonRoot != true"),
    ("runAsUser", "runAsUser=0"),
    ("seccompProfile", "seccompProfile"),
    ("allowPrivilegeEscalation", "allowPrivilegeEscalation != false"),
    ("capabilities.drop", "must set securityContext.capabilities.drop"),
    ("capabilities.add", "in securityContext.capabilities.add"),
    ("appArmorProfile", "AppArmor"),
    ("seLinuxOptions", "seLinuxOptions"),
    ("sysctls", "forbidden sysctls"),
];

#[test]
fn a_set_is_warned_of_if_and_only_if_a_restricted_namespace_refuses_its_pods() {
    let namespace = Namespace::new(bare().kubectl(), "restricted");
    let kubectl = namespace.kubectl();
    kubectl.ok(&["label", "namespace", namespace.name(), "pod-security.kubernetes.io/enforce=restricted"]);
    kubectl.wait_until(&["serviceaccounts", "default"], SOON, |found| !found.is_empty());
    let templates = templates();
    let judged = runtime().block_on(async {
        let client = client().await;
        let pods = format!("/api/v1/namespaces/{}/pods", namespace.name());
        let mut judged = Vec::new();
        for some in templates.chunks(AT_ONCE) {
            judged.extend(join_all(some.iter().map(|template| judge(&client, &pods, template))).await);
        }
        judged
    });
    let broken: BTreeSet<&str> = judged.iter().flat_map(|(broken, _)| broken.iter().copied()).collect();
    assert_eq!(broken.len(), RULES.len(), "{broken:?}");
    assert!(judged.iter().any(|(broken, _)| broken.is_empty()));
    assert_none(judged.into_iter().map(|(_, disagreement)| disagreement).collect());
}

/// Each context of a pod with each of a container: one that passes, with another value of some field, or without it.
fn templates() -> Vec<Value> {
    let pod = json!({"runAsNonRoot": true, "runAsUser": 1, "seccompProfile": {"type": "RuntimeDefault"}});
    let pods = variants(
        &pod,
        &[
            ("runAsNonRoot", json!(null)),
            ("runAsNonRoot", json!(false)),
            ("runAsUser", json!(0)),
            ("seccompProfile", json!(null)),
            ("seccompProfile", json!({"type": "Unconfined"})),
            ("seccompProfile", json!({"type": "Localhost", "localhostProfile": "a"})),
            ("appArmorProfile", json!({"type": "RuntimeDefault"})),
            ("appArmorProfile", json!({"type": "Unconfined"})),
            ("seLinuxOptions", json!({"type": "container_engine_t", "user": "", "level": "s0"})),
            ("seLinuxOptions", json!({"type": "unconfined_t"})),
            ("seLinuxOptions", json!({"user": "u"})),
            ("sysctls", json!([{"name": "net.ipv4.tcp_rmem", "value": "1"}])),
            (
                "sysctls",
                json!([{"name": "kernel.shm_rmid_forced", "value": "1"}, {"name": "kernel.msgmax", "value": "1"}]),
            ),
        ],
    );
    let container = json!({"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}});
    let containers = variants(
        &container,
        &[
            ("allowPrivilegeEscalation", json!(null)),
            ("allowPrivilegeEscalation", json!(true)),
            ("capabilities", json!(null)),
            ("capabilities", json!({"drop": ["all"]})),
            ("capabilities", json!({"drop": ["CHOWN", "ALL"], "add": ["NET_BIND_SERVICE"]})),
            ("capabilities", json!({"drop": ["ALL"], "add": ["CHOWN"]})),
            ("runAsNonRoot", json!(true)),
            ("runAsNonRoot", json!(false)),
            ("runAsUser", json!(0)),
            ("seccompProfile", json!({"type": "RuntimeDefault"})),
            ("seccompProfile", json!({"type": "Unconfined"})),
            ("appArmorProfile", json!({"type": "Unconfined"})),
            ("seLinuxOptions", json!({"role": "r"})),
            ("procMount", json!("Default")),
        ],
    );
    let mut templates = Vec::new();
    for container in containers {
        for pod in &pods {
            let mut template = json!({});
            for (field, context) in [("securityContext", &container), ("podSecurityContext", pod)] {
                if let Some(context) = context {
                    template[field] = context.clone();
                }
            }
            templates.push(template);
        }
    }
    templates
}

/// Nothing, the object, and the object with each of these; `null` is none.
fn variants(object: &Value, fields: &[(&str, Value)]) -> Vec<Option<Value>> {
    let changed = fields.iter().map(|(field, value)| {
        let mut object = object.clone();
        object[field] = value.clone();
        object.as_object_mut().expect("an object").retain(|_, value| !value.is_null());
        Some(object)
    });
    [None, Some(object.clone())].into_iter().chain(changed).collect()
}

/// The rules that a template breaks, and what is wrong with the two verdicts on it, if anything is.
async fn judge(client: &Client, pods: &str, template: &Value) -> (BTreeSet<&'static str>, Option<String>) {
    let whole = merged(json!({"size": 3, "protocol": "raft"}), template);
    let set = with(raft("a"), "/spec/template/spec", whole);
    assert!(rules::partition_set(&set, None, &alone).violations.is_empty(), "{template}");
    let warnings = rules::restricted(&set, None);
    let mut pod = stateful_set(&[template])["spec"]["template"].clone();
    pod["metadata"]["name"] = json!("a");
    (pod["apiVersion"], pod["kind"]) = (json!("v1"), json!("Pod"));
    let refused =
        create(client, pods, &pod, &[403]).await.err().map(|status| status.message.clone()).unwrap_or_default();
    let rules = || RULES.into_iter();
    let ours: BTreeSet<_> = rules()
        .filter(|(field, _)| warnings.iter().skip(1).any(|said| said.contains(field)))
        .map(|(rule, _)| rule)
        .collect();
    let theirs: BTreeSet<_> = rules().filter(|(_, words)| refused.contains(words)).map(|(rule, _)| rule).collect();
    let agreed = ours == theirs && warnings.is_empty() == refused.is_empty();
    (ours, (!agreed).then(|| format!("{template}\n  ours: {warnings:#?}\n  theirs: {refused}")))
}
