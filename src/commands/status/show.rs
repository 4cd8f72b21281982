//! Sets, partitions and pods as text.

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;

use super::progress;
use crate::api::conditions::READY;
use crate::api::names::ObjectKey;
use crate::api::{Partition, PartitionSet, labels};
use crate::commands::table::table;

/// Sets, one a line.
pub(super) fn sets(sets: &[PartitionSet]) -> String {
    let rows = sets.iter().map(|set| {
        let (_, reason, message) = progress::of(set);
        let ready = set.status.as_ref().map_or(0, |status| status.ready_partitions);
        let partitions = format!("{ready}/{}", set.spec.partitions.unwrap_or_default());
        vec![set.namespace().unwrap_or_default(), set.name_any(), partitions, reason, one_line(&message)]
    });
    table(&["NAMESPACE", "NAME", "READY", "STATUS", "MESSAGE"], rows)
}

/// A set and what its conditions say, for a line of its own.
pub(super) fn headline(set: &PartitionSet) -> String {
    let (_, reason, message) = progress::of(set);
    let key = ObjectKey::new(set.namespace().unwrap_or_default(), set.name_any());
    let parts = [key.to_string(), reason, one_line(&message)];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(": ")
}

/// One set with its partitions and their pods.
pub(super) fn detail(set: &PartitionSet, mut partitions: Vec<Partition>, mut pods: Vec<Pod>) -> String {
    partitions.sort_by_key(|partition| index(partition.labels().get(labels::PARTITION)));
    pods.sort_by_key(|pod| (index(pod.labels().get(labels::PARTITION)), ordinal(&pod.name_any())));
    let of_partitions = partitions.iter().map(|partition| {
        let status = partition.status.clone().unwrap_or_default();
        let ready = status.conditions.iter().find(|condition| condition.type_ == READY);
        let (reason, message) = ready.map_or_else(Default::default, |ready| (ready.reason.clone(), &*ready.message));
        let replicas = format!("{}/{}", status.ready_replicas, partition.spec.template.size.unwrap_or_default());
        vec![partition.name_any(), replicas, reason, status.image.unwrap_or_default(), one_line(message)]
    });
    let of_pods = pods.iter().map(|pod| {
        let restarts: i32 = containers(pod).map(|container| container.restart_count).sum();
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.clone()).unwrap_or_default();
        vec![pod.name_any(), is_ready(pod).to_string(), state(pod), restarts.to_string(), node]
    });
    let partitions = table(&["PARTITION", "READY", "STATUS", "IMAGE", "MESSAGE"], of_partitions);
    let pods = table(&["POD", "READY", "STATUS", "RESTARTS", "NODE"], of_pods);
    format!("{}\n\n{partitions}\n{pods}", headline(set))
}

/// A message of several lines in one.
fn one_line(message: &str) -> String {
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn index(label: Option<&String>) -> u64 {
    label.and_then(|index| index.parse().ok()).unwrap_or(u64::MAX)
}

fn ordinal(pod: &str) -> u64 {
    pod.rsplit('-').next().and_then(|ordinal| ordinal.parse().ok()).unwrap_or(u64::MAX)
}

fn containers(pod: &Pod) -> impl Iterator<Item = &k8s_openapi::api::core::v1::ContainerStatus> {
    pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten())
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|condition| condition.type_ == READY && condition.status == "True")
}

/// Why a container waits, or the phase of the pod, as the column STATUS of kubectl.
fn state(pod: &Pod) -> String {
    if pod.metadata.deletion_timestamp.is_some() {
        return "Terminating".to_owned();
    }
    let waiting = containers(pod).filter_map(|container| container.state.as_ref()?.waiting.as_ref()?.reason.clone());
    let phase = || pod.status.as_ref().and_then(|status| status.phase.clone()).unwrap_or_default();
    waiting.into_iter().next().unwrap_or_else(phase)
}
