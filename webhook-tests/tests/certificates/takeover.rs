//! The authority that the version before stored is taken over in each phase of a rotation, under load. The Secrets are in
//! `fixtures/before_house`.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};
use webhook_tests::Kubectl;

use crate::load::{Load, failed, summary};
use crate::support::{CONFIGURATIONS, Ground, decoded, ground, quick};
use crate::wire::Wire;

/// The authorities of the fixtures live for ten years: with a shorter period, they would be replaced at once.
const TEN_YEARS: &str = "--ca-lifetime=87600h";

/// What a version stored about its authority.
#[derive(Deserialize)]
struct Stored {
    /// Content of the Secret.
    secret: BTreeMap<String, String>,
    /// The bundle in the webhook configurations, and its field manager.
    bundle: String,
    manager: String,
    /// Annotations of the Lease in which replicas announce themselves.
    replicas: BTreeMap<String, String>,
}

fn fixture(phase: &str) -> Stored {
    let path = format!("{}/tests/certificates/fixtures/before_house/{phase}.yaml", env!("CARGO_MANIFEST_DIR"));
    let yaml = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    serde_saphyr::from_str(&yaml).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn apply(kubectl: &Kubectl, manager: &str, object: &Value) {
    let manager = format!("--field-manager={manager}");
    kubectl.feed_ok(&["apply", "--server-side", "--force-conflicts", &manager, "-f", "-"], &object.to_string());
}

impl Stored {
    fn restore(&self, ground: &Ground) {
        let data: BTreeMap<_, _> = self.secret.iter().map(|(key, value)| (key, STANDARD.encode(value))).collect();
        ground.replace_data(&json!(data));
        let bundle = STANDARD.encode(&self.bundle);
        for kind in CONFIGURATIONS {
            let configuration = ground.kubectl().get_json(&[kind, "atomix-controller"]);
            let webhooks = configuration["webhooks"].as_array().expect("webhooks").iter();
            let bundles =
                webhooks.map(|webhook| json!({"name": webhook["name"], "clientConfig": {"caBundle": bundle}}));
            apply(
                ground.kubectl(),
                &self.manager,
                &json!({
                    "apiVersion": configuration["apiVersion"], "kind": configuration["kind"],
                    "metadata": {"name": "atomix-controller"}, "webhooks": bundles.collect::<Value>(),
                }),
            );
        }
        let lease = json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": {"name": "atomix-controller-replicas", "annotations": self.replicas},
        });
        apply(ground.kubectl(), "kubectl", &lease);
    }
}

/// Starts two replicas on what is stored, and waits until generation `generation` is the only one. Nothing fails meanwhile.
/// Returns what was stored, and what is then.
#[track_caller]
fn take_over(phase: &str, generation: u64) -> (Stored, Value) {
    let ground = ground();
    let stored = fixture(phase);
    stored.restore(&ground);
    let options = quick(&[TEN_YEARS, "--ca-hold-down=3s"]);
    let _replicas = ground.installation.replicas_with(2, options, Duration::ZERO).expect("replicas");
    let load = Load::start(&ground.control_plane, 2);
    let wire = Wire::start(&ground, 50, true);
    let secret = ground.await_generation(generation);
    for kind in CONFIGURATIONS {
        ground.await_bundle(kind, &decoded(&secret, "current.crt"));
    }
    load.await_answers(load.answered() + 100);
    wire.await_connections(200);
    let (made, sent) = (wire.finish(), load.finish());
    println!("{phase}: {made}; creates: {}", summary(&sent));
    assert!(made.failed.is_empty(), "{}", made.failed[0]);
    assert!(failed(&sent).is_empty(), "{:#?}", failed(&sent)[0]);
    (stored, secret)
}

#[test]
fn a_stable_authority_stays_as_it_is_stored() {
    let (stored, now) = take_over("stable", 2);
    assert_eq!(now["data"].as_object().expect("data").len(), stored.secret.len());
    for (key, value) in &stored.secret {
        assert_eq!(decoded(&now, key), *value, "{key}");
    }
}

#[test]
fn a_published_authority_is_promoted_and_then_trusted_alone() {
    let (stored, now) = take_over("published", 2);
    assert_eq!(decoded(&now, "current.crt"), stored.secret["next.crt"]);
    assert_eq!(decoded(&now, "current.key"), stored.secret["next.key"]);
}

#[test]
fn a_promoted_authority_becomes_the_only_one_that_is_trusted() {
    let (stored, now) = take_over("promoted", 2);
    assert_eq!(decoded(&now, "current.crt"), stored.secret["current.crt"]);
    assert!(now["data"]["previous.crt"].is_null());
}
