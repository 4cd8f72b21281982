#![allow(clippy::needless_pass_by_value, reason = "fixtures read best with literals")]

use std::sync::Mutex;
use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::{Value, json};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::queue::Outcome;

/// The partitions that are reconciled after `change`.
async fn partitions_notified(change: impl FnOnce(Triggers)) -> Vec<String> {
    let triggers = Triggers::default();
    let queue = triggers.partitions.open();
    change(triggers);
    let notified = Mutex::new(Vec::new());
    let work = queue.run(4, CancellationToken::new(), |key| {
        notified.lock().unwrap().push(key.name);
        async { Outcome::Done }
    });
    drop(timeout(Duration::from_secs(1), work).await);
    let mut notified = notified.into_inner().unwrap();
    notified.sort_unstable();
    notified
}

fn owners(kind: &str, name: Option<&str>) -> Value {
    let owner = |name| json!([{"apiVersion": "v1", "kind": kind, "name": name, "uid": name, "controller": true}]);
    name.map(owner).unwrap_or_default()
}

fn config_map(owner: Option<&str>) -> Cached<()> {
    let object: ConfigMap = serde_json::from_value(
        json!({"metadata": {"name": "w-1-config", "ownerReferences": owners("Partition", owner)}}),
    )
    .unwrap();
    object.cached()
}

fn pod(owner: Option<&str>) -> PodFacts {
    let object: Pod =
        serde_json::from_value(json!({"metadata": {"name": "w-1-0", "ownerReferences": owners("StatefulSet", owner)}}))
            .unwrap();
    object.into()
}

const CASES: [(Option<&str>, Option<&str>, &[&str]); 4] = [
    (Some("w-1"), Some("w-1"), &["w-1"]),
    (Some("w-1"), None, &["w-1"]),
    (None, Some("w-1"), &["w-1"]),
    (Some("w-1"), Some("w-2"), &["w-1", "w-2"]),
];

#[tokio::test(start_paused = true)]
async fn the_partition_that_a_child_had_is_notified_when_it_has_another_or_none() {
    for (before, after, expected) in CASES {
        let key = ObjectKey::new("ns", "w-1-config");
        let change = |triggers| {
            let (before, after) = (config_map(before), config_map(after));
            (children::<ConfigMap>(triggers).changed)(&key, Change::Replaced(&before, &after));
        };
        assert_eq!(partitions_notified(change).await, expected, "{before:?} {after:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_partition_that_a_pod_had_is_notified_when_it_has_another_or_none() {
    for (before, after, expected) in CASES {
        let key = ObjectKey::new("ns", "w-1-0");
        let change = |triggers| (pods(triggers).changed)(&key, Change::Replaced(&pod(before), &pod(after)));
        assert_eq!(partitions_notified(change).await, expected, "{before:?} {after:?}");
    }
}

fn known(version: &str, size: i64, status: &Value) -> Cached<Partition> {
    let partition: Partition = serde_json::from_value(json!({
        "metadata": {"name": "p-1", "resourceVersion": version},
        "spec": {"protocol": "log", "size": size},
        "status": status,
    }))
    .unwrap();
    partition.cached()
}

#[test]
fn a_change_of_the_election_alone_is_distinguished_from_every_other() {
    let election = |term: i64| json!({"term": term, "primary": "", "candidates": [], "streams": {}});
    let before = known("1", 1, &json!({"replicas": 1, "election": election(1)}));
    let elected = known("2", 1, &json!({"replicas": 1, "election": election(2)}));
    assert!(only_election_differs(&before, &elected));
    for other in [
        known("2", 1, &json!({"replicas": 1, "election": election(1)})),
        known("2", 2, &json!({"replicas": 1, "election": election(2)})),
        known("2", 1, &json!({"replicas": 2, "election": election(2)})),
    ] {
        assert!(!only_election_differs(&before, &other), "{other:?}");
    }
}
