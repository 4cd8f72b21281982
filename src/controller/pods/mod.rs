//! The pods of partitions, reduced to what decides whether a partition is ready and which pod may be replaced.

mod slim;
mod trouble;

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;

pub use self::slim::Pod;
pub use self::trouble::PodTrouble;

/// What the cache keeps of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodFacts {
    /// Unique identity of the pod.
    pub uid: String,
    /// Name of the StatefulSet that controls it: its partition's name. Empty if it is nobody's.
    pub owner: String,
    /// Revision of the StatefulSet's pod template that it was made from.
    pub revision: String,
    /// Whether it is on its way out.
    pub deleting: bool,
    /// What is known of its end, if it is on its way out.
    pub ending: Option<Box<Ending>>,
    /// Whether its containers run: a pod without may be replaced before one that only fails its readiness probe.
    pub running: bool,
    /// Since when it has been ready; none if it is not.
    pub ready_since: Option<Timestamp>,
    /// Why it is not ready, where its status says so.
    pub trouble: Option<PodTrouble>,
}

/// The end of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ending {
    /// Name of the Kubernetes node that has to end it; empty if none has it.
    pub node: String,
    /// When its grace period is over, by the API server's clock.
    pub until: Option<Timestamp>,
    /// Its grace period.
    pub grace: Duration,
    /// What keeps it when its node has ended it.
    pub finalizers: Vec<String>,
}

/// Number of a pod in its StatefulSet, from 0, by its name.
///
/// ```text
/// ordinal("raft-1-2", "raft-1") == Some(2)
/// ```
#[must_use]
pub fn ordinal(pod: &str, stateful_set: &str) -> Option<i64> {
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
