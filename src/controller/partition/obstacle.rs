//! What keeps a partition from having all its pods, ready, as far as a person should hear of it.

use std::time::Duration;

use super::nodes::{Node, Nodes};

/// Reason of a partition that lacks pods which its StatefulSet does not make.
const PODS_MISSING: &str = "PodsMissing";
/// Reason of a partition with a pod that should have ended.
const TERMINATING: &str = "PodTerminating";

/// How long a pod may be missing before people are told. A StatefulSet controller under load needs a while.
const MISSING_FOR: Duration = Duration::from_secs(15);
/// How much longer than its grace period a pod may take to end.
const LATE: Duration = Duration::from_secs(15);
/// How long a pod may wait for what comes by itself as a rule: a node that scales up, a volume that is bound.
const PASSING: Duration = Duration::from_secs(10);

/// One obstacle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Obstacle {
    /// One word in CamelCase.
    pub reason: &'static str,
    /// Name of the pod; none if it is pods that there are not.
    pub pod: Option<String>,
    /// For people: what follows the name of the pod, or why there are no more.
    pub message: String,
    /// How long it has to last before it is worth telling.
    pub patience: Duration,
}

impl Obstacle {
    /// Whether pods are missing.
    pub(super) fn is_missing(&self) -> bool {
        self.reason == PODS_MISSING
    }

    /// Whether it is the same one as before, and not another pod's.
    pub(super) fn subject(&self) -> (&'static str, Option<&str>) {
        (self.reason, self.pod.as_deref())
    }
}

/// The first of what is in the way of the pods of the partition called `name`.
pub(super) fn first(nodes: &Nodes, name: &str) -> Option<Obstacle> {
    if nodes.is_complete() {
        return None;
    }
    failing(nodes).or_else(|| terminating(nodes)).or_else(|| missing(nodes, name))
}

/// A pod that was made from the current template tells more than one that is about to be replaced.
fn failing(nodes: &Nodes) -> Option<Obstacle> {
    let failing = nodes.wanted().filter(|pod| !pod.going);
    let failing = failing.filter_map(|pod| Some((pod, pod.facts.trouble.as_ref()?)));
    let (pod, trouble) = failing.min_by_key(|(pod, _)| (nodes.is_outdated(pod), pod.ordinal))?;
    let patience = if trouble.passes { PASSING } else { Duration::ZERO };
    Some(Obstacle { reason: trouble.reason, pod: Some(pod.name.clone()), message: trouble.message.clone(), patience })
}

fn terminating(nodes: &Nodes) -> Option<Obstacle> {
    let ending = |pod: &Node| Some((pod.name.clone(), pod.facts.ending.clone()?));
    let (pod, ending) = nodes.pods.iter().find_map(ending)?;
    let node = if ending.node.is_empty() { String::new() } else { format!(" on node {}", ending.node) };
    let until = ending.until.map(|until| format!(", though its grace period was over at {until}")).unwrap_or_default();
    let kept = match ending.finalizers.as_slice() {
        [] => String::new(),
        finalizers => format!("; it is kept by finalizers: {}", finalizers.join(", ")),
    };
    Some(Obstacle {
        reason: TERMINATING,
        pod: Some(pod),
        message: format!("has not ended{node}{until}{kept}"),
        patience: ending.grace + LATE,
    })
}

fn missing(nodes: &Nodes, name: &str) -> Option<Obstacle> {
    (nodes.rollout.observed && nodes.missing().is_some()).then(|| Obstacle {
        reason: PODS_MISSING,
        pod: None,
        message: format!("see `kubectl describe statefulset {name}` for why no more are made"),
        patience: MISSING_FOR,
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use k8s_openapi::jiff::Timestamp;

    use super::super::super::pods::{Ending, PodTrouble};
    use super::super::nodes::fixtures::nodes;
    use super::*;

    #[test]
    fn a_pod_of_the_current_template_comes_before_an_outdated_one_and_both_before_those_that_are_missing() {
        let mut nodes = nodes(&["old failing", "", "failing"]);
        let pod = |nodes: &Nodes| first(nodes, "g-1").and_then(|obstacle| obstacle.pod);
        assert_eq!(pod(&nodes).as_deref(), Some("g-1-2"));
        nodes.pods.pop();
        assert_eq!(pod(&nodes).as_deref(), Some("g-1-0"));
        nodes.pods.clear();
        assert!(first(&nodes, "g-1").is_some_and(|obstacle| obstacle.is_missing()));
    }

    #[test]
    fn what_comes_by_itself_as_a_rule_has_to_last() {
        let mut nodes = nodes(&["failing", "ready"]);
        assert_eq!(first(&nodes, "g-1").unwrap().patience, Duration::ZERO);
        let trouble = PodTrouble { reason: "PodUnschedulable", message: "m".to_owned(), passes: true };
        Arc::make_mut(&mut nodes.pods[0].facts).trouble = Some(trouble);
        assert_eq!(first(&nodes, "g-1").unwrap().patience, PASSING);
    }

    #[test]
    fn a_pod_that_does_not_end_is_named_with_its_node_and_since_when() {
        let mut nodes = nodes(&["ready", "going"]);
        let until = Some(Timestamp::from_second(60).unwrap());
        let ending = Ending { node: "n1".to_owned(), until, grace: Duration::from_secs(30), finalizers: Vec::new() };
        Arc::make_mut(&mut nodes.pods[1].facts).ending = Some(Box::new(ending.clone()));
        let obstacle = first(&nodes, "g-1").unwrap();
        assert_eq!(obstacle.subject(), (TERMINATING, Some("g-1-1")));
        assert_eq!(
            obstacle.message,
            "has not ended on node n1, though its grace period was over at 1970-01-01T00:01:00Z"
        );
        assert_eq!(obstacle.patience, Duration::from_secs(45));
        let kept = Ending { finalizers: vec!["example.org/hold".to_owned()], ..ending };
        Arc::make_mut(&mut nodes.pods[1].facts).ending = Some(Box::new(kept));
        let message = first(&nodes, "g-1").unwrap().message;
        assert!(message.ends_with("; it is kept by finalizers: example.org/hold"), "{message}");
    }
}
