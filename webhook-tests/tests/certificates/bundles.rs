//! Whatever is done to the bundles, they are put right, and the one who did it is named.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{CONFIGURATIONS, SOON, ground, metric};

#[test]
fn a_spoilt_bundle_is_put_right_and_the_culprit_is_named() {
    let ground = ground();
    let replicas = ground.replicas(2);
    let good = ground.bundles().swap_remove(0);
    let config: Value =
        serde_json::from_str(&ground.kubectl().ok(&["config", "view", "--raw", "-o", "json"])).expect("a kubeconfig");
    let foreign = config["clusters"][0]["cluster"]["certificate-authority-data"].as_str().expect("an authority");
    let foreign =
        String::from_utf8(base64::Engine::decode(&base64::engine::general_purpose::STANDARD, foreign).expect("base64"));
    let mut slowest = Duration::ZERO;
    for (bundle, manager) in
        [("", "the-empty"), ("garbage", "argocd-controller"), (foreign.expect("PEM").as_str(), "the-foreign")]
    {
        for kind in CONFIGURATIONS {
            ground.set_bundle((kind, 0), bundle, manager);
            let spoilt = Instant::now();
            ground.await_bundle(kind, &good);
            slowest = slowest.max(spoilt.elapsed());
        }
        ground.assert_admission_works();
    }
    println!("slowest repair: {slowest:.2?}, kubectl's own time included");
    // Two on a machine that has nothing else to do.
    assert!(slowest < Duration::from_secs(30), "{slowest:?}");
    ground.await_event("CABundleRepaired", "mutating webhook configuration had another CA bundle, by the-foreign");
    ground.await_event("CABundleRepaired", "validating webhook configuration had another CA bundle, by the-foreign");
    let counted = |manager: &str| -> u64 {
        let of = |configuration: &str| {
            let labels = format!(r#"{{configuration="{configuration}",manager="{manager}"}}"#);
            let name = format!("atomix_webhook_bundle_repairs_total{labels}");
            replicas.controllers.iter().map(|replica| metric(replica, &name)).sum::<u64>()
        };
        of("mutating") + of("validating")
    };
    assert!(counted("argocd") >= 2 && counted("other") >= 2, "{} {}", counted("argocd"), counted("other"));
}

#[test]
fn a_fight_over_a_bundle_is_rate_limited() {
    let ground = ground();
    let _replicas = ground.replicas(1);
    let good = ground.bundles().swap_remove(0);
    let writes = || {
        let audit = ground.control_plane.audit();
        audit.iter().filter(|entry| entry.resource == CONFIGURATIONS[0].to_owned() + "s" && entry.is_write()).count()
    };
    let (before, begun) = (writes(), Instant::now());
    for _ in 0..40 {
        ground.set_bundle((CONFIGURATIONS[0], 0), "", "the-stubborn");
    }
    let took = begun.elapsed();
    ground.await_bundle(CONFIGURATIONS[0], &good);
    let fought = writes() - before;
    println!("{fought} writes against 40 in {took:.1?}");
    // Five at once, and one a second; one or two after the end.
    let most = 7 + usize::try_from(took.as_secs()).expect("a short time");
    assert!((1..=most).contains(&fought), "{fought} writes in {took:?}");
}

#[test]
fn webhook_configurations_that_were_deleted_get_their_bundles_when_they_are_back() {
    let ground = ground();
    let _replicas = ground.replicas(2);
    let good = ground.bundles().swap_remove(0);
    for kind in CONFIGURATIONS {
        ground.kubectl().ok(&["delete", kind, "atomix-controller"]);
    }
    ground.installation.restore_webhooks().expect("webhooks");
    for kind in CONFIGURATIONS {
        ground.await_bundle(kind, &good);
    }
    ground.kubectl().wait_until(&[CONFIGURATIONS[0], "atomix-controller"], SOON, |_| {
        let kubectl = ground.kubectl().in_namespace("default");
        let set = json!({"apiVersion": "k8s.atomix.io/v1alpha1", "kind": "PartitionSet", "metadata": {"name": "w"},
            "spec": {"partitions": 0, "template": {"spec": {"protocol": "raft"}}}});
        kubectl.feed(&["create", "--dry-run=server", "-f", "-"], &set.to_string()).stderr.contains("spec.partitions")
    });
    ground.assert_admission_works();
}
