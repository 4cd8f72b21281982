//! What is kept of a pod.

use std::time::Duration;

use k8s_openapi::api::core::v1::ContainerStatus;
use k8s_openapi::jiff::Timestamp;

use super::slim::{Pod, REVISION};
use super::trouble::{self, PodTrouble};

/// What the cache keeps of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PodFacts {
    pub(crate) uid: String,
    /// Name of the StatefulSet that controls it: its partition's name. Empty if none does.
    pub(crate) owner: String,
    /// Revision of the StatefulSet's pod template that it was made from.
    pub(crate) revision: String,
    pub(crate) deleting: bool,
    /// What is known of its end, if it is on its way out.
    pub(crate) ending: Option<Box<Ending>>,
    /// Whether its containers run: a pod without may be replaced before one that only fails its readiness probe.
    pub(crate) running: bool,
    /// Since when it has been ready; none if it is not.
    pub(crate) ready_since: Option<Timestamp>,
    /// Why it is not ready, where its status says so.
    pub(crate) trouble: Option<PodTrouble>,
}

/// The end of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ending {
    /// Name of the Kubernetes node that has to end it; empty if none has it.
    pub(crate) node: String,
    /// When its grace period is over, by the API server's clock.
    pub(crate) until: Option<Timestamp>,
    /// Its grace period.
    pub(crate) grace: Duration,
    /// What keeps it when its node has ended it.
    pub(crate) finalizers: Vec<String>,
}

impl From<Pod> for PodFacts {
    fn from(pod: Pod) -> Self {
        let owners = pod.metadata.owner_references.iter().flatten();
        let owner = owners.into_iter().find(|owner| owner.controller == Some(true) && owner.kind == "StatefulSet");
        let labels = pod.metadata.labels.as_ref();
        let failed = pod.has_phase("Failed");
        let ready = pod.condition("Ready").filter(|ready| ready.status == "True" && !failed);
        let mut containers = pod.status.container_statuses.iter().flatten();
        let is_running =
            |container: &ContainerStatus| container.state.as_ref().is_some_and(|state| state.running.is_some());
        Self {
            owner: owner.map(|owner| owner.name.clone()).unwrap_or_default(),
            revision: labels.and_then(|labels| labels.get(REVISION)).cloned().unwrap_or_default(),
            deleting: pod.metadata.deletion_timestamp.is_some(),
            ending: ending(&pod),
            running: pod.has_phase("Running") && containers.all(is_running),
            // The kubelet always says since when; a pod without that counts as ready for long.
            ready_since: ready
                .map(|ready| ready.last_transition_time.as_ref().map_or_else(Default::default, |time| time.0)),
            trouble: if ready.is_none() { trouble::of(&pod) } else { None },
            uid: pod.metadata.uid.unwrap_or_default(),
        }
    }
}

fn ending(pod: &Pod) -> Option<Box<Ending>> {
    let until = pod.metadata.deletion_timestamp.as_ref()?;
    let grace = pod.metadata.deletion_grace_period_seconds.unwrap_or_default();
    let grace = Duration::from_secs(u64::try_from(grace).unwrap_or_default());
    let finalizers = pod.metadata.finalizers.clone().unwrap_or_default();
    Some(Box::new(Ending { node: pod.spec.node_name.clone(), until: Some(until.0), grace, finalizers }))
}

/// Number of a pod in its StatefulSet, from 0, by its name.
///
/// ```text
/// ordinal("raft-1-2", "raft-1") == Some(2)
/// ```
pub(crate) fn ordinal(pod: &str, stateful_set: &str) -> Option<i64> {
    pod.strip_prefix(stateful_set)?.strip_prefix('-')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::ordinal;

    #[test]
    fn a_pod_has_the_number_at_the_end_of_its_name() {
        assert_eq!(ordinal("raft-1-12", "raft-1"), Some(12));
        for pod in ["raft-1", "raft-1-", "raft-12-1", "raft-1-x", "raft-1-2-3"] {
            assert_eq!(ordinal(pod, "raft-1"), None, "{pod}");
        }
    }
}
