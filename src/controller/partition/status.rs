//! The status of a Partition, as a function of what is known of its pods.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::super::objects;
use super::super::trouble::Trouble;
use super::eviction::Wait;
use super::identity::Identity;
use super::nodes::Nodes;
use crate::api::conditions::{self, Draft, READY, RECONCILING, STALLED};
use crate::api::{Partition, PartitionStatus};

/// Reason of a partition that lacks pods which its StatefulSet does not make.
const PODS_MISSING: &str = "PodsMissing";
/// Reason of a partition of which nothing is known but that its pods are not all ready: a set need not repeat it.
pub(in crate::controller) const PODS_NOT_READY: &str = "PodsNotReady";

/// What a status is made from, beside the Partition.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen<'a> {
    /// The pods.
    pub nodes: &'a Nodes,
    /// Whether pods have been missing for longer than it takes to make some.
    pub missing: bool,
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
        let labels = objects::selector(&identity.set, identity.index);
        labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",")
    });
    let name = identity.map(|identity| identity.name).unwrap_or_default();
    let count = |pods: usize| i64::try_from(pods).unwrap_or(i64::MAX);
    PartitionStatus {
        observed_generation: generation,
        replicas: count(seen.nodes.pods.len()),
        ready_replicas: count(seen.nodes.ready()),
        selector,
        image,
        conditions: conditions::settle(before, drafts(&name, seen), generation, now),
        // Not the controllers': a status is written without it, which leaves it as it is.
        election: None,
    }
}

fn drafts(name: &str, Seen { nodes, missing, rolling, trouble }: Seen<'_>) -> Vec<Draft> {
    let progress = format!("{} of {} pods are ready", nodes.ready(), nodes.size);
    let draft = |kind, status, reason, message: &str| Draft { kind, status, reason, message: message.to_owned() };
    let on_the_way = |ready, reconciling, message: &str| {
        vec![draft(READY, false, ready, message), draft(RECONCILING, true, reconciling, message)]
    };
    if let Some(Trouble { stalled, reason, message, .. }) = trouble {
        return vec![
            draft(READY, false, reason, message),
            draft(if *stalled { STALLED } else { RECONCILING }, true, reason, message),
        ];
    }
    if nodes.is_complete() {
        return vec![draft(READY, true, "PodsReady", &progress)];
    }
    let outdated = match nodes.outdated() {
        0 => String::new(),
        outdated => format!("; {outdated} of {} pods are outdated", nodes.size),
    };
    let in_trouble = nodes.wanted().filter(|pod| !pod.going);
    let in_trouble = in_trouble.filter_map(|pod| Some((pod, pod.facts.trouble.as_ref()?)));
    // A pod that was made from the current template tells more than one that is about to be replaced.
    if let Some((pod, trouble)) = in_trouble.min_by_key(|(pod, _)| (nodes.is_outdated(pod), pod.ordinal)) {
        let message = format!("{progress}{outdated}; pod {} {}", pod.name, trouble.message);
        return on_the_way(trouble.reason, trouble.reason, &message);
    }
    if missing {
        let exist = nodes.wanted().count();
        let message = format!(
            "{exist} of {} pods exist{outdated}; see `kubectl describe statefulset {name}` for why no more are made",
            nodes.size
        );
        return on_the_way(PODS_MISSING, PODS_MISSING, &message);
    }
    if let Some(Wait { quorum, message }) = rolling {
        return on_the_way("Rolling", if *quorum { "WaitingForQuorum" } else { "Rolling" }, message);
    }
    on_the_way(PODS_NOT_READY, "WaitingForPods", &format!("{progress}{}", what_else(nodes)))
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
        (of_pods || matches!(ready.reason.as_str(), "ImagePullFailed" | "QuotaExceeded")) && !passing
    })?;
    let was = conditions::find(&before.conditions, READY).map(|was| was.reason.as_str());
    (was != Some(ready.reason.as_str())).then_some((ready.reason.as_str(), ready.message.as_str()))
}

#[cfg(test)]
#[path = "status_tests.rs"]
mod tests;
