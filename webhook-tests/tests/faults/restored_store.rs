//! etcd is restored from a snapshot while the controller runs: it ends, and the next one goes on by what the store says.
//!
//! The store and its API server are beside those of a control plane, with the same keys and, in the beginning, the same
//! objects, since a control plane does not outlive its store.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::thread::sleep;
use std::time::{Duration, Instant};
use std::{env, fs};

use serde_json::{Value, json};
use webhook_tests::process::{command_line, signal};
use webhook_tests::{
    ControlPlane, Controller, Guarded, Installation, Kubectl, Signal, StartOptions, free_port, items, suffix, text,
};

use crate::support::{SOON, condition, says_ready, set};

/// A restore is noticed by the announcement that each replica makes every ten seconds.
const NOTICED: Duration = Duration::from_secs(90);
/// More versions than an API server uses up while it starts.
const VERSIONS: u64 = 600;

/// A store with an API server.
struct Store {
    dir: PathBuf,
    etcd: (PathBuf, Vec<String>),
    api_server: (PathBuf, Vec<String>),
    server: String,
    running: Option<(Guarded, Guarded)>,
}

/// The first process whose command line has all of these words.
fn process_of(words: &[&str]) -> u32 {
    let processes = fs::read_dir("/proc").expect("processes").filter_map(Result::ok);
    let mut ids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    ids.find(|pid| words.iter().all(|word| command_line(*pid).contains(word))).expect("a process")
}

/// The program of a process, and its arguments with others for some flags.
fn changed(pid: u32, flags: &[(&str, &str)]) -> (PathBuf, Vec<String>) {
    let line = command_line(pid);
    let mut words = line.split_whitespace().map(str::to_owned);
    let program = words.next().expect("a program").into();
    let arguments = words.map(|word| {
        let other = word.split_once('=').and_then(|(name, _)| flags.iter().find(|(flag, _)| *flag == name));
        other.map_or(word, |(flag, value)| format!("{flag}={value}"))
    });
    (program, arguments.collect())
}

fn value_of(pid: u32, flag: &str) -> String {
    let line = command_line(pid);
    let mut values = line.split_whitespace().filter_map(|word| word.strip_prefix(flag)?.strip_prefix('='));
    values.next().expect("a flag").to_owned()
}

/// What a store holds at this moment.
fn copy(etcd: u32, from: &Path, to: &Path) {
    signal(etcd, Signal::Stop).expect("a stopped etcd");
    let copied = Command::new("cp").arg("-r").args([from, to]).status();
    signal(etcd, Signal::Cont).expect("an etcd that goes on");
    assert!(copied.expect("cp").success());
}

impl Store {
    /// A store that begins with what that of `control_plane` holds.
    fn beside(control_plane: &ControlPlane) -> Self {
        let api_server = process_of(&["kube-apiserver", &control_plane.dir().to_string_lossy()]);
        let client = value_of(api_server, "--etcd-servers");
        let etcd = process_of(&["--data-dir=", &format!("--listen-client-urls={client}")]);
        let dir = env::temp_dir().join(format!("webhook-tests-store-{}", suffix()));
        fs::create_dir(&dir).expect("a directory");
        copy(etcd, Path::new(&value_of(etcd, "--data-dir")), &dir.join("data"));
        let url = || format!("http://127.0.0.1:{}", free_port());
        let (clients, peers, port) = (url(), url(), free_port().to_string());
        let (data, audit) = (dir.join("data"), dir.join("audit.log"));
        Self {
            etcd: changed(
                etcd,
                &[
                    ("--data-dir", &data.to_string_lossy()),
                    ("--listen-client-urls", &clients),
                    ("--advertise-client-urls", &clients),
                    ("--listen-peer-urls", &peers),
                    ("--initial-advertise-peer-urls", &peers),
                    ("--initial-cluster", &format!("etcd={peers}")),
                ],
            ),
            api_server: changed(
                api_server,
                &[
                    ("--etcd-servers", &clients),
                    ("--secure-port", &port),
                    ("--audit-log-path", &audit.to_string_lossy()),
                ],
            ),
            server: format!("https://127.0.0.1:{port}"),
            running: None,
            dir,
        }
    }

    fn start(&mut self, kubectl: &Kubectl) {
        let start = |(program, arguments): &(PathBuf, Vec<String>), log: &str| {
            Guarded::start(program, arguments, &[], &self.dir.join(log)).expect("a process")
        };
        self.running = Some((start(&self.etcd, "etcd.log"), start(&self.api_server, "api-server.log")));
        let deadline = Instant::now() + SOON;
        while !kubectl.run(&["get", "--raw", "/readyz"]).status.success() {
            assert!(Instant::now() < deadline, "no API server: see {}", self.dir.display());
        }
    }

    fn save(&self) {
        let (etcd, _) = self.running.as_ref().expect("a store that runs");
        copy(etcd.pid(), &self.dir.join("data"), &self.dir.join("snapshot"));
    }

    /// Goes back to what was saved.
    fn restore(&mut self, kubectl: &Kubectl) {
        let (mut etcd, mut api_server) = self.running.take().expect("a store that runs");
        for process in [&mut api_server, &mut etcd] {
            process.signal(Signal::Kill);
            process.wait().expect("an end");
        }
        fs::remove_dir_all(self.dir.join("data")).expect("no data");
        fs::rename(self.dir.join("snapshot"), self.dir.join("data")).expect("the snapshot");
        self.start(kubectl);
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        drop(self.running.take());
        let _ = fs::remove_dir_all(&self.dir);
    }
}

fn patch_image(kubectl: &Kubectl, image: &str) {
    let patch = json!({"spec": {"template": {"spec": {"image": image}}}}).to_string();
    kubectl.ok(&["patch", "partitionset", "w", "--type=merge", "-p", &patch]);
}

/// Waits until the pods of the only partition of `set` are to run `image`.
#[track_caller]
fn await_image(kubectl: &Kubectl, set: &str, image: &str) {
    kubectl.wait_until(&["statefulsets"], NOTICED, |found| {
        found.iter().any(|found| {
            text(found, "/metadata/name") == format!("{set}-1")
                && text(found, "/spec/template/spec/containers/0/image") == image
        })
    });
}

fn waits_for_pods(set: &Value) -> bool {
    condition(set, "Ready").is_some_and(|ready| text(ready, "/reason") == "PartitionsNotReady")
}

#[track_caller]
fn await_end(controller: &mut Controller) -> ExitStatus {
    let deadline = Instant::now() + NOTICED;
    loop {
        if let Some(status) = controller.ended().expect("a state") {
            return status;
        }
        assert!(Instant::now() < deadline, "it goes on: {}", controller.log());
        sleep(Duration::from_millis(50));
    }
}

fn version(kubectl: &Kubectl) -> u64 {
    version_of(&kubectl.get_json(&["partitionset", "w"]))
}

fn version_of(object: &Value) -> u64 {
    text(object, "/metadata/resourceVersion").parse().expect("a version")
}

#[test]
fn a_controller_under_which_the_store_is_restored_ends_and_the_next_one_goes_on() {
    let control_plane = ControlPlane::start().expect("a control plane");
    let installation = Installation::new(&control_plane).expect("an installation");
    let mut store = Store::beside(&control_plane);
    let mut admin: Value =
        serde_json::from_str(&control_plane.kubectl().ok(&["config", "view", "--raw", "-o", "json"])).expect("JSON");
    admin["clusters"][0]["cluster"]["server"] = store.server.as_str().into();
    let kubeconfig = store.dir.join("kubeconfig");
    fs::write(&kubeconfig, admin.to_string()).expect("a kubeconfig");
    let kubectl = control_plane.kubectl().with_kubeconfig(&kubeconfig).in_namespace("default");
    store.start(&kubectl);
    let options = StartOptions { server: Some(store.server.clone()), ..StartOptions::default() };
    let mut controller = installation.start_with(options.clone()).expect("a controller");
    controller.wait_ready().expect("a ready controller");

    kubectl.create_stdin(&set("w", 1, 1).to_string());
    patch_image(&kubectl, "node:1");
    await_image(&kubectl, "w", "node:1");
    store.save();
    let saved = version(&kubectl);
    // All this will not have been.
    let many = (0..VERSIONS).map(
        |number| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": format!("later-{number}")}}),
    );
    kubectl.create_stdin(&json!({"apiVersion": "v1", "kind": "List", "items": many.collect::<Vec<_>>()}).to_string());
    patch_image(&kubectl, "node:2");
    await_image(&kubectl, "w", "node:2");
    kubectl.create_stdin(&set("other", 1, 1).to_string());
    // All of it is made, so that nothing of it is still to be written when the store is back.
    kubectl.wait_until(&["endpointslice", "other-ipv4"], SOON, |found| found.len() == 1);
    kubectl.wait_until(&["partitionset", "other"], SOON, |found| found.iter().any(waits_for_pods));
    // A replica knows of a version by its announcements.
    let announced = &["lease", "atomix-controller-replicas", "-n", "kube-system"];
    kubectl.wait_until(announced, SOON, |found| found.iter().any(|lease| version_of(lease) > saved + VERSIONS));
    let last = version(&kubectl);

    store.restore(&kubectl);
    assert_eq!(text(&kubectl.get_json(&["partitionset", "w"]), "/spec/template/spec/image"), "node:1");
    patch_image(&kubectl, "node:3");
    let now = version(&kubectl);
    assert!(saved < now && now < last, "versions count anew: {saved}, {last}, {now}");
    let failed = await_end(&mut controller);
    assert_eq!(failed.code(), Some(1));
    assert!(controller.log().contains("found a store that is older than before"), "{}", controller.log());

    // As a kubelet does.
    controller = installation.start_with(options).expect("a controller");
    controller.wait_ready().expect("a ready controller");
    await_image(&kubectl, "w", "node:3");
    // What is deleted comes back, and what is new is made.
    kubectl.ok(&["delete", "configmap", "w-1-config"]);
    kubectl.wait_until(&["configmap", "w-1-config"], NOTICED, |found| found.len() == 1);
    kubectl.create_stdin(&set("new", 1, 1).to_string());
    kubectl.wait_until(&["statefulset", "new-1"], NOTICED, |found| found.len() == 1);
    assert!(items(&kubectl, &["statefulsets"]).iter().all(|found| text(found, "/metadata/name") != "other-1"));
    assert!(says_ready(&controller) && controller.leads());
}
