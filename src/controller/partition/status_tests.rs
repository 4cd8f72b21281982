use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use serde_json::json;

use super::super::nodes::fixtures::nodes;
use super::super::obstacle;
use super::*;

fn partition() -> Partition {
    serde_json::from_value(json!({
        "apiVersion": "k8s.atomix.io/v1alpha1", "kind": "Partition",
        "metadata": {"name": "g-2", "namespace": "ns", "generation": 4, "ownerReferences": [
            {"apiVersion": "k8s.atomix.io/v1alpha1", "kind": "PartitionSet", "name": "g", "uid": "u", "controller": true}]},
        "spec": {"size": 3, "protocol": "raft"},
    }))
    .unwrap()
}

fn seen(nodes: &Nodes) -> Seen<'_> {
    Seen { nodes, obstacle: None, rolling: None, trouble: None }
}

fn of(seen: Seen<'_>) -> PartitionStatus {
    let status = status(&partition(), seen, None, &Time(Timestamp::UNIX_EPOCH));
    assert_eq!(status.selector.as_deref(), Some("app=atomix,group=g,partition=2,type=partition"));
    assert!(status.conditions.iter().all(|condition| condition.observed_generation == Some(4)));
    status
}

fn conditions_of(seen: Seen<'_>) -> Vec<String> {
    let lines =
        of(seen).conditions.into_iter().map(|c| format!("{}={} {}: {}", c.type_, c.status, c.reason, c.message));
    lines.collect()
}

#[test]
fn ready_needs_every_pod_of_the_current_template_and_no_other() {
    assert_eq!(
        conditions_of(seen(&nodes(&["ready", "ready", "ready"]))),
        ["Ready=True PodsReady: 3 of 3 pods are ready"]
    );
    let mut unobserved = nodes(&["ready", "ready", "ready"]);
    unobserved.rollout.observed = false;
    let mut shrinking = nodes(&["ready", "ready", "ready", "ready"]);
    shrinking.size = 3;
    for nodes in [
        nodes(&["", "", ""]),
        nodes(&["ready", "ready", "waiting"]),
        nodes(&["ready", "ready", "old ready"]),
        nodes(&["ready", "ready", "ready going"]),
        nodes(&["ready", "", "ready"]),
        unobserved,
        shrinking,
    ] {
        let conditions_of = conditions_of(seen(&nodes));
        assert!(conditions_of[0].starts_with("Ready=False PodsNotReady: "), "{nodes:?}: {conditions_of:?}");
        assert!(conditions_of[1].starts_with("Reconciling=True WaitingForPods: "), "{nodes:?}: {conditions_of:?}");
    }
}

#[test]
fn a_rolling_says_what_it_waits_for() {
    let nodes = nodes(&["old ready", "old ready", "waiting"]);
    for (quorum, reason) in [(true, "WaitingForQuorum"), (false, "Rolling")] {
        let wait = Wait { quorum, message: "m".to_owned() };
        let conditions_of = conditions_of(Seen { rolling: Some(&wait), ..seen(&nodes) });
        assert_eq!(
            conditions_of,
            ["Ready=False Rolling".to_owned(), format!("Reconciling=True {reason}")]
                .map(|one| format!("{one}: 2 of 3 pods are ready; m"))
        );
    }
}

#[test]
fn a_pod_in_trouble_is_named() {
    let nodes = nodes(&["old", "ready", "failing"]);
    let wait = Wait { quorum: true, message: "m".to_owned() };
    let obstacle = obstacle::first(&nodes, "g-1", Timestamp::UNIX_EPOCH);
    let conditions_of = conditions_of(Seen { rolling: Some(&wait), obstacle: obstacle.as_ref(), ..seen(&nodes) });
    let message = "1 of 3 pods are ready; 1 of 3 pods are outdated; pod g-1-2 crashes";
    assert_eq!(conditions_of, ["Ready=False", "Reconciling=True"].map(|one| format!("{one} PodCrashing: {message}")));
}

#[test]
fn pods_that_are_not_created_are_reported() {
    let nodes = nodes(&["ready", "", ""]);
    let obstacle = obstacle::first(&nodes, "g-2", Timestamp::UNIX_EPOCH);
    let conditions_of = conditions_of(Seen { obstacle: obstacle.as_ref(), ..seen(&nodes) });
    assert_eq!(
        conditions_of[0],
        "Ready=False PodsMissing: 1 of 3 pods exist; see `kubectl describe statefulset g-2` for why no more are made"
    );
}

#[test]
fn trouble_that_does_not_pass_is_a_stall() {
    let nodes = nodes(&["ready", "ready", "ready"]);
    for (stalled, kind) in [(true, "Stalled"), (false, "Reconciling")] {
        let trouble = Trouble::new(stalled, "NameCollision", "m".to_owned());
        let conditions_of = conditions_of(Seen { trouble: Some(&trouble), ..seen(&nodes) });
        assert_eq!(conditions_of, ["Ready=False NameCollision: m".to_owned(), format!("{kind}=True NameCollision: m")]);
    }
}

#[test]
fn a_change_of_what_is_wrong_with_pods_is_not_urgent_and_warned_of_once() {
    let nodes = nodes(&["ready", "ready", "waiting"]);
    let plain = of(seen(&nodes));
    let (pod, message) = (Some("g-1-2".to_owned()), "pod g-1-2 cannot".to_owned());
    let obstacle = Obstacle { reason: "ImagePullFailed", pod, message, patience: Duration::ZERO };
    let failing = of(Seen { obstacle: Some(&obstacle), ..seen(&nodes) });
    assert!(!is_urgent(&plain, &failing));
    assert_eq!(warning(&plain, &failing), Some(("ImagePullFailed", "2 of 3 pods are ready; pod g-1-2 cannot")));
    assert_eq!(warning(&failing, &failing), None);
    assert_eq!(warning(&failing, &plain), None);
    let mut ready = plain.clone();
    ready.conditions[0].status = "True".to_owned();
    assert!(is_urgent(&plain, &ready));
}
