//! `atomix-controller status`: what people and scripts see of a set.

use std::process::Command;

use serde_json::json;
use webhook_tests::{Kubectl, Output, binaries, harness, is_ready};

use crate::rolling::patch_template;
use crate::support::{SOON, await_ready, create_ready, items, sandbox, set, stage, text};

/// Exit code, standard output and standard error of the command in the namespace of `kubectl`.
fn status(kubectl: &Kubectl, arguments: &[&str]) -> (i32, String, String) {
    let output = Command::new(binaries::controller().expect("the controller"))
        .args(["status", "--namespace", kubectl.namespace()])
        .args(arguments)
        .env("KUBECONFIG", harness().control_plane().kubeconfig())
        .output()
        .expect("a run");
    let Output { stdout, stderr, status } = output.into();
    (status.code().expect("an exit code"), stdout, stderr)
}

#[test]
fn a_change_is_followed_until_all_pods_have_it() {
    let (_namespace, kubectl) = sandbox("followed");
    let limit = format!("{}s", SOON.as_secs());
    kubectl.create_stdin(&set("w", 1, "raft", 3));
    let (code, printed, error) = status(&kubectl, &["w", "--watch", "--timeout", &limit]);
    assert_eq!(code, 0, "{printed}{error}");

    patch_template(&kubectl, &json!({"image": "node:2"}));
    let (code, printed, error) = status(&kubectl, &["w", "--watch", "--timeout", &limit]);
    assert_eq!(code, 0, "{printed}{error}");
    let lines: Vec<_> = printed.lines().collect();
    let name = format!("{}/w: ", kubectl.namespace());
    assert!(lines.len() > 2 && lines.iter().all(|line| line.starts_with(&name)), "{printed}");
    let pods = items(&kubectl, &["pods", "-l", "group=w"]);
    assert!(pods.len() == 3 && pods.iter().all(|pod| text(pod, "/spec/containers/0/image") == "node:2"), "{pods:#?}");

    let (code, printed, error) = status(&kubectl, &["w"]);
    assert_eq!((code, &*error), (0, ""), "{printed}");
    let rows: Vec<Vec<_>> = printed.lines().map(|line| line.split_whitespace().collect()).collect();
    let row = |name: &str| rows.iter().find(|row| row.first() == Some(&name)).unwrap_or_else(|| panic!("{printed}"));
    assert_eq!(row("w-1")[1..4], ["3/3", "PodsReady", "node:2"], "{printed}");
    for pod in ["w-1-0", "w-1-1", "w-1-2"] {
        assert_eq!(row(pod)[1..4], ["true", "Running", "0"], "{printed}");
    }
}

#[test]
fn what_does_not_change_by_itself_is_not_waited_for() {
    let (_namespace, kubectl) = sandbox("halted");
    kubectl.ok(&["create", "configmap", "w-1-config"]);
    kubectl.create_stdin(&set("w", 1, "raft", 1));
    let (code, printed, error) = status(&kubectl, &["w", "--watch"]);
    assert_eq!(code, 1, "{printed}{error}");
    let last = printed.lines().last().unwrap_or_default();
    assert!(last.contains(r#"ConfigMap "w-1-config""#), "{printed}{error}");

    create_ready(&kubectl, &set("p", 1, "raft", 1), "p");
    kubectl.ok(&["annotate", "partitionset", "p", "k8s.atomix.io/paused=true"]);
    kubectl.ok(&["scale", "partitionset", "p", "--replicas=2"]);
    let (code, printed, error) = status(&kubectl, &["p", "--watch"]);
    assert_eq!(code, 1, "{printed}{error}");
}

#[test]
fn what_is_not_complete_has_an_exit_code_of_its_own() {
    let (_namespace, kubectl) = sandbox("incomplete");
    create_ready(&kubectl, &set("a", 1, "log", 1), "a");
    create_ready(&kubectl, &set("b", 1, "log", 1), "b");
    let (code, printed, error) = status(&kubectl, &[]);
    assert_eq!((code, printed.lines().count(), &*error), (0, 3, ""), "{printed}");
    assert_eq!(status(&kubectl, &["--watch"]).0, 0);

    stage(&kubectl, "b-1-0", "never-ready");
    kubectl.wait_until(&["partitionset", "b"], SOON, |sets| sets.first().is_some_and(|set| !is_ready(set)));
    assert_eq!(status(&kubectl, &["a"]).0, 0);
    let (code, printed, _) = status(&kubectl, &[]);
    assert_eq!(code, 1, "{printed}");
    let (code, printed, error) = status(&kubectl, &["b", "--watch", "--timeout", "1s"]);
    assert_eq!((code, &*error), (1, "atomix-controller: not complete within 1s\n"), "{printed}");

    stage(&kubectl, "b-1-0", "ready");
    await_ready(&kubectl, "b");
    let (code, _, error) = status(&kubectl, &["c"]);
    let wanted = format!("atomix-controller: there is no PartitionSet {}/c\n", kubectl.namespace());
    assert_eq!((code, error), (1, wanted));
}
