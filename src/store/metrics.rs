//! Metrics of the watches, and of the objects that they have shown.

use std::sync::atomic::AtomicU64;
use std::time::{SystemTime, UNIX_EPOCH};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use super::caches::Caches;
use crate::api::conditions::{PAUSED, READY, STALLED, find};
use crate::runtime::metrics::{Registrar, Subsystem};

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct KindLabel {
    /// What a watch selects, such as `pods`.
    kind: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct StateLabel {
    state: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct ControllerLabel {
    /// `partition_set` or `partition`.
    controller: &'static str,
}

/// The state of an object, as its conditions say it. The first that is true counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Deleting,
    Stalled,
    Paused,
    Ready,
    /// Since when, in seconds since 1970.
    NotReady(i64),
}

impl State {
    const LABELS: [&str; 5] = ["deleting", "stalled", "paused", "ready", "not_ready"];

    fn of(metadata: &ObjectMeta, conditions: &[Condition]) -> Self {
        let ready = find(conditions, READY);
        match ready {
            _ if metadata.deletion_timestamp.is_some() => Self::Deleting,
            _ if find(conditions, STALLED).is_some_and(|stalled| stalled.status == "True") => Self::Stalled,
            Some(ready) if ready.reason == PAUSED => Self::Paused,
            Some(ready) if ready.status == "True" => Self::Ready,
            _ => {
                let since = ready.map(|ready| &ready.last_transition_time).or(metadata.creation_timestamp.as_ref());
                Self::NotReady(since.map_or(i64::MAX, |time| time.0.as_second()))
            }
        }
    }

    const fn index(self) -> usize {
        match self {
            Self::Deleting => 0,
            Self::Stalled => 1,
            Self::Paused => 2,
            Self::Ready => 3,
            Self::NotReady(_) => 4,
        }
    }
}

/// How many objects of a kind there are in each state, and since when the first has not been ready.
struct Counts {
    states: [i64; State::LABELS.len()],
    not_ready_since: i64,
}

impl Counts {
    const NONE: Self = Self { states: [0; State::LABELS.len()], not_ready_since: i64::MAX };

    fn add(&mut self, state: State) {
        self.states[state.index()] += 1;
        if let State::NotReady(since) = state {
            self.not_ready_since = self.not_ready_since.min(since);
        }
    }
}

/// Metrics of the watches, and of the objects that they have shown.
#[derive(Debug)]
pub(super) struct StoreMetrics {
    sets: Family<StateLabel, Gauge>,
    partitions: Family<StateLabel, Gauge>,
    not_ready: Family<ControllerLabel, Gauge>,
    watch_errors: Family<KindLabel, Counter>,
    watch_lag: Family<KindLabel, Gauge<f64, AtomicU64>>,
}

impl Subsystem for StoreMetrics {
    fn register(registrar: &mut Registrar<'_>) -> Self {
        Self {
            sets: registrar.metric("partition_sets", "PartitionSets by state"),
            partitions: registrar.metric("partitions", "Partitions by state"),
            not_ready: registrar
                .timestamp("longest_not_ready", "How long the object that waits for longest has not been ready"),
            watch_errors: registrar.metric("watch_errors", "Interruptions of watches, and attempts in vain to go on"),
            watch_lag: registrar.timestamp(
                "watch_lag",
                "Age of the first state that a watch has not shown and that is known otherwise",
            ),
        }
    }
}

impl StoreMetrics {
    /// The metrics of one watch: its errors, and its lag.
    pub(super) fn watch(&self, kind: &'static str) -> (Counter, Gauge<f64, AtomicU64>) {
        let label = KindLabel { kind };
        (self.watch_errors.get_or_create_owned(&label), self.watch_lag.get_or_create_owned(&label))
    }

    /// Counts the objects of the caches by their state at `now`.
    pub(super) fn count(&self, caches: &Caches, now: SystemTime) {
        let (mut sets, mut partitions) = (Counts::NONE, Counts::NONE);
        caches.sets.for_each(|set| {
            let conditions = set.status.as_ref().map_or(&[][..], |status| &status.conditions);
            sets.add(State::of(&set.metadata, conditions));
        });
        caches.partitions.for_each(|partition| {
            let partition = &partition.facts;
            let conditions = partition.status.as_ref().map_or(&[][..], |status| &status.conditions);
            partitions.add(State::of(&partition.metadata, conditions));
        });
        let now = now.duration_since(UNIX_EPOCH).ok().and_then(|now| i64::try_from(now.as_secs()).ok());
        let kinds = [("partition_set", &self.sets, sets), ("partition", &self.partitions, partitions)];
        for (controller, family, counts) in kinds {
            for (state, count) in State::LABELS.into_iter().zip(counts.states) {
                family.get_or_create(&StateLabel { state }).set(count);
            }
            let waited = now.unwrap_or_default().saturating_sub(counts.not_ready_since).max(0);
            self.not_ready.get_or_create(&ControllerLabel { controller }).set(waited);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use k8s_openapi::jiff::Timestamp;
    use serde_json::json;

    use super::*;
    use crate::api::names::ObjectKey;
    use crate::runtime::metrics::Registry;

    fn at(second: i64) -> Time {
        Time(Timestamp::from_second(second).unwrap())
    }

    #[test]
    fn sets_are_counted_by_state_and_the_one_that_waits_for_longest_is_told() {
        let condition = |kind: &str, status: &str, reason: &str, since| json!({"type": kind, "status": status, "reason": reason, "message": "", "lastTransitionTime": at(since)});
        let (caches, registry) = (Caches::default(), Registry::default());
        let metrics = registry.register::<StoreMetrics>();
        let add = |name: &str, metadata: serde_json::Value, conditions: Vec<serde_json::Value>| {
            let mut set = json!({
                "apiVersion": "k8s.atomix.io/v1alpha1", "kind": "PartitionSet", "metadata": metadata,
                "spec": {"partitions": 1, "template": {"spec": {"protocol": "raft"}}},
                "status": {"conditions": conditions},
            });
            set["metadata"]["name"] = name.into();
            caches.sets.observe(ObjectKey::new("ns", name), 1, serde_json::from_value(set).unwrap());
        };
        add("ready", json!({}), vec![condition("Ready", "True", "AllPartitionsReady", 1)]);
        add("new", json!({"creationTimestamp": at(970)}), vec![]);
        add("waits", json!({"creationTimestamp": at(1)}), vec![condition("Ready", "False", "RollingOut", 940)]);
        add("paused", json!({}), vec![condition("Ready", "False", "Paused", 1)]);
        let stalled =
            vec![condition("Ready", "False", "InvalidSpec", 1), condition("Stalled", "True", "InvalidSpec", 1)];
        add("stalled", json!({}), stalled.clone());
        add("going", json!({"deletionTimestamp": at(1)}), stalled);
        metrics.count(&caches, UNIX_EPOCH + Duration::from_secs(1000));
        let text = registry.render().unwrap();
        for line in [
            r#"atomix_partition_sets{state="ready"} 1"#,
            r#"atomix_partition_sets{state="not_ready"} 2"#,
            r#"atomix_partition_sets{state="paused"} 1"#,
            r#"atomix_partition_sets{state="stalled"} 1"#,
            r#"atomix_partition_sets{state="deleting"} 1"#,
            r#"atomix_partitions{state="ready"} 0"#,
            r#"atomix_longest_not_ready_seconds{controller="partition_set"} 60"#,
            r#"atomix_longest_not_ready_seconds{controller="partition"} 0"#,
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
    }
}
