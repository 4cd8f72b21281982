//! A task of a replica dies: the replica says which, ends with an error, and another one takes over.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;
use webhook_tests::{Balancer, Controller, StartOptions, free_port, is_ready, suffix};

use crate::load::{Load, failed, summary};
use crate::support::{Ground, ground, set};

/// Names a directory: a task panics as soon as there is a file of its name.
const FAILPOINTS: &str = "ATOMIX_TASK_PANICS";
/// Longer than anything here takes on a busy machine.
const SOON: Duration = Duration::from_secs(120);
/// For how long a process may stop after its drain.
const STOP: Duration = Duration::from_secs(30);
/// Tasks without which a replica is half alive; there are more.
const SOME: [&str; 10] = [
    "watch partitionsets",
    "watch pods",
    "reconcile partition sets",
    "reconcile partitions",
    "leader",
    "elector",
    "presence",
    "webhook server",
    "gRPC server",
    "health server",
];

/// A replica whose tasks can be made to panic.
struct Mortal {
    controller: Controller,
    directory: PathBuf,
}

impl Mortal {
    fn start(ground: &Ground, drain: &str) -> Self {
        let directory = ground.control_plane.dir().join(format!("task-panics-{}", suffix()));
        fs::create_dir_all(&directory).expect("a directory");
        let options = StartOptions {
            webhook_port: Some(free_port()),
            arguments: vec![format!("--drain={drain}")],
            environment: vec![(FAILPOINTS.to_owned(), directory.to_string_lossy().into_owned())],
            ..StartOptions::default()
        };
        Self { controller: ground.installation.start_with(options).expect("a controller"), directory }
    }

    fn kill_task(&self, name: &str) {
        fs::write(self.directory.join(name), "").expect("a file");
    }

    /// Waits until the process has ended, with an error that names the task.
    #[track_caller]
    fn assert_ends_because_of(&mut self, task: &str, within: Duration) {
        let deadline = Instant::now() + within;
        let status = loop {
            if let Some(status) = self.controller.ended().expect("a status") {
                break status;
            }
            assert!(Instant::now() < deadline, "without the task {task:?} it goes on\n{}", self.controller.log());
            sleep(Duration::from_millis(10));
        };
        let log = self.controller.log();
        assert_eq!(status.code(), Some(1), "{task}\n{log}");
        let errors = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        // Those that end because of it are not blamed.
        let errors: Vec<Value> = errors.filter(|line| line["level"] == "ERROR" && !line["task"].is_null()).collect();
        assert_eq!((errors.len(), errors[0]["task"].as_str()), (1, Some(task)), "{log}");
        assert!(errors[0]["why"].as_str().is_some_and(|why| why.starts_with("panicked: ")), "{errors:?}");
        let last = format!("atomix-controller: running the controller: the task {task:?} panicked: ");
        assert!(log.lines().any(|line| line.starts_with(&last)), "{log}");
    }
}

/// The names of all tasks that a replica has, when these are among them: those of the leader's work come a moment later
/// than the leadership.
#[track_caller]
fn await_tasks(controller: &Controller, wanted: &[&str]) -> BTreeSet<String> {
    let deadline = Instant::now() + SOON;
    loop {
        let metrics = controller.get("/metrics").expect("metrics").body;
        let names = metrics.lines().filter_map(|line| line.strip_prefix("atomix_task_failures_total{task=\""));
        let names = names.filter_map(|rest| rest.split_once('"').map(|(name, _)| name.to_owned()));
        let names: BTreeSet<String> = names.collect();
        if wanted.iter().all(|name| names.contains(*name)) {
            return names;
        }
        assert!(Instant::now() < deadline, "{wanted:?} are not all in {names:?}");
        sleep(Duration::from_millis(20));
    }
}

/// Waits until one of them leads, and returns which.
#[track_caller]
fn await_leader(replicas: &[Mortal]) -> usize {
    let deadline = Instant::now() + SOON;
    loop {
        if let Some(leader) = replicas.iter().position(|replica| replica.controller.leads()) {
            return leader;
        }
        assert!(Instant::now() < deadline, "nobody leads");
        sleep(Duration::from_millis(20));
    }
}

#[test]
fn whichever_task_of_the_leader_dies_the_replica_ends_and_another_one_takes_over() {
    let ground = ground();
    let start = || Mortal::start(&ground, "0s");
    let mut replicas = vec![start(), start()];
    for replica in &mut replicas {
        replica.controller.wait_ready().expect("a ready controller");
    }
    let leader = await_leader(&replicas);
    let mut names = await_tasks(&replicas[leader].controller, &SOME);
    // It has done what it is for by now.
    assert!(names.remove("own account"), "{names:?}");
    let begun = Instant::now();
    for name in &names {
        let leader = await_leader(&replicas);
        await_tasks(&replicas[leader].controller, &[name]);
        let mut dying = replicas.remove(leader);
        dying.kill_task(name);
        // It gets ready while the one that is left takes over.
        replicas.push(start());
        dying.assert_ends_because_of(name, STOP);
    }
    println!("{} tasks died in {:.1?}: {names:?}", names.len(), begun.elapsed());
    await_leader(&replicas);
}

#[test]
fn a_watch_of_the_leader_dies_and_no_admission_request_fails() {
    let ground = ground();
    let kubectl = ground.kubectl();
    let balancer = Balancer::new(ground.installation.webhook_port(), Duration::from_secs(1)).expect("a balancer");
    let mut replicas: Vec<Mortal> = (0..2).map(|_| Mortal::start(&ground, "3s")).collect();
    for replica in &mut replicas {
        balancer.add(&replica.controller);
        replica.controller.wait_ready().expect("a ready controller");
    }
    balancer.wait_until(|ready| ready.len() == 2).expect("two replicas");
    let leader = await_leader(&replicas);
    let load = Load::start(&ground.control_plane, 2);
    load.await_answers(50);

    let mut dying = replicas.remove(leader);
    dying.kill_task("watch partitionsets");
    let deadline = Instant::now() + SOON;
    while dying.controller.get("/readyz").is_ok_and(|answer| answer.status == 200) {
        assert!(Instant::now() < deadline, "{}", dying.controller.log());
        sleep(Duration::from_millis(10));
    }
    // It drains: what has happened can still be scraped.
    let metrics = dying.controller.get("/metrics").expect("metrics").body;
    for line in [r#"atomix_task_failures_total{task="watch partitionsets"} 1"#, "atomix_panics_total 1"] {
        assert!(metrics.lines().any(|found| found == line), "{line}\n{metrics}");
    }
    dying.assert_ends_because_of("watch partitionsets", STOP);
    await_leader(&replicas);
    kubectl.create_stdin(&set("after-a-panic"));
    kubectl.wait_until(&["partitionset", "after-a-panic"], SOON, |sets| sets.first().is_some_and(is_ready));
    load.await_answers(load.answered() + 50);
    let sent = load.finish();
    println!("a watch died: {}", summary(&sent));
    let failures = failed(&sent);
    assert!(failures.is_empty(), "{} of {} failed: {:#?}", failures.len(), sent.len(), failures[0]);
    kubectl.ok(&["delete", "partitionset", "after-a-panic"]);
}

/// Two tasks at once, and a signal that comes while the process stops: it ends all the same.
#[test]
fn a_second_failure_while_the_process_stops_hangs_nothing() {
    let ground = ground();
    let mut replica = Mortal::start(&ground, "2s");
    replica.controller.wait_ready().expect("a ready controller");
    await_leader(std::slice::from_ref(&replica));
    for name in ["reconcile partitions", "presence", "gRPC server", "elector"] {
        replica.kill_task(name);
    }
    let deadline = Instant::now() + STOP;
    let status = loop {
        if let Some(status) = replica.controller.ended().expect("a status") {
            break status;
        }
        assert!(Instant::now() < deadline, "{}", replica.controller.log());
        sleep(Duration::from_millis(10));
    };
    assert_eq!(status.code(), Some(1), "{}", replica.controller.log());
}
