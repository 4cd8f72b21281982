//! Sets, partitions and pods as text.

use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::ResourceExt;

use super::progress::State;
use crate::api::conditions::{self, READY};
use crate::api::names::split_partition;
use crate::api::{Partition, PartitionSet};
use crate::commands::table::table;
use crate::store::cache::key_of;
use crate::text::on_one_line;

/// Sets, one a line.
pub(super) fn sets(sets: &[PartitionSet], states: &[State]) -> String {
    let rows = sets.iter().zip(states).map(|(set, state)| {
        let ready = set.status.as_ref().map_or(0, |status| status.ready_partitions);
        let partitions = format!("{ready}/{}", set.spec.partitions.unwrap_or_default());
        let (namespace, name) = (set.namespace().unwrap_or_default(), set.name_any());
        vec![namespace, name, partitions, state.reason.clone(), state.message.clone()]
    });
    table(&["NAMESPACE", "NAME", "READY", "STATUS", "MESSAGE"], rows)
}

/// A set and what its conditions say, for a line of its own.
pub(super) fn headline(set: &PartitionSet, state: &State) -> String {
    let key = key_of(set).to_string();
    let parts = [&key, &state.reason, &state.message];
    parts.into_iter().filter(|part| !part.is_empty()).map(String::as_str).collect::<Vec<_>>().join(": ")
}

/// One set with its partitions and their pods.
pub(super) fn detail(set: &PartitionSet, state: &State, mut partitions: Vec<Partition>, mut pods: Vec<Pod>) -> String {
    partitions.sort_by_key(|partition| split_partition(&partition.name_any()).map(|(_, index)| index));
    pods.sort_by_key(|pod| place(&pod.name_any()));
    let of_partitions = partitions.iter().map(|partition| {
        let status = partition.status.clone().unwrap_or_default();
        let ready = conditions::find(&status.conditions, READY);
        let (reason, message) = ready.map_or_else(Default::default, |ready| (ready.reason.clone(), &*ready.message));
        let replicas = format!("{}/{}", status.ready_replicas, partition.spec.template.size.unwrap_or_default());
        vec![partition.name_any(), replicas, reason, status.image.unwrap_or_default(), on_one_line(message)]
    });
    let of_pods = pods.iter().map(|pod| {
        let restarts: i32 = containers(pod).map(|container| container.restart_count).sum();
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.clone()).unwrap_or_default();
        vec![pod.name_any(), is_ready(pod).to_string(), phase(pod), restarts.to_string(), node]
    });
    let partitions = table(&["PARTITION", "READY", "STATUS", "IMAGE", "MESSAGE"], of_partitions);
    let pods = table(&["POD", "READY", "STATUS", "RESTARTS", "NODE"], of_pods);
    format!("{}\n\n{partitions}\n{pods}", headline(set, state))
}

/// The index of a pod's partition, and its ordinal in it.
fn place(pod: &str) -> Option<(i64, u32)> {
    let (partition, ordinal) = pod.rsplit_once('-')?;
    Some((split_partition(partition)?.1, ordinal.parse().ok()?))
}

fn containers(pod: &Pod) -> impl Iterator<Item = &ContainerStatus> {
    pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten())
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|condition| condition.type_ == READY && condition.status == "True")
}

/// Why a container waits, or the phase of the pod, as the column STATUS of kubectl.
fn phase(pod: &Pod) -> String {
    if pod.metadata.deletion_timestamp.is_some() {
        return "Terminating".to_owned();
    }
    let waiting = containers(pod).filter_map(|container| container.state.as_ref()?.waiting.as_ref()?.reason.clone());
    let phase = || pod.status.as_ref().and_then(|status| status.phase.clone()).unwrap_or_default();
    waiting.into_iter().next().unwrap_or_else(phase)
}
