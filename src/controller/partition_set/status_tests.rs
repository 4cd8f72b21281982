use std::sync::Arc;

use k8s_openapi::jiff::Timestamp;
use serde_json::json;

use super::super::super::objects::Known;
use super::*;
use crate::api::Partition;

fn member(index: i64, ready: &str, observed: i64) -> (i64, Member) {
    let partition: Partition = serde_json::from_value(json!({
        "apiVersion": "k8s.atomix.io/v1alpha1", "kind": "Partition",
        "metadata": {"name": format!("g-{index}"), "generation": 2}, "spec": {"protocol": "raft"},
        "status": {"observedGeneration": observed, "conditions": [{
            "type": "Ready", "status": ready, "reason": "R", "message": "m", "lastTransitionTime": "2020-01-01T00:00:00Z"}]},
    }))
    .unwrap();
    let known = Known { uid: String::new(), owner: None, digest: 0, deleting: false, facts: partition };
    (index, Member { known: Arc::new(known), addresses: vec!["10.0.0.1".to_owned()] })
}

fn of(partitions: i64, members: Vec<(i64, Member)>, trouble: Option<&Trouble>) -> PartitionSetStatus {
    let set: PartitionSet = serde_json::from_value(json!({
        "apiVersion": "k8s.atomix.io/v1alpha1", "kind": "PartitionSet",
        "metadata": {"name": "g", "generation": 7},
        "spec": {"partitions": partitions, "template": {"spec": {"protocol": "raft"}}},
    }))
    .unwrap();
    let existing = Existing { partitions: members.into_iter().collect() };
    status(&set, &SetObject::from(&set), &existing, trouble, &Time(Timestamp::UNIX_EPOCH))
}

fn outline(status: &PartitionSetStatus) -> Vec<String> {
    status.conditions.iter().map(|c| format!("{}={} {}: {}", c.type_, c.status, c.reason, c.message)).collect()
}

#[test]
fn a_set_is_ready_when_every_partition_is() {
    let status = of(2, vec![member(1, "True", 2), member(2, "True", 2)], None);
    assert_eq!(outline(&status), ["Ready=True AllPartitionsReady: 2 of 2 partitions are ready"]);
    assert_eq!((status.partitions, status.ready_partitions, status.observed_generation), (2, 2, Some(7)));
}

#[test]
fn a_status_of_an_older_spec_does_not_count() {
    let status = of(2, vec![member(1, "True", 2), member(2, "True", 1)], None);
    assert_eq!(status.ready_partitions, 1);
    assert_eq!(
        outline(&status),
        [
            "Ready=False PartitionsNotReady: 1 of 2 partitions are ready; waiting for g-2",
            "Reconciling=True WaitingForPartitions: 1 of 2 partitions are ready; waiting for g-2",
        ]
    );
}

#[test]
fn what_is_missing_is_named_briefly() {
    let status = of(9, vec![member(1, "False", 2)], None);
    assert!(outline(&status)[0].ends_with("0 of 9 partitions are ready; waiting for g-1, g-2, g-3 and 6 more"));
}

#[test]
fn a_set_with_partitions_to_remove_is_not_ready() {
    let status = of(1, vec![member(1, "True", 2), member(2, "True", 2)], None);
    assert!(outline(&status)[0].contains("1 more are being removed"));
}

#[test]
fn trouble_comes_first() {
    let trouble = Trouble { stalled: true, reason: "InvalidSpec", message: "why".to_owned() };
    let status = of(1, vec![member(1, "True", 2)], Some(&trouble));
    assert_eq!(outline(&status), ["Ready=False InvalidSpec: why", "Stalled=True InvalidSpec: why"]);
}
