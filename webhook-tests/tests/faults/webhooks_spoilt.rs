//! What the API server knows of the webhooks is spoilt. The same Service
//! carries more than the webhooks, so its replicas have to stay ready.

use serde_json::{Value, json};
use webhook_tests::{ControlPlane, Installation, Namespace};

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

    // A bundle that is none: it is put right.
    let good: Vec<Value> =
        CONFIGURATIONS.iter().map(|kind| installation.kubectl().get_json(&[kind, "atomix-controller"])).collect();
    for kind in CONFIGURATIONS {
        let garbage = json!([{"op": "remove", "path": "/webhooks/0/clientConfig/caBundle"}]).to_string();
        installation.kubectl().ok(&["patch", kind, "atomix-controller", "--type=json", "-p", &garbage]);
        assert!(says_ready(&controller));
    }
    for (kind, good) in CONFIGURATIONS.iter().zip(&good) {
        installation.kubectl().wait_until(&[kind, "atomix-controller"], SOON, |found| {
            found[0]["webhooks"][0]["clientConfig"]["caBundle"] == good["webhooks"][0]["clientConfig"]["caBundle"]
        });
    }

    // No webhooks at all: sets are made and kept; only what the schema cannot say is not judged at once.
    for kind in CONFIGURATIONS {
        installation.kubectl().ok(&["delete", kind, "atomix-controller"]);
    }
    kubectl.ok(&["patch", "partitionset", "w", "--type=merge", "-p", r#"{"spec":{"partitions":3}}"#]);
    await_ready(&kubectl, "w");
    assert!(says_ready(&controller), "{:?}", controller.get("/readyz?verbose"));
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
    assert!(says_ready(&controller));
}
