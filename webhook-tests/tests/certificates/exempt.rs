//! A cloud whose enforcer exempts kube-system, the controller's own namespace, from all webhooks.

use serde_json::{Value, json};

use crate::check::check;
use crate::support::{CONFIGURATIONS, Ground, ground};

const LABEL: &str = "control-plane";

/// What the enforcer adds to, in the selectors of all webhooks.
fn selectors(ground: &Ground) -> Vec<Value> {
    let webhooks = |kind: &str| ground.kubectl().get_json(&[kind, "atomix-controller"])["webhooks"].clone();
    let all = CONFIGURATIONS.into_iter().flat_map(|kind| webhooks(kind).as_array().cloned().unwrap_or_default());
    all.map(|webhook| webhook["namespaceSelector"]["matchExpressions"].clone()).collect()
}

fn select(ground: &Ground, expressions: &Value) {
    for (kind, webhooks) in CONFIGURATIONS.into_iter().zip([1, 3]) {
        let place = |webhook| format!("/webhooks/{webhook}/namespaceSelector/matchExpressions");
        let field = |webhook| json!({"op": "add", "path": place(webhook), "value": expressions});
        let patch: Vec<Value> = (0..webhooks).map(field).collect();
        let patch = Value::Array(patch).to_string();
        let manager = "--field-manager=admissionsenforcer";
        ground.kubectl().ok(&["patch", kind, "atomix-controller", "--type=json", manager, "-p", &patch]);
    }
}

#[test]
fn where_kube_system_is_exempt_from_webhooks_replicas_are_ready_and_authorities_are_replaced() {
    let ground = ground();
    let kubectl = ground.kubectl();
    kubectl.ok(&["label", "namespace", "kube-system", &format!("{LABEL}=true")]);
    let enforced = json!([{"key": LABEL, "operator": "DoesNotExist"}]);
    select(&ground, &enforced);
    let _replicas = ground.replicas(2);

    let output = check(&ground, None, &[]);
    assert!(output.status.success(), "{}", output.stdout);
    assert!(
        output.stdout.contains("trusts them; it does not call them for objects of kube-system"),
        "{}",
        output.stdout
    );

    ground.annotate("k8s.atomix.io/rotate-ca=a test");
    ground.await_generation(2);
    ground.await_event("CARotated", "only CA 2 is trusted");
    ground.assert_admission_works();
    // The enforcer's field is the enforcer's.
    assert!(selectors(&ground).iter().all(|selector| *selector == enforced), "{:#?}", selectors(&ground));

    select(&ground, &json!([]));
    kubectl.ok(&["label", "namespace", "kube-system", &format!("{LABEL}-")]);
}
