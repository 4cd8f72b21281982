//! The ground that all other tests stand on.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use webhook_tests::process::{children, command_line, signal};
use webhook_tests::{ControlPlane, EventKind, Guarded, Installation, Namespace, Signal};

const SOON: Duration = Duration::from_secs(60);

const TRIO: &str = "
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: trio}
spec:
  replicas: 3
  serviceName: trio
  podManagementPolicy: Parallel
  selector: {matchLabels: {app: trio}}
  template:
    metadata: {labels: {app: trio}}
    spec: {containers: [{name: main, image: none}]}
  volumeClaimTemplates:
  - metadata: {name: data}
    spec:
      accessModes: [ReadWriteOnce]
      resources: {requests: {storage: 1Gi}}
";

fn is_ready(pod: &Value) -> bool {
    pod["status"]["conditions"]
        .as_array()
        .into_iter()
        .flatten()
        .any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}

fn pod(name: &str, annotations: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, annotations: {{{annotations}}}}}\n\
         spec: {{containers: [{{name: main, image: none}}]}}"
    )
}

#[test]
fn comes_up_within_two_minutes() {
    // The build is not what is measured.
    webhook_tests::binaries::controlplane().expect("a binary");
    let begun = Instant::now();
    let control_plane = ControlPlane::start().expect("a control plane");
    let took = begun.elapsed();
    println!("control plane ready after {took:?}");
    assert!(took < 2 * SOON, "took {took:?}");
    let dir = control_plane.dir().to_owned();
    drop(control_plane);
    assert!(!dir.exists(), "{} is left", dir.display());
}

#[test]
fn runs_the_pods_of_a_stateful_set_and_their_volumes() {
    let namespace = Namespace::new(ControlPlane::shared().kubectl(), "trio");
    let kubectl = namespace.kubectl();
    let begun = Instant::now();
    kubectl.create_stdin(TRIO);
    kubectl.wait_until(&["pods", "-l", "app=trio"], SOON, |pods| pods.len() == 3 && pods.iter().all(is_ready));
    println!("three pods ready after {:?}", begun.elapsed());
    kubectl.wait_until(&["persistentvolumeclaims"], SOON, |claims| {
        claims.len() == 3 && claims.iter().all(|claim| claim["status"]["phase"] == "Bound")
    });
    kubectl.ok(&["delete", "statefulset", "trio", "--wait=false"]);
    kubectl.wait_until(&["pods", "-l", "app=trio"], SOON, <[Value]>::is_empty);
}

#[test]
fn pods_are_ready_when_a_test_says_so() {
    let namespace = Namespace::new(ControlPlane::shared().kubectl(), "stages");
    let kubectl = namespace.kubectl();
    let stage = |stage: &str| {
        kubectl.ok(&["annotate", "pod", "steered", "--overwrite", &format!("webhook-tests.atomix.io/stage={stage}")]);
    };
    let becomes = |ready: bool| {
        kubectl.wait_until(&["pods", "steered"], SOON, |pods| {
            pods.len() == 1 && pods[0]["status"]["phase"] == "Running" && is_ready(&pods[0]) == ready
        });
    };
    kubectl.create_stdin(&pod("steered", "webhook-tests.atomix.io/stage: never-ready"));
    becomes(false);
    stage("ready");
    becomes(true);
    stage("never-ready");
    becomes(false);
    stage("slow-start");
    becomes(true);
    kubectl.create_stdin(&pod("broken", "webhook-tests.atomix.io/stage: failed"));
    kubectl
        .wait_until(&["pods/broken"], SOON, |pods| pods.first().is_some_and(|pod| pod["status"]["phase"] == "Failed"));
}

#[test]
fn a_slow_pod_is_ready_after_the_time_it_names() {
    let namespace = Namespace::new(ControlPlane::shared().kubectl(), "slow");
    let kubectl = namespace.kubectl();
    let mut watch = kubectl.watch(&["pods"]);
    let deadline = Instant::now() + SOON;
    assert_eq!(watch.next(deadline).expect("a beginning").kind, EventKind::Synced);
    let annotations = "webhook-tests.atomix.io/stage: slow-start, webhook-tests.atomix.io/ready-after: 700ms";
    kubectl.create_stdin(&pod("slow", annotations));
    let mut running = None;
    while let Some(event) = watch.next(deadline) {
        if event.object["status"]["phase"] == "Running" && running.is_none() {
            assert!(!is_ready(&event.object), "ready at once");
            running = Some(event.at);
        }
        if is_ready(&event.object) {
            let waited = event.at - running.expect("running before ready");
            assert!(waited >= Duration::from_millis(600), "ready after {waited:?}");
            return;
        }
    }
    panic!("never ready: {:#?}", watch.state());
}

#[test]
fn a_watch_tells_an_empty_beginning_from_none_yet() {
    let namespace = Namespace::new(ControlPlane::shared().kubectl(), "watch");
    let kubectl = namespace.kubectl();
    let mut watch = kubectl.watch(&["configmaps", "-l", "mine=yes"]);
    let deadline = Instant::now() + SOON;
    let mut next = || watch.next(deadline).expect("an event in time");
    assert_eq!(next().kind, EventKind::Synced);
    kubectl.ok(&["create", "configmap", "one"]);
    kubectl.ok(&["label", "configmap", "one", "mine=yes"]);
    kubectl.ok(&["annotate", "configmap", "one", "a=b"]);
    kubectl.ok(&["label", "configmap", "one", "mine-"]);
    assert_eq!([next().kind, next().kind, next().kind], [EventKind::Added, EventKind::Modified, EventKind::Deleted]);
    assert!(watch.state().is_empty());
}

#[test]
fn waiting_for_what_never_comes_shows_what_is_there() {
    let namespace = Namespace::new(ControlPlane::shared().kubectl(), "never");
    let kubectl = namespace.kubectl();
    let waited = kubectl.try_wait_until(&["configmaps"], Duration::from_secs(2), |found| found.len() == 7);
    let message = waited.expect_err("not seven").to_string();
    assert!(message.contains("kube-root-ca.crt"), "{message}");
}

#[test]
fn audits_what_the_controllers_account_asks_and_nobody_else() {
    let control_plane = ControlPlane::shared();
    let namespace = Namespace::new(control_plane.kubectl(), "audit");
    let kubectl = namespace.kubectl();
    // Recorded is who really asks, not whom the request impersonates.
    kubectl.ok(&["-n", "kube-system", "create", "serviceaccount", "atomix-controller"]);
    let token = kubectl.ok(&["-n", "kube-system", "create", "token", "atomix-controller"]);
    let kubeconfig = control_plane.dir().join("audited.kubeconfig");
    let admin = kubectl.ok(&["config", "view", "--raw", "-o", "json"]);
    let mut config: Value = serde_json::from_str(&admin).expect("a kubeconfig");
    config["users"][0]["user"] = serde_json::json!({"token": token.trim()});
    fs::write(&kubeconfig, config.to_string()).expect("a file");

    let refused = kubectl.with_kubeconfig(&kubeconfig).fails(&["get", "secret", "anything"]);
    assert!(refused.contains("Forbidden"), "{refused}");
    kubectl.fails(&["get", "secret", "anything"]);

    let ours: Vec<_> = control_plane.audit().into_iter().filter(|entry| entry.resource == "secrets").collect();
    assert_eq!(ours.len(), 1, "{ours:#?}");
    assert_eq!((ours[0].verb.as_str(), ours[0].code, ours[0].name.as_str()), ("get", 403, "anything"));
    assert_eq!(ours[0].namespace, namespace.name());
    kubectl.ok(&["-n", "kube-system", "delete", "serviceaccount", "atomix-controller"]);
}

#[test]
fn the_shipped_manifest_installs_and_its_webhooks_point_here() {
    let control_plane = ControlPlane::start().expect("a control plane");
    let installation = Installation::new(&control_plane).expect("an installation");
    let kubectl = installation.kubectl();
    let service = kubectl.get_json(&["service", "atomix-controller"]);
    assert_eq!(service["spec"]["externalName"], "localhost");
    kubectl.wait_until(&["pods"], SOON, <[Value]>::is_empty);
    for kind in ["mutatingwebhookconfiguration", "validatingwebhookconfiguration"] {
        let configuration = kubectl.get_json(&[kind, "atomix-controller"]);
        for webhook in configuration["webhooks"].as_array().expect("webhooks") {
            assert_eq!(webhook["clientConfig"]["service"]["port"], installation.webhook_port(), "{webhook:#}");
        }
    }
}

#[test]
fn a_killed_harness_leaves_neither_processes_nor_files() {
    let mut harness = Command::new(env!("CARGO_BIN_EXE_hold-control-plane"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the harness process");
    let mut line = String::new();
    let stdout = harness.stdout.take().expect("its output");
    BufReader::new(stdout).read_line(&mut line).expect("a line");
    let place: Value = serde_json::from_str(&line).expect("where it is");
    let dir = PathBuf::from(place["dir"].as_str().expect("a directory"));
    let supervisor = place["supervisor"].as_u64().and_then(|pid| u32::try_from(pid).ok()).expect("a process id");

    let mut processes = children(supervisor).expect("a running process");
    assert_eq!(processes.len(), 5, "etcd, API server, controller manager, scheduler, kwok: {processes:?}");
    processes.push(supervisor);
    let data = etcd_data(&processes);
    assert!(data.exists());

    harness.kill().expect("SIGKILL");
    harness.wait().expect("its end");
    await_gone(&processes);
    await_that(|| !dir.exists() && !data.exists(), &format!("{} and {} are left", dir.display(), data.display()));
}

#[test]
fn a_killed_supervisor_takes_its_components_along() {
    let control_plane = ControlPlane::start().expect("a control plane");
    let supervisor = control_plane.supervisor_pid();
    let processes = children(supervisor).expect("a running process");
    let data = etcd_data(&processes);
    signal(supervisor, Signal::Kill).expect("SIGKILL");
    await_gone(&processes);
    let dir = control_plane.dir().to_owned();
    drop(control_plane);

    // Nobody was there to remove the files: the next control plane does, be it one of another test.
    drop(ControlPlane::start().expect("another control plane"));
    assert!(!dir.exists() && !data.exists(), "{} or {} is left", dir.display(), data.display());
}

#[test]
fn a_component_that_dies_is_named_and_its_log_is_kept() {
    let control_plane = ControlPlane::start().expect("a control plane");
    let supervisor = control_plane.supervisor_pid();
    let processes = children(supervisor).expect("a running process");
    let scheduler = *processes.iter().find(|pid| command_line(**pid).contains("kube-scheduler")).expect("a scheduler");
    signal(scheduler, Signal::Kill).expect("SIGKILL");
    await_gone(&processes);
    let dir = control_plane.dir().to_owned();
    drop(control_plane);
    assert!(dir.join("logs/kube-scheduler.log").exists());
    assert!(!dir.join("pki").exists(), "keys are kept");
    fs::remove_dir_all(dir).expect("removed logs");
}

#[test]
fn a_guarded_process_gets_signals_and_its_exit_code_comes_back() {
    let log = std::env::temp_dir().join(format!("webhook-tests-guarded-{}.log", webhook_tests::suffix()));
    let start = |script: &str| {
        let arguments = ["-c".to_owned(), script.to_owned()];
        Guarded::start(Path::new("/bin/sh"), &arguments, &[("GREETING".into(), "hello".into())], &log).expect("a shell")
    };
    assert_eq!(start("echo $GREETING; exit 7").wait().expect("an end").code(), Some(7));
    assert_eq!(fs::read_to_string(&log).expect("its log"), "hello\n");

    let mut polite = start("trap 'exit 3' TERM; echo ready; while :; do sleep 0.01; done");
    await_that(|| fs::read_to_string(&log).is_ok_and(|log| log.contains("ready")), "the trap is not set");
    polite.signal(Signal::Term);
    assert_eq!(polite.wait().expect("an end").code(), Some(3));

    let mut killed = start("exec sleep 1000");
    killed.signal(Signal::Kill);
    assert_eq!(killed.wait().expect("an end").code(), Some(128 + 9));

    let dropped = start("exec sleep 1000");
    let pid = dropped.pid();
    drop(dropped);
    await_gone(&[pid]);
    fs::remove_file(log).expect("a removed log");
}

fn etcd_data(processes: &[u32]) -> PathBuf {
    let line = processes.iter().map(|pid| command_line(*pid)).find(|line| line.contains(" etcd ")).expect("etcd");
    let data = line.split(' ').find_map(|argument| argument.strip_prefix("--data-dir=")).expect("its data");
    Path::new(data).parent().expect("the directory above").to_owned()
}

/// Gone, or dead and not yet waited for by the one who inherits it.
fn await_gone(pids: &[u32]) {
    let runs = |pid: &u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
    };
    await_that(|| !pids.iter().any(runs), "processes are left");
}

fn await_that(condition: impl Fn() -> bool, otherwise: &str) {
    let deadline = Instant::now() + SOON;
    while !condition() {
        assert!(Instant::now() < deadline, "{otherwise}");
        thread::sleep(Duration::from_millis(10));
    }
}
