//! The status of a Partition, as a function of what is known of its pods.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::identity::Identity;
use super::nodes::Nodes;
use super::obstacle::Obstacle;
use super::rolling::Wait;
use crate::api::conditions::{self, Draft, READY, RECONCILING, STALLED};
use crate::api::{Partition, PartitionStatus};
use crate::controller::metadata;
use crate::controller::trouble::Trouble;

/// Reason of a partition of which nothing is known but that its pods are not all ready: a set need not repeat it.
pub(crate) const PODS_NOT_READY: &str = "PodsNotReady";

/// What a status is made from, beside the Partition.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen<'a> {
    /// The pods.
    pub nodes: &'a Nodes,
    /// What keeps pods from being there and ready, if it has lasted for as long as it may.
    pub obstacle: Option<&'a Obstacle>,
    /// What the replacement of outdated pods waits for.
    pub rolling: Option<&'a Wait>,
    /// What stands in the way of the partition's objects.
    pub trouble: Option<&'a Trouble>,
}

/// The status that `partition` should have.
pub(super) fn status(partition: &Partition, seen: Seen<'_>, image: Option<String>, now: &Time) -> PartitionStatus {
    let before = partition.status.as_ref().map_or(&[][..], |status| &status.conditions);
    let generation = partition.metadata.generation;
    let identity = Identity::of(partition).ok();
    let selector = identity.as_ref().map(|identity| {
        let labels = metadata::selector(&identity.set, identity.index);
        labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",")
    });
    let count = |pods: usize| i64::try_from(pods).unwrap_or(i64::MAX);
    PartitionStatus {
        observed_generation: generation,
        replicas: count(seen.nodes.pods.len()),
        ready_replicas: count(seen.nodes.ready()),
        selector,
        image,
        conditions: conditions::settle(before, drafts(seen), generation, now),
        // Not the controllers': a status is written without it, which leaves it as it is.
        election: None,
    }
}

fn drafts(Seen { nodes, obstacle, rolling, trouble }: Seen<'_>) -> Vec<Draft> {
    let ready = nodes.wanted().filter(|pod| pod.is_ready()).count();
    let progress = format!("{ready} of {} pods are ready", nodes.size);
    if let Some(trouble) = trouble {
        return trouble.drafts();
    }
    if nodes.is_complete() {
        return Draft::ready("PodsReady", progress);
    }
    let on_the_way = |ready, reason, message| Draft::not_ready(ready, RECONCILING, reason, message);
    let outdated = match nodes.outdated() {
        0 => String::new(),
        outdated => format!("; {outdated} of {} pods are outdated", nodes.size),
    };
    if let Some(Obstacle { reason, pod, message, .. }) = obstacle {
        let message = if pod.is_some() {
            format!("{progress}{outdated}; {message}")
        } else {
            format!("{} of {} pods exist{outdated}; {message}", nodes.wanted().count(), nodes.size)
        };
        return on_the_way(reason, reason, message);
    }
    if let Some(Wait { quorum, message }) = rolling {
        let reason = if *quorum { "WaitingForQuorum" } else { "Rolling" };
        return on_the_way("Rolling", reason, format!("{progress}; {message}"));
    }
    on_the_way(PODS_NOT_READY, "WaitingForPods", format!("{progress}{}", what_else(nodes)))
}

/// What a partition waits for whose pods are all ready.
fn what_else(nodes: &Nodes) -> String {
    if nodes.wanted().filter(|pod| pod.is_ready()).count() < usize::try_from(nodes.size).unwrap_or_default() {
        String::new()
    } else if let Some(surplus) = nodes.pods.iter().find(|pod| pod.ordinal >= nodes.size) {
        format!("; waiting for pod {} to end", surplus.name)
    } else if nodes.rollout.observed {
        format!("; {} of {} pods are outdated", nodes.outdated(), nodes.size)
    } else {
        "; waiting for the StatefulSet controller to see the StatefulSet".to_owned()
    }
}

/// Whether more than the progress differs. What is wrong with the pods is progress too: a pod that fails is made anew,
/// and fails again, in less than a second.
pub(super) fn is_urgent(before: &PartitionStatus, after: &PartitionStatus) -> bool {
    let outline = |conditions: &[Condition]| -> Vec<_> {
        let reason = |condition: &Condition| (condition.type_ == STALLED).then(|| condition.reason.clone());
        conditions
            .iter()
            .map(|condition| (condition.type_.clone(), condition.status.clone(), reason(condition)))
            .collect()
    };
    before.observed_generation != after.observed_generation
        || before.image != after.image
        || outline(&before.conditions) != outline(&after.conditions)
}

/// What is worth a warning to people in the change from one status to the next, as reason and message.
pub(super) fn warning<'a>(before: &PartitionStatus, after: &'a PartitionStatus) -> Option<(&'a str, &'a str)> {
    let find = |kind| conditions::find(&after.conditions, kind);
    if let Some(stalled) = find(STALLED) {
        let was = conditions::find(&before.conditions, STALLED);
        return was
            .is_none_or(|was| was.message != stalled.message)
            .then_some((stalled.reason.as_str(), stalled.message.as_str()));
    }
    let ready = find(READY).filter(|ready| {
        let of_pods = ready.reason.starts_with("Pod") || ready.reason.starts_with("Container");
        let passing = ready.status == "True" || ready.reason == PODS_NOT_READY;
        (of_pods || matches!(ready.reason.as_str(), "ImagePullFailed" | "NodeNotReady" | "QuotaExceeded")) && !passing
    })?;
    let was = conditions::find(&before.conditions, READY).map(|was| was.reason.as_str());
    (was != Some(ready.reason.as_str())).then_some((ready.reason.as_str(), ready.message.as_str()))
}

#[cfg(test)]
#[path = "status_tests.rs"]
mod tests;
