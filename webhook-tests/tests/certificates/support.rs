//! What these tests have in common.

use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use webhook_tests::{ControlPlane, Controller, Installation, Kubectl, Replicas, StartOptions, text};

/// Longer than anything here takes on a busy machine.
pub const SOON: Duration = Duration::from_secs(120);
/// Where the authority is.
pub const SECRET: [&str; 2] = ["secret", "atomix-controller-webhook-ca"];
pub const CONFIGURATIONS: [&str; 2] = ["mutatingwebhookconfiguration", "validatingwebhookconfiguration"];
/// Periods of seconds: API servers here learn of changes in milliseconds, or in tenths of a second on a busy machine.
const QUICK: [&str; 3] = ["--ca-lifetime=10m", "--leaf-lifetime=30s", "--ca-hold-down=1s"];

/// A cluster with the manifest and without a controller, for one test at a time.
pub struct Ground {
    pub control_plane: ControlPlane,
    pub installation: Installation,
}

/// Waits until no other test has it. There is no authority, and nothing is trusted.
pub fn ground() -> MutexGuard<'static, Ground> {
    static GROUND: LazyLock<Mutex<Ground>> = LazyLock::new(|| {
        let control_plane = ControlPlane::start().expect("a control plane");
        let installation = Installation::new(&control_plane).expect("an installation");
        Mutex::new(Ground { control_plane, installation })
    });
    let ground = GROUND.lock().unwrap_or_else(PoisonError::into_inner);
    ground.kubectl().ok(&["patch", SECRET[0], SECRET[1], "--type=merge", "-p", r#"{"data": null}"#]);
    // The replicas of other tests were killed: no replica is to wait for their Leases.
    ground.kubectl().ok(&["delete", "lease", "--ignore-not-found", "atomix-controller", "atomix-controller-replicas"]);
    ground.kubectl().ok(&["delete", "events.events.k8s.io", "--all"]);
    ground.set_bundles("", "kubectl");
    ground
}

impl Ground {
    /// The administrator's kubectl in the controller's namespace.
    pub fn kubectl(&self) -> &Kubectl {
        self.installation.kubectl()
    }

    /// So many replicas behind a balancer, with periods of seconds.
    pub fn replicas(&self, count: usize) -> Replicas<'_> {
        let started = self.installation.replicas_with(count, quick(&[]), Duration::ZERO);
        started.unwrap_or_else(|error| {
            self.control_plane.keep_logs();
            panic!("{error:#}")
        })
    }

    pub fn secret(&self) -> Value {
        self.kubectl().get_json(&SECRET)
    }

    /// A value of the Secret, as text; empty if there is none.
    pub fn stored(&self, key: &str) -> String {
        decoded(&self.secret(), key)
    }

    /// Waits until the Secret is as wanted.
    #[track_caller]
    pub fn await_secret(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        self.kubectl().wait_until(&SECRET, SOON, |found| found.first().is_some_and(&wanted)).swap_remove(0)
    }

    /// Waits until the authority of this generation is the only one.
    #[track_caller]
    pub fn await_generation(&self, generation: u64) -> Value {
        self.await_secret(|secret| {
            decoded(secret, "phase") == "Stable" && decoded(secret, "generation") == generation.to_string()
        })
    }

    /// Asks for a rotation.
    pub fn annotate(&self, annotation: &str) {
        self.kubectl().ok(&["annotate", "--overwrite", SECRET[0], SECRET[1], annotation]);
    }

    /// Writes what a Secret holds, in the place of what it holds.
    pub fn replace_data(&self, data: &Value) {
        let patch = json!([{"op": "add", "path": "/data", "value": data}]).to_string();
        self.kubectl().ok(&["patch", SECRET[0], SECRET[1], "--type=json", "-p", &patch]);
    }

    /// The bundles of all webhooks of both configurations, in PEM.
    pub fn bundles(&self) -> Vec<String> {
        CONFIGURATIONS.iter().flat_map(|kind| bundles(&self.kubectl().get_json(&[kind, "atomix-controller"]))).collect()
    }

    /// Waits until all webhooks of a kind have this bundle.
    #[track_caller]
    pub fn await_bundle(&self, kind: &str, bundle: &str) {
        self.kubectl().wait_until(&[kind, "atomix-controller"], SOON, |found| {
            found.first().is_some_and(|found| bundles(found).iter().all(|found| found == bundle))
        });
    }

    /// Writes a bundle of PEM, or anything else, into one webhook, as `manager`.
    pub fn set_bundle(&self, (kind, webhook): (&str, usize), bundle: &str, manager: &str) {
        let (field, value) = (format!("/webhooks/{webhook}/clientConfig/caBundle"), STANDARD.encode(bundle));
        let patch = json!([{"op": "add", "path": field, "value": value}]).to_string();
        let manager = format!("--field-manager={manager}");
        self.kubectl().ok(&["patch", kind, "atomix-controller", "--type=json", &manager, "-p", &patch]);
    }

    /// Writes a bundle of PEM into all webhooks, as `manager`.
    pub fn set_bundles(&self, bundle: &str, manager: &str) {
        let value = STANDARD.encode(bundle);
        let manager = format!("--field-manager={manager}");
        for (kind, webhooks) in CONFIGURATIONS.into_iter().zip([1, 3]) {
            let field = |webhook| format!("/webhooks/{webhook}/clientConfig/caBundle");
            let patch = (0..webhooks).map(|webhook| json!({"op": "add", "path": field(webhook), "value": value}));
            let patch = patch.collect::<Value>().to_string();
            self.kubectl().ok(&["patch", kind, "atomix-controller", "--type=json", &manager, "-p", &patch]);
        }
    }

    /// That the API server, which verifies by the bundles, gets answers of both webhooks.
    #[track_caller]
    pub fn assert_admission_works(&self) {
        let kubectl = self.kubectl().in_namespace("default");
        let create = ["create", "--dry-run=server", "-o", "json", "-f", "-"];
        let made: Value = serde_json::from_str(&kubectl.feed_ok(&create, &set("w").to_string())).expect("JSON");
        assert_eq!(made["spec"]["partitions"], 1, "{made:#}");
        // Only the validating one is called for Partitions: they are not for users to make.
        let partition = json!({"apiVersion": "k8s.atomix.io/v1alpha1", "kind": "Partition",
            "metadata": {"name": "w-1"}, "spec": {"protocol": "raft"}});
        let refused = kubectl.feed_fails(&create, &partition.to_string());
        assert!(refused.contains("PartitionSet"), "{refused}");
    }

    /// Waits for an event about the Secret.
    #[track_caller]
    pub fn await_event(&self, reason: &str, says: &str) {
        self.kubectl().wait_until(&["events.events.k8s.io"], SOON, |events| {
            events.iter().any(|event| event["reason"] == reason && text(event, "/note").contains(says))
        });
    }
}

/// Options with periods of seconds, and these.
pub fn quick(arguments: &[&str]) -> StartOptions {
    let arguments = QUICK.iter().chain(arguments).map(|argument| (*argument).to_owned()).collect();
    StartOptions { arguments, ..StartOptions::default() }
}

/// A set that only the webhooks can complete.
pub fn set(name: &str) -> Value {
    json!({"apiVersion": "k8s.atomix.io/v1alpha1", "kind": "PartitionSet", "metadata": {"name": name},
        "spec": {"template": {"spec": {"protocol": "raft", "size": 3}}}})
}

pub fn decoded(secret: &Value, key: &str) -> String {
    let value = secret["data"][key].as_str().unwrap_or_default();
    String::from_utf8(STANDARD.decode(value).expect("base64")).expect("text")
}

/// The bundles of the webhooks of one configuration, in PEM.
pub fn bundles(configuration: &Value) -> Vec<String> {
    let webhooks = configuration["webhooks"].as_array().into_iter().flatten();
    let bundle = |webhook: &Value| webhook["clientConfig"]["caBundle"].as_str().unwrap_or_default().to_owned();
    webhooks
        .map(|webhook| String::from_utf8(STANDARD.decode(bundle(webhook)).expect("base64")).expect("text"))
        .collect()
}

/// A figure of a replica; 0 if it does not have it.
pub fn metric(controller: &Controller, name: &str) -> u64 {
    let metrics = controller.get("/metrics").map(|answer| answer.body).unwrap_or_default();
    let of = |line: &str| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok();
    metrics.lines().find_map(of).unwrap_or_default()
}
