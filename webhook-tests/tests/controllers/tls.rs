//! The webhooks' certificates: made by the controller itself, trusted by the
//! API server, and repaired when another client breaks that trust.

use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use webhook_tests::{ControlPlane, Controller, Installation, Kubectl, Signal, StartOptions, free_port};

use crate::rbac::assert_never_refused;
use crate::support::{SOON, set, text};

const SECRET: &str = "atomix-controller-webhook-ca";
const CONFIGURATIONS: [&str; 2] = ["mutatingwebhookconfiguration", "validatingwebhookconfiguration"];

/// A cluster whose authority is empty and where no controller runs: for one test at a time.
struct Ground {
    control_plane: ControlPlane,
    installation: Installation,
}

fn ground() -> MutexGuard<'static, Ground> {
    static GROUND: LazyLock<Mutex<Ground>> = LazyLock::new(|| {
        let control_plane = ControlPlane::start().expect("a control plane");
        let installation = Installation::new(&control_plane).expect("an installation");
        Mutex::new(Ground { control_plane, installation })
    });
    let ground = GROUND.lock().unwrap_or_else(PoisonError::into_inner);
    ground.forget();
    ground
}

impl Ground {
    fn kubectl(&self) -> &Kubectl {
        self.installation.kubectl()
    }

    /// As on an empty cluster: no authority, nothing is trusted, and no replica that was killed is waited for.
    fn forget(&self) {
        self.kubectl().ok(&[
            "delete",
            "lease",
            "--ignore-not-found",
            "atomix-controller",
            "atomix-controller-replicas",
        ]);
        self.kubectl().ok(&["patch", "secret", SECRET, "--type=merge", "-p", r#"{"data": null}"#]);
        for (kind, webhooks) in CONFIGURATIONS.into_iter().zip([1, 3]) {
            let bundle = |index| format!("/webhooks/{index}/clientConfig/caBundle");
            let emptied = (0..webhooks).map(|index| json!({"op": "add", "path": bundle(index), "value": ""}));
            let emptied = emptied.collect::<Value>().to_string();
            self.kubectl().ok(&["patch", kind, "atomix-controller", "--type=json", "-p", &emptied]);
        }
    }

    fn start(&self) -> Controller {
        let mut controller = self.installation.start().expect("a controller");
        self.ready(&mut controller);
        controller
    }

    /// Waits until a controller is ready; if it is not in time, the logs are kept.
    fn ready(&self, controller: &mut Controller) {
        if let Err(error) = controller.wait_ready() {
            self.control_plane.keep_logs();
            panic!("{error:#}");
        }
    }

    fn secret(&self) -> Value {
        self.kubectl().get_json(&["secret", SECRET])
    }

    /// The bundles of all webhooks of both configurations.
    fn bundles(&self) -> Vec<String> {
        CONFIGURATIONS.iter().flat_map(|kind| bundles(&self.kubectl().get_json(&[kind, "atomix-controller"]))).collect()
    }

    /// That the API server, which verifies by the bundles, gets answers of both webhooks.
    fn assert_admission_works(&self) {
        let kubectl = self.kubectl().in_namespace("default");
        // The mutating webhook fills in what is left out, and rejects what it cannot complete.
        let create = ["create", "--dry-run=server", "-o", "json", "-f", "-"];
        let made = kubectl.feed_ok(&create, &set("w", 2, "raft", 3));
        let made: Value = serde_json::from_str(&made).expect("JSON");
        assert_eq!(made["spec"]["partitionSize"], 3, "{made:#}");
        let refused = kubectl.feed_fails(&create, &set("w", 0, "raft", 3));
        assert!(refused.contains("spec.partitions: Invalid value: 0"), "{refused}");
        // Only the validating one is called for Partitions: they are not for users to make.
        let partition = json!({"apiVersion": "k8s.atomix.io/v1alpha1", "kind": "Partition",
            "metadata": {"name": "w-1"}, "spec": {"protocol": "raft"}});
        let refused = kubectl.feed_fails(&create, &partition.to_string());
        assert!(refused.contains("PartitionSet"), "{refused}");
    }
}

fn bundles(configuration: &Value) -> Vec<String> {
    let webhooks = configuration["webhooks"].as_array().expect("webhooks").iter();
    webhooks.map(|webhook| text(webhook, "/clientConfig/caBundle").to_owned()).collect()
}

/// Asks until the answer is as wanted: nobody sends events about it.
#[track_caller]
fn await_answer(controller: &Controller, path: &str, wanted: impl Fn(u16, &str) -> bool) {
    let deadline = Instant::now() + SOON;
    loop {
        let answer = controller.get(path);
        if answer.as_ref().is_ok_and(|answer| wanted(answer.status, &answer.body)) {
            return;
        }
        assert!(Instant::now() < deadline, "{path}: {answer:?}");
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn ready_is_false_before_the_api_server_trusts_the_certificate_and_true_after() {
    let ground = ground();
    let configurations = CONFIGURATIONS.map(|kind| {
        let mut configuration = ground.kubectl().get_json(&[kind, "atomix-controller"]);
        configuration["metadata"] = json!({"name": "atomix-controller"});
        for webhook in configuration["webhooks"].as_array_mut().expect("webhooks") {
            webhook["clientConfig"].as_object_mut().expect("an object").remove("caBundle");
        }
        ground.kubectl().ok(&["delete", kind, "atomix-controller"]);
        configuration
    });
    let mut controller = ground.installation.start().expect("a controller");
    // Everything but that is well.
    let missing = |body: &str| body.matches("there is no such webhook configuration").count();
    await_answer(&controller, "/readyz?verbose", |status, body| {
        status == 503 && missing(body) == 2 && body.matches("[-]").count() == 2
    });
    ground.kubectl().create_stdin(&configurations[0].to_string());
    await_answer(&controller, "/readyz?verbose", |status, body| {
        status == 503 && missing(body) == 1 && body.matches("[-]").count() == 1
    });
    ground.kubectl().create_stdin(&configurations[1].to_string());
    ground.ready(&mut controller);
    ground.assert_admission_works();
    assert!(controller.stop().expect("an end").success());
}

#[test]
fn both_configurations_trust_the_authority_in_the_secret() {
    let ground = ground();
    let _controller = ground.start();
    let authority = text(&ground.secret(), "/data/current.crt").to_owned();
    assert!(!authority.is_empty());
    let bundles = ground.bundles();
    assert_eq!(bundles.len(), 4);
    for bundle in bundles {
        assert_eq!(bundle, authority);
    }
    ground.assert_admission_works();
}

#[test]
fn a_spoiled_bundle_is_put_right() {
    let ground = ground();
    let controller = ground.start();
    let good = ground.bundles();
    // Nothing at all, and an authority that is real and another's.
    let config: Value =
        serde_json::from_str(&ground.kubectl().ok(&["config", "view", "--raw", "-o", "json"])).expect("a kubeconfig");
    let another = text(&config, "/clusters/0/cluster/certificate-authority-data").to_owned();
    assert!(!another.is_empty());
    for spoiled in ["", &another] {
        for kind in CONFIGURATIONS {
            let patch = json!([{"op": "replace", "path": "/webhooks/0/clientConfig/caBundle", "value": spoiled}]);
            ground.kubectl().ok(&["patch", kind, "atomix-controller", "--type=json", "-p", &patch.to_string()]);
            ground.kubectl().wait_until(&[kind, "atomix-controller"], SOON, |found| {
                bundles(&found[0]).iter().all(|bundle| *bundle == good[0])
            });
        }
        ground.assert_admission_works();
    }
    let metrics = controller.get("/metrics").expect("metrics").body;
    let repairs: u32 = metrics
        .lines()
        .filter(|line| line.starts_with("atomix_webhook_bundle_repairs_total"))
        .filter_map(|line| line.rsplit(' ').next()?.parse::<u32>().ok())
        .sum();
    assert_eq!(repairs, 4, "{metrics}");
}

#[test]
fn the_authority_is_made_once_and_outlives_the_process() {
    let ground = ground();
    let mut first = ground.start();
    let (secret, bundles) = (ground.secret(), ground.bundles());
    assert!(first.stop().expect("an end").success());
    let _second = ground.start();
    assert_eq!(ground.secret()["metadata"]["resourceVersion"], secret["metadata"]["resourceVersion"], "written again");
    assert_eq!(ground.bundles(), bundles);
    ground.assert_admission_works();
}

#[test]
fn two_that_start_at_once_on_the_empty_secret_end_with_one_authority() {
    let ground = ground();
    let lost = || {
        let audit = ground.control_plane.audit();
        audit.iter().filter(|entry| entry.resource == "secrets" && entry.code == 409).count()
    };
    // Until both have really written, and one of them came too late.
    for round in 1..=3 {
        ground.forget();
        let start = |webhook_port: Option<u16>| {
            let options = StartOptions { webhook_port, ..StartOptions::default() };
            let controller = ground.installation.start_with(options).expect("a controller");
            // Before it has done anything; the other would come too late else.
            controller.signal(Signal::Stop);
            controller
        };
        let mut both = [start(None), start(Some(free_port()))];
        for controller in &both {
            controller.signal(Signal::Cont);
        }
        for controller in &mut both {
            ground.ready(controller);
        }
        let authority = text(&ground.secret(), "/data/current.crt").to_owned();
        assert!(!authority.is_empty());
        assert!(ground.bundles().iter().all(|bundle| *bundle == authority), "{:?}", ground.bundles());
        // Each serves what that authority has signed: it is ready only if its own certificate verifies.
        for controller in &both {
            await_answer(controller, "/readyz?verbose", |status, body| status == 200 && !body.contains("[-]"));
        }
        ground.assert_admission_works();
        if lost() > 0 {
            break;
        }
        // It is up to the machine, and every round has shown what it should.
        println!("not at once in round {round}");
    }
    assert_never_refused(&ground.control_plane.audit());
}
