//! From cert-manager back to the self-signed authority, by the commands of the documents.

use webhook_tests::{CertManager, ControlPlane, Installation, MANIFEST, binaries, commands_of, live};

use crate::support::{LEAF, OVERLAY, ROOT, SOON};

#[test]
fn the_way_back_ends_in_what_the_manifest_says_and_replicas_are_ready() {
    let control_plane = ControlPlane::start().expect("a control plane");
    let _cert_manager = CertManager::start(&control_plane).expect("cert-manager");
    let kubectl = control_plane.kubectl().in_namespace("kube-system");
    let manifest = binaries::workspace().join(MANIFEST);
    let file = manifest.to_string_lossy();
    kubectl.ok(&["create", "-f", &file]);
    let wanted = live(&kubectl, &manifest);
    kubectl.ok(&["delete", "-f", &file]);

    kubectl.ok(&["create", "-k", &binaries::workspace().join(OVERLAY).to_string_lossy()]);
    kubectl.wait_until(&["mutatingwebhookconfiguration", "atomix-controller"], SOON, |found| {
        !found[0]["webhooks"][0]["clientConfig"]["caBundle"].is_null()
    });
    kubectl.wait_until(&["secret", LEAF.secret], SOON, |found| !found.is_empty());
    for commands in commands_of("docs/certificates.md", "Back to the self-signed authority") {
        let done = control_plane.kubectl().shell(&commands);
        assert!(done.status.success(), "{done:?}");
    }
    assert_eq!(live(&kubectl, &manifest), wanted);
    for secret in [LEAF.secret, ROOT.secret] {
        kubectl.fails(&["get", "secret", secret]);
    }

    // Nobody else writes caBundle any more.
    let installation = Installation::of_installed(&control_plane).expect("what was installed");
    let mut controller = installation.start().expect("a controller");
    controller.wait_ready().expect("a ready controller");
    let log = controller.log();
    assert!(!log.contains("repaired the CA bundle"), "{log}");
}
