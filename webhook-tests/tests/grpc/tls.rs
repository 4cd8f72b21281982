//! The API over TLS, with certificates that others make.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use webhook_tests::{Kubectl, StartOptions, suffix};

use crate::examples::apply;
use crate::support::ground;
use crate::wire::{PREFACE, Raw, await_metric, await_true, groups, launch, metric, start};

const SECRET: &str = "atomix-controller-grpc";

/// A directory of one test, removed at its end.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("webhook-tests-tls-{}", suffix()));
        fs::create_dir_all(&path).expect("a directory");
        Self(path)
    }

    fn write(&self, name: &str, content: &str) -> String {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        fs::write(&path, content).expect("a file");
        path.to_string_lossy().into_owned()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, format!("authority {}", suffix()));
        let key = KeyPair::generate().expect("a key");
        Self(CertifiedIssuer::self_signed(params, key).expect("an authority"))
    }

    fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate for this machine and its key.
    fn leaf(&self) -> (String, String) {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("parameters");
        (params.signed_by(&key, &self.0).expect("a certificate").pem(), key.serialize_pem())
    }
}

fn options(arguments: &[String]) -> StartOptions {
    StartOptions { arguments: arguments.to_vec(), ..StartOptions::default() }
}

fn apply_secret(kubectl: &Kubectl, directory: &Directory, (certificate, key): &(String, String)) {
    let from = |name: &str, content| format!("--from-file={name}={}", directory.write(name, content));
    let (certificate, key) = (from("tls.crt", certificate), from("tls.key", key));
    let create = ["create", "secret", "generic", SECRET, &certificate, &key, "--dry-run=client", "-o", "yaml"];
    let secret = kubectl.ok(&create);
    kubectl.apply_stdin(&secret);
}

#[test]
fn a_certificate_in_a_secret_is_served_replaced_and_kept_when_a_worse_one_comes() {
    let kubectl = ground().control_plane.kubectl().in_namespace("kube-system");
    apply(&kubectl, "grpc-certificate.yaml");
    let directory = Directory::new();
    let mut controller = launch(options(&[format!("--grpc-certificate=secret:{SECRET}")]));
    // Nothing is served in the clear instead, and no client is redirected there.
    await_true("it waits for a certificate", || {
        let answer = controller.get("/readyz?verbose");
        answer.is_ok_and(|answer| {
            answer.status == 503
                && answer.body.matches("[-]").count() == 1
                && answer.body.contains("[-] gRPC certificate: none yet")
        })
    });
    assert_ne!(groups(&controller, &["list"]).0, 0);
    let (first, second) = (Authority::new(), Authority::new());
    let [trusts_first, trusts_second] =
        [("1.pem", &first), ("2.pem", &second)].map(|(file, authority)| directory.write(file, &authority.pem()));
    apply_secret(&kubectl, &directory, &first.leaf());
    controller.wait_ready().expect("ready");
    let list = |trusted: &str| groups(&controller, &["list", "--ca", trusted]);
    assert_eq!(list(&trusts_first).0, 0, "{}", list(&trusts_first).1);
    assert_ne!(list(&trusts_second).0, 0);
    assert_ne!(groups(&controller, &["list"]).0, 0, "in the clear");
    let mut clear = Raw::silent(controller.grpc_addr());
    clear.send(PREFACE).expect("sent");
    clear.closed();
    await_metric(&controller, r#"atomix_grpc_tls_handshake_failures_total{reason="tls"}"#, |count| count > 0);

    apply_secret(&kubectl, &directory, &second.leaf());
    await_true("the new certificate is served", || list(&trusts_second).0 == 0);
    assert_ne!(list(&trusts_first).0, 0);
    // Of two different pairs.
    apply_secret(&kubectl, &directory, &(first.leaf().0, second.leaf().1));
    await_metric(&controller, r#"atomix_certificate_loads_total{role="grpc",outcome="refused"}"#, |count| count == 2);
    assert_eq!(list(&trusts_second).0, 0);
    kubectl.ok(&["delete", "secret", SECRET]);
    await_metric(&controller, r#"atomix_certificate_loads_total{role="grpc",outcome="refused"}"#, |count| count == 3);
    assert_eq!(list(&trusts_second).0, 0);
    assert_eq!(metric(&controller, r#"atomix_certificate_loads_total{role="grpc",outcome="used"}"#), 2);
    assert_eq!(controller.get("/readyz").expect("an answer").status, 200);
    assert!(!controller.log().contains("PRIVATE KEY"));
}

/// Puts files as a kubelet does: behind a symbolic link that is swapped.
fn swap(directory: &Directory, number: u32, (certificate, key): &(String, String), ca: &str) {
    let version = format!("..version-{number}");
    for (name, content) in [("tls.crt", certificate.as_str()), ("tls.key", key), ("ca.crt", ca)] {
        directory.write(&format!("{version}/{name}"), content);
        let _ = symlink(Path::new("..data").join(name), directory.0.join(name));
    }
    symlink(&version, directory.0.join("..data_tmp")).expect("a link");
    fs::rename(directory.0.join("..data_tmp"), directory.0.join("..data")).expect("a swap");
}

#[test]
fn mounted_files_are_followed_and_clients_have_to_show_a_certificate_of_the_right_authority() {
    let (mounted, files) = (Directory::new(), Directory::new());
    let (servers, clients, others) = (Authority::new(), Authority::new(), Authority::new());
    swap(&mounted, 1, &servers.leaf(), &clients.pem());
    let from = mounted.0.display();
    let controller = start(&[&format!("--grpc-certificate=files:{from}"), &format!("--grpc-client-ca=files:{from}")]);
    let trusted = files.write("servers.pem", &servers.pem());
    let list = |authority: Option<&Authority>| {
        let mut arguments = vec!["list".to_owned(), "--ca".to_owned(), trusted.clone()];
        if let Some((certificate, key)) = authority.map(Authority::leaf) {
            let (certificate, key) = (files.write("client.pem", &certificate), files.write("client.key", &key));
            arguments.extend(["--certificate".to_owned(), certificate, "--key".to_owned(), key]);
        }
        groups(&controller, &arguments.iter().map(String::as_str).collect::<Vec<_>>())
    };
    assert_eq!(list(Some(&clients)).0, 0, "{}", list(Some(&clients)).1);
    assert_ne!(list(None).0, 0, "without a certificate");
    assert_ne!(list(Some(&others)).0, 0, "with another's certificate");
    swap(&mounted, 2, &servers.leaf(), &others.pem());
    await_true("the new authority counts", || list(Some(&others)).0 == 0);
    assert_ne!(list(Some(&clients)).0, 0, "of the former authority");
}
