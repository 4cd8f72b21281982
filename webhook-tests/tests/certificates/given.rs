//! Certificates that others make, in files as a kubelet mounts them or in a Secret: the latest good one is served, and
//! nothing of the controller's own authority happens.

use std::thread;
use std::time::{Duration, Instant};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::json;
use webhook_tests::{Controller, binaries, text};

use crate::load::{Load, failed, summary};
use crate::pki::{Authority, Directory, Pair};
use crate::support::{CONFIGURATIONS, Ground, SECRET, SOON, bundles, ground, metric, quick};
use crate::wire::{Wire, served};

const GIVEN: &str = "atomix-controller-webhook-certificate";
/// Between two looks of the controller at its files.
const LOOK: Duration = Duration::from_secs(5);
/// What this machine may take beyond that.
const MARGIN: Duration = Duration::from_secs(15);

const USED: &str = r#"atomix_certificate_loads_total{role="leaf",outcome="used"}"#;
const REFUSED: &str = r#"atomix_certificate_loads_total{role="leaf",outcome="refused"}"#;

fn start(ground: &Ground, source: &str) -> Controller {
    let options = quick(&[&format!("--webhook-certificate={source}")]);
    ground.installation.start_with(options).expect("a controller")
}

/// As a person does whose authority it is.
pub fn trust(ground: &Ground, bundle: &str) {
    ground.set_bundles(bundle, "somebody");
}

#[track_caller]
pub fn await_true(what: &str, mut is_true: impl FnMut() -> bool) {
    let deadline = Instant::now() + SOON;
    while !is_true() {
        assert!(Instant::now() < deadline, "{what}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// Waits until this pair is served. How long that took.
#[track_caller]
fn await_served(ground: &Ground, (certificate, _): &Pair, bundle: &str) -> Duration {
    let begun = Instant::now();
    let wanted = CertificateDer::from_pem_slice(certificate.as_bytes()).expect("a certificate");
    await_true("it is served", || served(ground, bundle).is_ok_and(|chain| chain.first() == Some(&wanted)));
    begun.elapsed()
}

#[track_caller]
fn await_refused(controller: &Controller, count: u64) {
    await_true("it was looked at", || metric(controller, REFUSED) >= count);
    assert_eq!(metric(controller, REFUSED), count);
}

/// That the controller has neither written what others look after, nor has it made an authority.
#[track_caller]
fn assert_nothing_of_its_own(ground: &Ground, since: usize, bundle: &str) {
    let audit = ground.control_plane.audit().split_off(since);
    let own = |entry: &&webhook_tests::AuditEntry| {
        entry.is_write()
            && ["secrets", "mutatingwebhookconfigurations", "validatingwebhookconfigurations"]
                .contains(&entry.resource.as_str())
    };
    assert_eq!(audit.iter().find(own), None);
    assert!(ground.kubectl().get_json(&SECRET)["data"].is_null());
    for kind in CONFIGURATIONS {
        let found = bundles(&ground.kubectl().get_json(&[kind, "atomix-controller"]));
        assert!(found.iter().all(|found| found == bundle), "{kind}");
    }
}

#[test]
fn files_that_a_kubelet_swaps_are_followed_and_bad_ones_change_nothing() {
    let ground = ground();
    let since = ground.control_plane.audit().len();
    let (authority, mounted) = (Authority::new(), Directory::new());
    let bundle = authority.pem();
    let mut last = authority.leaf();
    mounted.swap(&last, &bundle);
    let mut controller = start(&ground, &mounted.source());
    // It serves, and says what it waits for: another client to set the bundles.
    await_true("only the bundles are missing", || {
        controller.get("/readyz?verbose").is_ok_and(|answer| {
            let missing = |role: &str| answer.body.contains(&format!("[-] webhook CA bundle: {role}"));
            answer.status == 503
                && answer.body.matches("[-]").count() == 2
                && missing("mutating")
                && missing("validating")
        })
    });
    trust(&ground, &bundle);
    controller.wait_ready().expect("ready");
    ground.assert_admission_works();
    let (load, wire) = (Load::start(&ground.control_plane, 1), Wire::start(&ground, 50, true));

    let mut slowest = Duration::ZERO;
    for _ in 0..3 {
        last = authority.leaf();
        mounted.swap(&last, &bundle);
        slowest = slowest.max(await_served(&ground, &last, &bundle));
    }
    let another = authority.leaf();
    let torn = (another.0[..another.0.len() / 2].to_owned(), another.1.clone());
    let bad = [torn, (authority.leaf().0, another.1), authority.expired_leaf(), Authority::new().leaf()];
    for (count, bad) in (1..).zip(&bad) {
        mounted.swap(bad, &bundle);
        await_refused(&controller, count);
        await_served(&ground, &last, &bundle);
    }
    last = authority.leaf();
    mounted.swap(&last, &bundle);
    slowest = slowest.max(await_served(&ground, &last, &bundle));

    wire.await_connections(200);
    load.await_answers(100);
    let made = wire.finish();
    let sent = load.finish();
    println!("slowest: {slowest:.1?}; {made}; creates: {}", summary(&sent));
    assert!(slowest < LOOK + MARGIN, "{slowest:?}");
    assert!(made.failed.is_empty(), "{}", made.failed[0]);
    assert!(failed(&sent).is_empty(), "{:#?}", failed(&sent)[0]);
    assert!(made.connections >= 200 && sent.len() >= 100, "{made}, {} creates", sent.len());
    assert_eq!(metric(&controller, USED), 5);
    assert_nothing_of_its_own(&ground, since, &bundle);
    assert!(!controller.log().contains("PRIVATE KEY"));
}

fn apply(ground: &Ground, (certificate, key): &Pair, ca: &str) {
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": GIVEN}, "type": "kubernetes.io/tls",
        "stringData": {"tls.crt": certificate, "tls.key": key, "ca.crt": ca}});
    ground.kubectl().apply_stdin(&secret.to_string());
}

#[test]
fn a_secret_is_followed_at_once_and_a_bundle_that_does_not_fit_is_reported() {
    let ground = ground();
    let since = ground.control_plane.audit().len();
    let example = binaries::workspace().join("deploy/examples/webhook-certificate.yaml");
    ground.kubectl().ok(&["apply", "-f", &example.to_string_lossy()]);
    let (authority, other) = (Authority::new(), Authority::new());
    let bundle = authority.pem();
    trust(&ground, &bundle);
    let mut controller = start(&ground, &format!("secret:{GIVEN}"));
    await_refused(&controller, 1);
    let mut last = authority.leaf();
    apply(&ground, &last, &bundle);
    controller.wait_ready().expect("ready");
    ground.assert_admission_works();
    let wire = Wire::start(&ground, 50, true);
    let mut slowest = Duration::ZERO;
    for _ in 0..3 {
        last = authority.leaf();
        apply(&ground, &last, &bundle);
        slowest = slowest.max(await_served(&ground, &last, &bundle));
    }
    apply(&ground, &(last.0.clone(), authority.leaf().1), &bundle);
    await_refused(&controller, 2);
    ground.kubectl().ok(&["delete", "secret", GIVEN]);
    await_refused(&controller, 3);
    await_served(&ground, &last, &bundle);
    ground.assert_admission_works();
    let made = wire.finish();
    println!("slowest: {slowest:.2?}; {made}");
    // A tenth of a second, where nothing else runs.
    assert!(slowest < LOOK + MARGIN, "{slowest:?}");
    assert!(made.failed.is_empty(), "{}", made.failed[0]);
    assert_nothing_of_its_own(&ground, since, &bundle);

    let in_sync =
        |role: &str| metric(&controller, &format!(r#"atomix_webhook_bundle_in_sync{{configuration="{role}"}}"#));
    assert_eq!((in_sync("mutating"), in_sync("validating")), (1, 1));
    ground.set_bundle((CONFIGURATIONS[1], 1), &other.pem(), "somebody");
    await_true("the bundle does not trust what is served", || (in_sync("mutating"), in_sync("validating")) == (1, 0));
    ground.kubectl().wait_until(&["events.events.k8s.io"], SOON, |events| {
        events.iter().any(|event| {
            event["reason"] == "CABundleMismatch"
                && text(event, "/regarding/kind") == "Service"
                && text(event, "/note").contains("validating webhook configuration")
                && text(event, "/note").contains("validate.partitions.k8s.atomix.io: UnknownIssuer")
        })
    });
    // No other replica would do better.
    assert_eq!(controller.get("/readyz").expect("an answer").status, 200);
    ground.set_bundle((CONFIGURATIONS[1], 1), &[other.pem(), bundle].concat(), "somebody");
    await_true("the bundle trusts what is served", || in_sync("validating") == 1);
    await_true("that is logged", || controller.log().contains("trusts the certificate that is served again"));
    assert_eq!(controller.log().matches("does not trust the certificate").count(), 1);
}
