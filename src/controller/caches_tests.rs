#![allow(clippy::needless_pass_by_value, reason = "fixtures read best with literals")]

use std::sync::Mutex;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::queue::Outcome;

/// The partitions that are reconciled after `change`.
async fn partitions_notified(change: impl FnOnce(Route)) -> Vec<String> {
    let route = Route { sets: Trigger::default(), partitions: Trigger::default() };
    let queue = route.partitions.open();
    change(route);
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

fn config_map(owner: Option<&str>) -> Known<()> {
    let object: ConfigMap = serde_json::from_value(
        json!({"metadata": {"name": "w-1-config", "ownerReferences": owners("Partition", owner)}}),
    )
    .unwrap();
    object.known()
}

fn pod(owner: Option<&str>) -> PodFacts {
    let object: Pod =
        serde_json::from_value(json!({"metadata": {"name": "w-1-0", "ownerReferences": owners("StatefulSet", owner)}}))
            .unwrap();
    object.facts()
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
        let change = |route| {
            Sink::<ConfigMap>::replaced(&Children(route), &key, &config_map(before), &config_map(after));
        };
        assert_eq!(partitions_notified(change).await, expected, "{before:?} {after:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_partition_that_a_pod_had_is_notified_when_it_has_another_or_none() {
    for (before, after, expected) in CASES {
        let key = ObjectKey::new("ns", "w-1-0");
        let change = |route| Pods(route).replaced(&key, &pod(before), &pod(after));
        assert_eq!(partitions_notified(change).await, expected, "{before:?} {after:?}");
    }
}
