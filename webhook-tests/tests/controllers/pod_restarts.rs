//! Pods restart on request, by the commands of the documents: one by one, one partition after the other, and once.

use std::collections::BTreeSet;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use serde_json::Value;
use webhook_tests::documents::commands_of;
use webhook_tests::{EventKind, Kubectl};

use crate::rolling::evictions;
use crate::support::{SOON, await_ready, condition, create_ready, sandbox, set, text};

fn runs(pod: &Value) -> bool {
    condition(pod, "Ready").is_some_and(|ready| ready["status"] == "True")
        && pod["metadata"]["deletionTimestamp"].is_null()
}

fn uids(pods: &[Value]) -> BTreeSet<String> {
    pods.iter().map(|pod| text(pod, "/metadata/uid").to_owned()).collect()
}

fn revision(pod: &Value) -> &str {
    text(pod, "/metadata/labels/controller-revision-hash")
}

/// Runs a command of the documents and follows the pods until those that `expected` selects have been replaced.
fn restart(kubectl: &Kubectl, command: &str, expected: fn(&Value) -> bool) {
    let mut pods = kubectl.watch(&["pods"]);
    let deadline = Instant::now() + SOON;
    while pods.next(deadline).expect("the pods").kind != EventKind::Synced {}
    let before = pods.state();
    let replaced: Vec<Value> = before.iter().filter(|pod| expected(pod)).cloned().collect();
    let kept = &uids(&before) - &uids(&replaced);
    let output = kubectl.shell(command);
    assert!(output.status.success(), "{command}: {}", output.stderr);

    // One that the disruption budget refuses is asked for again.
    let evicted = || evictions(kubectl).iter().filter(|eviction| eviction.code == 201).count();
    let evicted_before = evicted();
    loop {
        pods.next(deadline).expect("pods that were restarted");
        let state = pods.state();
        let running = state.iter().filter(|pod| runs(pod)).count();
        assert!(running + 1 >= before.len(), "more than one pod was down: {state:#?}");
        if running == before.len() && uids(&state).is_disjoint(&uids(&replaced)) {
            break;
        }
    }
    await_ready(kubectl, "raft");
    // The set may not be known as changed yet: what is to be restarted is in the StatefulSets.
    let wanted = kubectl.wait_until(&["statefulsets"], SOON, |sets| {
        sets.iter().all(|set| set["status"]["observedGeneration"] == set["metadata"]["generation"])
    });
    let wanted: BTreeSet<&str> = wanted.iter().map(|set| text(set, "/status/updateRevision")).collect();
    while !pods.state().iter().all(|pod| runs(pod) && wanted.contains(revision(pod))) {
        pods.next(deadline).expect("pods of the last revision");
    }
    // New pods say nothing: kwok deletes by name, and takes the next pod of it away if it deletes one twice.
    assert_eq!(evicted() - evicted_before, replaced.len(), "each pod is evicted once: {command}");
    assert!(kept.is_subset(&uids(&pods.state())), "{command}");
}

/// kubectl refuses to restart what was restarted in the same second of the clock.
fn await_next_second() {
    let second = || SystemTime::UNIX_EPOCH.elapsed().expect("a time after 1970").as_secs();
    let begun = second();
    while second() == begun {
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn the_commands_of_the_documents_restart_the_pods_of_a_partition_or_of_a_set_one_by_one() {
    let (_namespace, kubectl) = sandbox("restarting");
    create_ready(&kubectl, &set("raft", 2, "log", 2), "raft");
    let commands = commands_of("docs/operations.md", "Restarting pods");
    let [partition, group, template] = commands.as_slice() else { panic!("{commands:?}") };
    restart(&kubectl, partition, |pod| text(pod, "/metadata/labels/partition") == "1");
    await_next_second();
    restart(&kubectl, group, |_| true);
    restart(&kubectl, template, |_| true);
    // What was asked for earlier is not undone by a change of the set.
    for pod in kubectl.wait_until(&["pods"], SOON, |pods| pods.len() == 4) {
        assert!(!text(&pod, "/metadata/annotations/kubectl.kubernetes.io~1restartedAt").is_empty(), "{pod:#}");
    }
}
