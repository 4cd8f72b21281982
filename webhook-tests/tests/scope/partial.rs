//! A namespace that is named and cannot be watched.

use std::process::Command;
use std::time::Instant;

use webhook_tests::{StartOptions, binaries};

use crate::support::{SOON, Team, await_ready, set};

/// Kinds that are watched, at least.
const KINDS: usize = 8;

#[test]
fn readiness_waits_for_every_namespace_and_says_which_one_it_cannot_watch() {
    let team = Team::new("violet");
    let kubectl = team.kubectl();
    kubectl.ok(&["create", "namespace", "violet-new"]);
    let named = "--namespace=violet,violet-new,violet".to_owned();
    let mut controller = team
        .installation
        .start_with(StartOptions { arguments: vec![named], ..StartOptions::default() })
        .expect("a controller");

    // Everything else that readiness waits for has come, what can be watched was listed long ago, and what cannot be is
    // in the log.
    let deadline = Instant::now() + SOON;
    loop {
        let listed = team.audit().iter().filter(|entry| entry.verb == "watch" && entry.namespace == "violet").count();
        let log = controller.log();
        let refused = |line: &&str| line.contains("watch interrupted") && line.contains("is forbidden");
        let interrupted: Vec<_> = log.lines().filter(refused).collect();
        let report = controller.get("/readyz?verbose").map(|response| response.body).unwrap_or_default();
        let waiting: Vec<&str> = report.lines().filter(|line| line.starts_with("[-]")).collect();
        if listed >= KINDS && !interrupted.is_empty() && waiting.len() >= KINDS {
            let only_caches = waiting.iter().all(|line| line.starts_with("[-] cache: "));
            if only_caches && report.contains("[+] own account") {
                let of_the_new = |line: &&str| line.contains(r#""namespace":"violet-new""#);
                assert!(interrupted.iter().all(of_the_new), "{interrupted:#?}");
                break;
            }
        }
        assert!(Instant::now() < deadline, "{listed} watches, {} interrupted\n{report}", interrupted.len());
    }

    // With the right to watch it, all goes on.
    kubectl.in_namespace("violet-new").ok(&[
        "create",
        "rolebinding",
        "violet-atomix-partitions",
        "--clusterrole=violet-atomix",
        "--serviceaccount=violet-system:violet-atomix",
    ]);
    controller.wait_ready().expect("a ready controller");
    kubectl.in_namespace("violet-new").create_stdin(&set("raft", 1, 1));
    await_ready(&kubectl.in_namespace("violet-new"), "raft");
}

#[test]
fn what_is_no_namespace_is_refused_at_the_start() {
    let run = |arguments: &[&str]| {
        let program = binaries::controller().expect("a controller");
        let output = Command::new(program).arg("run").args(arguments).env_clear().output().expect("its output");
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let said = run(&["--namespace=team-a", "--namespace=Team_B"]);
    assert!(said.contains("invalid value 'Team_B' for '--namespace <NAMESPACE>'"), "{said}");
    assert!(said.contains("DNS-1123 label"), "{said}");
}
