//! The webhooks take only clients with a certificate, if that is wanted: an API server that has one gets through.

use std::io::{self, Read, Write};
use std::process::Command;
use std::sync::Arc;

use rustls::crypto::ring::default_provider;
use rustls::version::{TLS12, TLS13};
use webhook_tests::{ControlPlane, Controller, Installation, binaries};

use crate::given::{await_true, trust};
use crate::pki::{Authority, Directory, Pair};
use crate::support::{Ground, bundles, metric, quick, set};
use crate::wire::{address, config_with, connect};

const REFUSED: &str = "atomix_tls_handshake_failures_total";

/// An API server that shows the client certificate of the script for development certificates.
fn ground(files: &Directory) -> Ground {
    let script = binaries::workspace().join("certs/make-dev-certs.sh");
    let made = Command::new(script).arg(&files.0).output().expect("openssl");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let pair = ["client.crt", "client.key"].map(|name| files.0.join(name));
    let control_plane = ControlPlane::start_with_client_certificate(&pair[0], &pair[1]).expect("a control plane");
    let installation = Installation::new(&control_plane).expect("an installation");
    Ground { control_plane, installation }
}

fn start(ground: &Ground, arguments: &[&str]) -> Controller {
    ground.installation.start_with(quick(arguments)).expect("a controller")
}

fn refused(controller: &Controller, reason: &str) -> u64 {
    metric(controller, &format!("{REFUSED}{{reason=\"{reason}\"}}"))
}

/// A request of a client that shows this certificate, or none, by TLS 1.2 and 1.3.
fn ask(ground: &Ground, bundle: &str, pair: Option<&Pair>) -> io::Result<()> {
    for version in [&TLS12, &TLS13] {
        let mut stream = connect(address(ground), Arc::new(config_with(default_provider(), bundle, &[version], pair)))?;
        write!(stream, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        match stream.read_to_string(&mut answer) {
            Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => return Err(error),
            _ if answer.starts_with("HTTP/1.1 404") => {}
            _ => return Err(io::Error::other(answer)),
        }
    }
    Ok(())
}

#[test]
fn an_api_server_with_a_certificate_gets_through_and_others_do_not() {
    let (files, swapped) = (Directory::new(), Directory::new());
    let ground = ground(&files);
    let mut controller =
        start(&ground, &[&format!("--webhook-client-ca={}", files.source()), "--webhook-client-name=kube-apiserver"]);
    controller.wait_ready().expect("ready, asked without a certificate");
    ground.assert_admission_works();
    assert_eq!(controller.get("/livez").expect("an answer").status, 200);

    let bundle = ground.bundles().swap_remove(0);
    assert!(ask(&ground, &bundle, None).is_err());
    let stranger = Authority::new();
    assert!(ask(&ground, &bundle, Some(&stranger.client("kube-apiserver"))).is_err());
    await_true("both are counted", || {
        refused(&controller, "client_certificate_missing") > 0 && refused(&controller, "client_certificate") > 0
    });
    controller.stop().expect("an end");

    // With certificates of others: the API server's is none of those that are let in any more.
    let kept = |name: &str| std::fs::read_to_string(files.0.join(name)).expect("a file");
    let (ca, serving) = (kept("ca.crt"), (kept("tls.crt"), kept("tls.key")));
    swapped.swap(&serving, &ca);
    let mut controller = start(
        &ground,
        &[
            &format!("--webhook-certificate={}", files.source()),
            &format!("--webhook-client-ca={}", swapped.source()),
            "--webhook-client-name=somebody-else",
        ],
    );
    trust(&ground, &ca);
    controller.wait_ready().expect("ready");
    let kubectl = ground.kubectl().in_namespace("default");
    let refusal = kubectl.feed_fails(&["create", "--dry-run=server", "-f", "-"], &set("w").to_string());
    assert!(refusal.contains("failed calling webhook"), "{refusal}");
    await_true("it is counted", || refused(&controller, "client_name") > 0);
    let log = controller.log();
    let line = log.lines().find(|line| line.contains("a client of the webhooks was refused")).expect("a line");
    assert!(line.contains("kube-apiserver") && line.contains("somebody-else"), "{line}");

    // The authority of clients follows its file.
    let second = Authority::new();
    let client = second.client("somebody-else");
    assert!(ask(&ground, &ca, Some(&client)).is_err());
    swapped.swap(&serving, &second.pem());
    await_true("the new authority counts", || ask(&ground, &ca, Some(&client)).is_ok());
    assert_eq!(bundles(&ground.kubectl().get_json(&["mutatingwebhookconfiguration", "atomix-controller"])), [ca]);
    assert_eq!(controller.get("/readyz").expect("an answer").status, 200);
    assert!(!log.contains("PRIVATE KEY"));
}
