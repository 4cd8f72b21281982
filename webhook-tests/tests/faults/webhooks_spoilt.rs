//! What the API server knows of the webhooks is spoilt. The same Service
//! carries more than the webhooks, so its replicas have to stay ready.

use std::time::Instant;

use serde_json::{Value, json};
use webhook_tests::{ControlPlane, Installation, Namespace};

use crate::api::Api;
use crate::support::{SOON, await_ready, endpoints, says_ready, set};

const CONFIGURATIONS: [&str; 2] = ["mutatingwebhookconfiguration", "validatingwebhookconfiguration"];

#[test]
fn a_replica_stays_ready_and_endpoints_stay_whatever_becomes_of_the_webhook_configurations() {
    let control_plane = ControlPlane::start().expect("a control plane");
    let installation = Installation::new(&control_plane).expect("an installation");
    let mut controller = installation.start().expect("a controller");
    controller.wait_ready().expect("a ready controller");
    let namespace = Namespace::new(control_plane.kubectl(), "spoilt");
    let kubectl = namespace.kubectl();
    kubectl.create_stdin(&set("w", 2, 1).to_string());
    await_ready(&kubectl, "w");
    let before = endpoints(&kubectl, "w");

    let api = Api::new(&controller);
    api.await_current();
    let is_well = || {
        assert!(says_ready(&controller), "{:?}", controller.get("/readyz?verbose"));
        assert!(api.is_up() && api.is_current());
        assert!(api.partitions(namespace.name(), "w") > 0);
    };

    // No bundle, one that is none, and one that is another's, in every webhook: each is put right.
    let config = installation.kubectl().ok(&["config", "view", "--raw", "-o", "json"]);
    let config: Value = serde_json::from_str(&config).expect("a kubeconfig");
    let foreign = &config["clusters"][0]["cluster"]["certificate-authority-data"];
    assert!(foreign.is_string());
    let bundles = |kind: &str| {
        let found = installation.kubectl().get_json(&[kind, "atomix-controller"]);
        let webhooks = found["webhooks"].as_array().expect("webhooks").iter();
        webhooks.map(|webhook| webhook["clientConfig"]["caBundle"].clone()).collect::<Vec<_>>()
    };
    let good = CONFIGURATIONS.map(bundles);
    for spoilt in [&json!(""), &json!("Z2FyYmFnZQ=="), foreign] {
        for (kind, good) in CONFIGURATIONS.iter().zip(&good) {
            let field = |index| format!("/webhooks/{index}/clientConfig/caBundle");
            let spoil = (0..good.len()).map(|index| json!({"op": "add", "path": field(index), "value": spoilt}));
            let spoil = spoil.collect::<Value>().to_string();
            installation.kubectl().ok(&["patch", kind, "atomix-controller", "--type=json", "-p", &spoil]);
            is_well();
        }
        let deadline = Instant::now() + SOON;
        while CONFIGURATIONS.map(bundles) != good {
            is_well();
            assert!(Instant::now() < deadline, "with {spoilt}: {:?}", CONFIGURATIONS.map(bundles));
        }
    }

    // No webhooks at all: sets are made and kept; only what the schema cannot say is not judged at once.
    for kind in CONFIGURATIONS {
        installation.kubectl().ok(&["delete", kind, "atomix-controller"]);
    }
    kubectl.ok(&["patch", "partitionset", "w", "--type=merge", "-p", r#"{"spec":{"partitions":3}}"#]);
    await_ready(&kubectl, "w");
    is_well();
    assert!(
        controller.get("/readyz?verbose").expect("an answer").body.contains("there is no such webhook configuration")
    );
    assert_eq!(endpoints(&kubectl, "w").len(), before.len());
    kubectl.ok(&["delete", "service", "w-1"]);
    kubectl.wait_until(&["service", "w-1"], SOON, |found| !found.is_empty());

    // Installed again, they work again.
    installation.restore_webhooks().expect("webhooks");
    kubectl.wait_until(&["partitionset", "w"], SOON, |_| {
        let refused =
            kubectl.run(&["patch", "partitionset", "w", "--type=merge", "-p", r#"{"spec":{"partitions":1}}"#]);
        refused.stderr.contains("allow-partition-removal")
    });
    is_well();
}
