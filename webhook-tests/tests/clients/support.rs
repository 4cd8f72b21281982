//! What these tests have in common.

use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;
use webhook_tests::{
    ControlPlane, Controller, Installation, Kubectl, Namespace, StartOptions, binaries, loopback_address,
};

/// Longer than anything here takes on a busy machine.
pub const SOON: Duration = Duration::from_secs(120);

/// Where clients and nodes look for the controller: host and port.
pub const HOST: &str = "atomix-controller.kube-system.svc.cluster.local";
pub const PORT: u16 = 5679;

/// A control plane and a controller that has an address of its own, so that it serves gRPC on the port that everybody
/// expects.
pub struct Cluster {
    pub control_plane: &'static ControlPlane,
    /// The address of the controller.
    pub address: Ipv4Addr,
    /// Runs as long as the tests.
    _controller: Controller,
}

/// The cluster of these tests.
pub fn cluster() -> &'static Cluster {
    static CLUSTER: LazyLock<Cluster> = LazyLock::new(|| {
        let control_plane = ControlPlane::shared();
        let installation = Installation::new(control_plane).expect("an installation");
        let address = loopback_address();
        let arguments = vec![format!("--grpc-address={address}:{PORT}")];
        let options = StartOptions { arguments, ..StartOptions::default() };
        let mut controller = installation.start_with(options).expect("a controller");
        controller.wait_ready().expect("a ready controller");
        Cluster { control_plane, address, _controller: controller }
    });
    &CLUSTER
}

impl Cluster {
    /// Where the controller serves gRPC.
    pub fn server(&self) -> String {
        format!("{}:{PORT}", self.address)
    }
}

/// A namespace, and a kubectl in it.
pub fn sandbox(prefix: &str) -> (Namespace, Kubectl) {
    let namespace = Namespace::new(cluster().control_plane.kubectl(), prefix);
    let kubectl = namespace.kubectl();
    (namespace, kubectl)
}

/// The namespace `default`, which some tests need to be alone in, and a kubectl in it.
pub fn default_namespace() -> (MutexGuard<'static, ()>, Kubectl) {
    static ALONE: Mutex<()> = Mutex::new(());
    let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    (alone, cluster().control_plane.kubectl().in_namespace("default"))
}

/// Runs a command of Atomix of January 2020 against the controller, which has to agree: `command`, then its arguments
/// after the server. Returns what it prints.
#[track_caller]
pub fn atomix(command: &str, arguments: &[&str]) -> Value {
    let answer = ask(command, arguments);
    assert!(answer["code"].is_null(), "{command} {arguments:?}: {answer:#}");
    answer
}

/// As [`atomix`], for what the controller has to refuse.
#[track_caller]
pub fn refused(command: &str, arguments: &[&str]) -> Value {
    let answer = ask(command, arguments);
    assert!(answer["code"].is_string(), "{command} {arguments:?}: {answer:#}");
    answer
}

#[track_caller]
fn ask(command: &str, arguments: &[&str]) -> Value {
    let program = binaries::atomix_2020().expect("Atomix of 2020");
    let output = run(Command::new(program).arg(command).arg(cluster().server()).args(arguments));
    serde_json::from_str(&output).unwrap_or_else(|error| panic!("{error}: {output}"))
}

/// Runs a command, which has to succeed. Returns what it prints.
#[track_caller]
pub fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let (printed, said) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {}\n{printed}{said}", output.status);
    printed.into_owned()
}

/// The text of a file of the workspace.
pub fn file(name: &str) -> String {
    let path = binaries::workspace().join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", Path::new(name).display()))
}
