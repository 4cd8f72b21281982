//! What these tests have in common.

use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Value, json};
use webhook_tests::{CertManager, ControlPlane, Installation, Kubectl, Replicas, StartOptions, binaries};

/// Longer than anything here takes on a busy machine.
pub const SOON: Duration = Duration::from_secs(120);
/// What is tested.
pub const OVERLAY: &str = "kustomize/cert-manager";
pub const CONFIGURATIONS: [&str; 2] = ["mutatingwebhookconfiguration", "validatingwebhookconfiguration"];
/// The Certificate of the authority, and the Secret that it is in.
pub const ROOT: Certificate =
    Certificate { name: "atomix-controller-webhook-root", secret: "atomix-controller-webhook-root" };
/// The Certificate that is served, and the Secret that it is in.
pub const LEAF: Certificate =
    Certificate { name: "atomix-controller-webhook", secret: "atomix-controller-webhook-tls" };

/// A Certificate of cert-manager.
#[derive(Clone, Copy)]
pub struct Certificate {
    pub name: &'static str,
    pub secret: &'static str,
}

/// What people may arrange in another way.
#[derive(Clone, Copy)]
pub struct Arrangement {
    /// Whether the authority gets a new key when it is renewed.
    pub new_key: bool,
    /// Whose authority is trusted.
    pub injected: Certificate,
    /// Whether the cainjector leaves the authorities that were trusted before, as since version 1.19.
    pub merges: bool,
}

/// As it is shipped.
pub const SHIPPED: Arrangement = Arrangement { new_key: false, injected: ROOT, merges: true };

/// A cluster with cert-manager and the overlay, for one test at a time.
pub struct Ground {
    pub control_plane: ControlPlane,
    pub cert_manager: CertManager,
    pub installation: Installation,
}

/// Waits until no other test has it.
pub fn ground() -> MutexGuard<'static, Ground> {
    static GROUND: LazyLock<Mutex<Ground>> = LazyLock::new(|| {
        let control_plane = ControlPlane::start().expect("a control plane");
        let cert_manager = CertManager::start(&control_plane).expect("cert-manager");
        let overlay = binaries::workspace().join(OVERLAY);
        let installation = Installation::of_kustomization(&control_plane, &overlay, "atomix-controller", "kube-system");
        Mutex::new(Ground { installation: installation.expect("an installation"), control_plane, cert_manager })
    });
    GROUND.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Ground {
    /// The administrator's kubectl in the controller's namespace.
    pub fn kubectl(&self) -> &Kubectl {
        self.installation.kubectl()
    }

    /// Two replicas behind a balancer, once they are ready.
    pub fn replicas(&self) -> Replicas<'_> {
        // API servers here hear of a changed bundle in milliseconds.
        let options = StartOptions { arguments: vec!["--ca-hold-down=1s".to_owned()], ..StartOptions::default() };
        self.installation.replicas_with(2, options, Duration::ZERO).unwrap_or_else(|error| {
            self.control_plane.keep_logs();
            panic!("{error:#}")
        })
    }

    /// Waits until cert-manager has made it; what it is, PEM.
    #[track_caller]
    pub fn await_other(&self, certificate: Certificate, than: &str) -> String {
        let found = self.kubectl().wait_until(&["secret", certificate.secret], SOON, |found| {
            found.first().map(|secret| decoded(secret, "tls.crt")).is_some_and(|is| !is.is_empty() && is != than)
        });
        decoded(&found[0], "tls.crt")
    }

    /// Does what `cmctl renew` does, and waits for the other certificate; PEM.
    #[track_caller]
    pub fn renew(&self, certificate: Certificate) -> String {
        let before = self.stored(certificate, "tls.crt");
        // One that is being issued already, as its Secret's last change may have made necessary, would not be again.
        self.kubectl().wait_until(&["certificates.cert-manager.io", certificate.name], SOON, |found| {
            found.first().is_some_and(|found| {
                let conditions = found["status"]["conditions"].as_array().map_or(&[][..], Vec::as_slice);
                let is = |kind: &str| conditions.iter().any(|one| one["type"] == kind && one["status"] == "True");
                is("Ready") && !is("Issuing")
            })
        });
        let issuing = json!([{"op": "add", "path": "/status/conditions/-", "value": {
            "type": "Issuing", "status": "True", "reason": "ManuallyTriggered", "message": "by a test",
        }}]);
        let of =
            ["patch", "certificates.cert-manager.io", certificate.name, "--subresource=status", "--type=json", "-p"];
        self.kubectl().ok(&[&of[..], &[&issuing.to_string()]].concat());
        self.await_other(certificate, &before)
    }

    /// A value of the Secret that a certificate is in.
    pub fn stored(&self, certificate: Certificate, key: &str) -> String {
        decoded(&self.kubectl().get_json(&["secret", certificate.secret]), key)
    }

    /// Arranges it in another way than it is shipped.
    pub fn arrange(&mut self, arrangement: Arrangement) {
        let Arrangement { new_key, injected, merges } = arrangement;
        let policy = if new_key { "Always" } else { "Never" };
        let patch = json!({"spec": {"privateKey": {"rotationPolicy": policy}}}).to_string();
        self.kubectl().ok(&["patch", "certificates.cert-manager.io", ROOT.name, "--type=merge", "-p", &patch]);
        let annotation = format!("cert-manager.io/inject-ca-from=kube-system/{}", injected.name);
        for kind in CONFIGURATIONS {
            self.kubectl().ok(&["annotate", "--overwrite", kind, "atomix-controller", &annotation]);
        }
        self.cert_manager.restart_injector(merges).expect("a cainjector");
    }

    /// Has all webhooks trust this authority, PEM, and no other.
    pub fn trust_only(&self, authority: &str) {
        let value = STANDARD.encode(authority);
        for (kind, webhooks) in CONFIGURATIONS.into_iter().zip([1, 3]) {
            let fields = (0..webhooks).map(|webhook| format!("/webhooks/{webhook}/clientConfig/caBundle"));
            let patch: Value = fields.map(|path| json!({"op": "add", "path": path, "value": value})).collect();
            self.kubectl().ok(&["patch", kind, "atomix-controller", "--type=json", "-p", &patch.to_string()]);
        }
    }

    /// That the API server, which verifies by the bundles, gets answers of both webhooks.
    #[track_caller]
    pub fn assert_admission_works(&self) {
        let kubectl = self.kubectl().in_namespace("default");
        let create = ["create", "--dry-run=server", "-o", "json", "-f", "-"];
        let set = json!({"apiVersion": "k8s.atomix.io/v1alpha1", "kind": "PartitionSet", "metadata": {"name": "w"},
            "spec": {"template": {"spec": {"protocol": "raft", "size": 3}}}});
        let made: Value = serde_json::from_str(&kubectl.feed_ok(&create, &set.to_string())).expect("JSON");
        assert_eq!(made["spec"]["partitions"], 1, "{made:#}");
        // Of Partitions, only the validating one hears: they are not for users to make.
        let partition = json!({"apiVersion": "k8s.atomix.io/v1alpha1", "kind": "Partition",
            "metadata": {"name": "w-1"}, "spec": {"protocol": "raft"}});
        let refused = kubectl.feed_fails(&create, &partition.to_string());
        assert!(refused.contains("PartitionSet"), "{refused}");
    }
}

pub fn decoded(secret: &Value, key: &str) -> String {
    let value = secret["data"][key].as_str().unwrap_or_default();
    String::from_utf8(STANDARD.decode(value).expect("base64")).expect("text")
}

/// The first certificate of a chain in PEM, as DER.
pub fn first(chain: &str) -> Vec<u8> {
    CertificateDer::from_pem_slice(chain.as_bytes()).expect("a certificate").to_vec()
}

/// The bundles of the webhooks of one configuration, in PEM.
pub fn bundles(configuration: &Value) -> Vec<String> {
    let webhooks = configuration["webhooks"].as_array().into_iter().flatten();
    let bundle = |webhook: &Value| webhook["clientConfig"]["caBundle"].as_str().unwrap_or_default().to_owned();
    webhooks
        .map(|webhook| String::from_utf8(STANDARD.decode(bundle(webhook)).expect("base64")).expect("text"))
        .collect()
}
