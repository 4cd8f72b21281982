//! The pods of one partition as they are known, beside what they should be.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::build::min_ready;
use super::state::Partitions;
use crate::api::names::ObjectKey;
use crate::api::{DEFAULT_COUNT, Partition, Protocol};
use crate::controller::ready_timers::Now;
use crate::store::Rollout;
use crate::store::pods::{PodFacts, ordinal};

/// The pods of a partition.
#[derive(Clone, Debug, Default)]
pub(super) struct Nodes {
    /// Pods that there should be.
    pub size: i64,
    /// How long a pod has to be ready before it counts for a quorum.
    pub min_ready: Duration,
    /// What the StatefulSet controller has made of the StatefulSet.
    pub rollout: Rollout,
    /// Pods that were evicted since the StatefulSet has its spec: uids by ordinal.
    pub replaced: HashMap<i64, String>,
    /// Name of the pod that the nodes have elected, if any.
    pub primary: String,
    /// The pods that exist, by ordinal. While a partition shrinks there are some of higher ordinals than it will have.
    pub pods: Vec<Node>,
}

/// One pod.
#[derive(Clone, Debug)]
pub(super) struct Node {
    /// Number of the pod in its StatefulSet, from 0.
    pub ordinal: i64,
    /// Name of the pod.
    pub name: String,
    /// What is known of it.
    pub facts: Arc<PodFacts>,
    /// Whether it is on its way out, or has been evicted and is not yet known to be.
    pub going: bool,
    /// How much longer it has to be ready before it counts for a quorum, if it is ready and does not count yet.
    pub available_in: Option<Duration>,
}

impl Node {
    /// Whether it is ready, and stays.
    pub(super) fn is_ready(&self) -> bool {
        !self.going && self.facts.ready_since.is_some()
    }
}

/// What a set needs to know of the pods of a partition that its status does not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PodsOf {
    /// Whether all pods that there should be are ready, of whatever template.
    pub(crate) whole: bool,
    /// Whether some pods have an earlier template than the partition.
    pub(crate) outdated: bool,
    /// Whether some pods have the current template of the partition and others have not: it is in the midst of a change.
    pub(crate) mixed: bool,
}

impl From<&Nodes> for PodsOf {
    fn from(nodes: &Nodes) -> Self {
        Self { whole: nodes.is_whole(), outdated: nodes.outdated() > 0, mixed: nodes.is_mixed() }
    }
}

impl Nodes {
    /// Reads the pods of a partition off the caches. The primary may have changed a moment ago.
    pub(super) fn of(partitions: &Partitions, key: &ObjectKey, partition: &Partition) -> Self {
        let caches = &partitions.context.caches;
        let spec = &partition.spec.template;
        let min_ready = Protocol::parse(&spec.protocol).map(min_ready).unwrap_or_default();
        let rollout = caches.stateful_sets.get(key).map(|known| known.facts.clone()).unwrap_or_default();
        let (evicted, replaced) = partitions
            .states
            .with(key, |state| (state.roll.evicted(Instant::now()), state.roll.replaced(rollout.generation)));
        let known = caches.pods.with_prefix(&key.namespace, &format!("{}-", key.name));
        let pods = known.into_iter().filter(|(_, facts)| facts.owner == key.name).filter_map(|(name, facts)| {
            let going = facts.deleting || evicted.contains(&facts.uid);
            Some(Node { ordinal: ordinal(&name, &key.name)?, name, facts, going, available_in: None })
        });
        let mut pods: Vec<Node> = pods.collect();
        pods.sort_by_key(|pod| pod.ordinal);
        let ready: Vec<_> = pods.iter().map(|pod| (pod.facts.uid.as_str(), pod.facts.ready_since)).collect();
        let remaining = partitions.states.with(key, |state| state.ready_pods.remaining(min_ready, &ready, Now::read()));
        pods.iter_mut().zip(remaining).for_each(|(pod, remaining)| pod.available_in = remaining);
        let known = caches.partitions.get(key);
        let election = known.as_ref().and_then(|known| known.facts.status.as_ref()?.election.as_ref());
        let primary = election.map(|election| election.primary.clone()).unwrap_or_default();
        Self { size: spec.size.unwrap_or(DEFAULT_COUNT), min_ready, rollout, replaced, primary, pods }
    }

    /// The pods that there should be and are.
    pub(super) fn wanted(&self) -> impl DoubleEndedIterator<Item = &Node> {
        self.pods.iter().filter(|pod| pod.ordinal < self.size)
    }

    /// The least ordinal of which there is no pod, and should be.
    pub(super) fn missing(&self) -> Option<i64> {
        (0..self.size).find(|ordinal| self.pods.iter().all(|pod| pod.ordinal != *ordinal))
    }

    /// Whether a pod was made from an earlier template. That is unknown until the StatefulSet controller has seen the
    /// current one.
    pub(super) fn is_outdated(&self, pod: &Node) -> bool {
        self.rollout.observed && pod.facts.revision != self.rollout.revision
    }

    /// A pod that was made in the place of one that was evicted for being outdated, and is outdated itself although the
    /// StatefulSet has not changed since. To evict it would change nothing.
    pub(super) fn stays_outdated(&self) -> Option<&Node> {
        self.wanted().find(|pod| {
            self.is_outdated(pod) && self.replaced.get(&pod.ordinal).is_some_and(|uid| *uid != pod.facts.uid)
        })
    }

    /// Wanted pods of earlier templates.
    pub(super) fn outdated(&self) -> usize {
        self.wanted().filter(|pod| self.is_outdated(pod)).count()
    }

    /// Pods that are ready.
    pub(super) fn ready(&self) -> usize {
        self.pods.iter().filter(|pod| pod.is_ready()).count()
    }

    /// Whether all pods that there should be are ready, of whatever template.
    pub(super) fn is_whole(&self) -> bool {
        i64::try_from(self.wanted().filter(|pod| pod.is_ready()).count()) == Ok(self.size)
    }

    /// Whether some pods have the current template and others have not.
    pub(super) fn is_mixed(&self) -> bool {
        let outdated = self.outdated();
        outdated > 0 && outdated < self.wanted().count()
    }

    /// Whether exactly the pods exist that there should be, all of the current template and ready.
    pub(super) fn is_complete(&self) -> bool {
        self.rollout.observed
            && i64::try_from(self.pods.len()) == Ok(self.size)
            && self.wanted().filter(|pod| pod.is_ready() && !self.is_outdated(pod)).count() == self.pods.len()
    }
}

/// What a set needs to know of the pods of its partition `key`.
pub(crate) fn pods_of(partitions: &Partitions, key: &ObjectKey, partition: &Partition) -> PodsOf {
    PodsOf::from(&Nodes::of(partitions, key, partition))
}

#[cfg(test)]
#[path = "nodes_tests.rs"]
pub(super) mod fixtures;
