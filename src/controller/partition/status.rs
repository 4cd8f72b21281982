//! The status of a Partition, as a function of what is known of its pods.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::super::objects::{self, PodCounts};
use super::super::trouble::Trouble;
use super::identity::Identity;
use crate::api::conditions::{self, Draft, READY, RECONCILING, STALLED};
use crate::api::{DEFAULT_COUNT, Partition, PartitionStatus};

/// The status that `partition` should have.
pub(super) fn status(
    partition: &Partition,
    counts: PodCounts,
    image: Option<String>,
    trouble: Option<&Trouble>,
    now: &Time,
) -> PartitionStatus {
    let size = partition.spec.template.size.unwrap_or(DEFAULT_COUNT);
    let before = partition.status.as_ref().map_or(&[][..], |status| &status.conditions);
    let generation = partition.metadata.generation;
    let selector = Identity::of(partition).ok().map(|identity| {
        let labels = objects::selector(&identity.set, identity.index);
        labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",")
    });
    PartitionStatus {
        observed_generation: generation,
        replicas: counts.replicas,
        ready_replicas: counts.ready,
        selector,
        image,
        conditions: conditions::settle(before, drafts(size, counts, trouble), generation, now),
    }
}

fn drafts(size: i64, counts: PodCounts, trouble: Option<&Trouble>) -> Vec<Draft> {
    let complete = counts.observed && counts.replicas == size && counts.ready == size;
    let progress = format!("{} of {size} pods are ready", counts.ready);
    let draft = |kind, status, reason, message: &str| Draft { kind, status, reason, message: message.to_owned() };
    match trouble {
        None if complete => vec![draft(READY, true, "PodsReady", &progress)],
        None => {
            vec![draft(READY, false, "PodsNotReady", &progress), draft(RECONCILING, true, "WaitingForPods", &progress)]
        }
        Some(Trouble { stalled, reason, message }) => vec![
            draft(READY, false, reason, message),
            draft(if *stalled { STALLED } else { RECONCILING }, true, reason, message),
        ],
    }
}

/// Whether more than the progress differs.
pub(super) fn is_urgent(before: &PartitionStatus, after: &PartitionStatus) -> bool {
    before.observed_generation != after.observed_generation
        || before.image != after.image
        || !conditions::same_outline(&before.conditions, &after.conditions)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::jiff::Timestamp;
    use serde_json::json;

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

    fn at(counts: PodCounts, trouble: Option<&Trouble>) -> Vec<(String, String, String)> {
        let status = status(&partition(), counts, None, trouble, &Time(Timestamp::UNIX_EPOCH));
        assert_eq!(status.selector.as_deref(), Some("app=atomix,group=g,partition=2,type=partition"));
        assert!(status.conditions.iter().all(|condition| condition.observed_generation == Some(4)));
        status.conditions.into_iter().map(|c| (c.type_, c.status, c.message)).collect()
    }

    fn triple(kind: &str, status: &str, message: &str) -> (String, String, String) {
        (kind.to_owned(), status.to_owned(), message.to_owned())
    }

    #[test]
    fn ready_needs_every_pod_of_the_current_spec() {
        let all = PodCounts { replicas: 3, ready: 3, observed: true };
        assert_eq!(at(all, None), [triple("Ready", "True", "3 of 3 pods are ready")]);
        for counts in [
            PodCounts::default(),
            PodCounts { ready: 2, ..all },
            PodCounts { observed: false, ..all },
            PodCounts { replicas: 5, ..all },
        ] {
            assert_eq!(at(counts, None)[0].1, "False", "{counts:?}");
            assert_eq!(at(counts, None)[1].0, "Reconciling", "{counts:?}");
        }
    }

    #[test]
    fn an_omitted_size_is_not_ready_without_pods() {
        // The original called a partition of no pods ready.
        let mut partition = partition();
        partition.spec.template.size = None;
        let counts = PodCounts { replicas: 0, ready: 0, observed: true };
        let status = status(&partition, counts, None, None, &Time(Timestamp::UNIX_EPOCH));
        assert_eq!(status.conditions[0].message, "0 of 1 pods are ready");
        assert_eq!(status.conditions[0].status, "False");
    }

    #[test]
    fn trouble_that_does_not_pass_is_a_stall() {
        let all = PodCounts { replicas: 3, ready: 3, observed: true };
        let trouble = |stalled| Trouble { stalled, reason: "NameCollision", message: "m".to_owned() };
        assert_eq!(at(all, Some(&trouble(true))), [triple("Ready", "False", "m"), triple("Stalled", "True", "m")]);
        assert_eq!(at(all, Some(&trouble(false)))[1], triple("Reconciling", "True", "m"));
    }
}
