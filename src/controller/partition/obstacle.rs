//! What keeps a partition from having all its pods, ready, as far as it is reported.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;

use super::nodes::Nodes;
use crate::store::pods::Ending;
use crate::text::listed;

/// Pods that a message names before it says how many more there are.
const NAMED: usize = 3;

/// Reason of a partition that lacks pods which its StatefulSet does not make.
const PODS_MISSING: &str = "PodsMissing";
/// Reason of a partition with a pod that should have ended.
const TERMINATING: &str = "PodTerminating";

/// How long a pod may be missing before it is reported. A StatefulSet controller under load needs a while.
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
    /// Name of the first of the pods; none if it is pods that there are not.
    pub pod: Option<String>,
    /// For people: which pods are in trouble and why, or why there are no more.
    pub message: String,
    /// How long it has to last before it is reported.
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

/// The first of what is in the way of the pods of the partition called `name`, as of `now`.
pub(super) fn first(nodes: &Nodes, name: &str, now: Timestamp) -> Option<Obstacle> {
    if nodes.is_complete() {
        return None;
    }
    failing(nodes).or_else(|| terminating(nodes, now)).or_else(|| missing(nodes, name))
}

/// A pod that was made from the current template says more than one that is about to be replaced. The message names
/// all others as well that fail for the same reason, or that do not come up by themselves.
fn failing(nodes: &Nodes) -> Option<Obstacle> {
    let failing = nodes.wanted().filter(|pod| !pod.going);
    let failing: Vec<_> = failing.filter_map(|pod| Some((pod, pod.facts.trouble.as_ref()?))).collect();
    let (pod, trouble) = *failing.iter().min_by_key(|(pod, _)| (nodes.is_outdated(pod), pod.ordinal))?;
    let patience = if trouble.passes { PASSING } else { Duration::ZERO };
    let alike = failing.iter().filter(|(other, why)| {
        nodes.is_outdated(other) == nodes.is_outdated(pod) && (why.reason == trouble.reason || !why.passes)
    });
    let message = together(alike.map(|(pod, trouble)| (pod.name.as_str(), trouble.message.clone())));
    Some(Obstacle { reason: trouble.reason, pod: Some(pod.name.clone()), message, patience })
}

/// All pods that should have ended by `now`, the first of them first; of those that may still take their time, the first.
fn terminating(nodes: &Nodes, now: Timestamp) -> Option<Obstacle> {
    let ending = nodes.pods.iter().filter_map(|pod| Some((pod.name.as_str(), pod.facts.ending.as_deref()?)));
    let (first, Ending { grace, .. }) = ending.clone().next()?;
    let is_late = |ending: &Ending| ending.until.is_some_and(|until| until < now);
    let late = ending.filter(|(pod, ending)| *pod == first || is_late(ending));
    let message = together(late.map(|(pod, ending)| (pod, not_ended(ending))));
    Some(Obstacle { reason: TERMINATING, pod: Some(first.to_owned()), message, patience: *grace + LATE })
}

fn not_ended(ending: &Ending) -> String {
    let node = if ending.node.is_empty() { String::new() } else { format!(" on node {}", ending.node) };
    let until = ending.until.map(|until| format!(", though its grace period was over at {until}")).unwrap_or_default();
    let kept = match ending.finalizers.as_slice() {
        [] => String::new(),
        finalizers => format!("; it is kept by finalizers: {}", finalizers.join(", ")),
    };
    format!("has not ended{node}{until}{kept}")
}

/// What is wrong with pods, as `pod NAME WHAT`, those of which the same is said together.
fn together<'a>(pods: impl Iterator<Item = (&'a str, String)>) -> String {
    let mut parts: Vec<(String, Vec<String>)> = Vec::new();
    let mut more = 0;
    for (pod, what) in pods {
        let known = parts.len();
        if let Some((_, alike)) = parts.iter_mut().find(|(message, _)| *message == what) {
            alike.push(pod.to_owned());
        } else if known < NAMED {
            parts.push((what, vec![pod.to_owned()]));
        } else {
            more += 1;
        }
    }
    let mut parts: Vec<String> = parts
        .into_iter()
        .map(|(what, mut pods)| {
            let others = pods.split_off(1);
            let others =
                if others.is_empty() { String::new() } else { format!(" (likewise {})", listed(others, NAMED)) };
            format!("pod {} {what}{others}", pods.join(""))
        })
        .collect();
    if more > 0 {
        parts.push(format!("{more} more pods are not ready"));
    }
    parts.join("; ")
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

    use super::super::nodes::fixtures::nodes;
    use super::*;
    use crate::store::pods::PodTrouble;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// The first obstacle long after everything.
    fn first(nodes: &Nodes) -> Option<Obstacle> {
        super::first(nodes, "g-1", at(1_000_000))
    }

    #[test]
    fn a_pod_of_the_current_template_comes_before_an_outdated_one_and_both_before_those_that_are_missing() {
        let mut nodes = nodes(&["old failing", "", "failing"]);
        let pod = |nodes: &Nodes| first(nodes).and_then(|obstacle| obstacle.pod);
        assert_eq!(pod(&nodes).as_deref(), Some("g-1-2"));
        nodes.pods.pop();
        assert_eq!(pod(&nodes).as_deref(), Some("g-1-0"));
        nodes.pods.clear();
        assert!(first(&nodes).is_some_and(|obstacle| obstacle.is_missing()));
    }

    #[test]
    fn what_comes_by_itself_as_a_rule_has_to_last() {
        let mut nodes = nodes(&["failing", "ready"]);
        assert_eq!(first(&nodes).unwrap().patience, Duration::ZERO);
        let trouble = PodTrouble { reason: "PodUnschedulable", message: "m".to_owned(), passes: true };
        Arc::make_mut(&mut nodes.pods[0].facts).trouble = Some(trouble);
        assert_eq!(first(&nodes).unwrap().patience, PASSING);
    }

    #[test]
    fn all_pods_are_named_that_fail_alike_and_those_that_do_not_come_up_by_themselves() {
        let mut nodes = nodes(&["failing", "failing", "failing", "failing", "failing", "ready"]);
        let mut trouble = |ordinal: usize, reason: &'static str, message: &str, passes: bool| {
            let trouble = PodTrouble { reason, message: message.to_owned(), passes };
            Arc::make_mut(&mut nodes.pods[ordinal].facts).trouble = Some(trouble);
            first(&nodes).unwrap()
        };
        let away = |node: &str| format!("is not ready because its node {node} is not");
        trouble(0, "NodeNotReady", &away("n1"), false);
        trouble(1, "PodUnschedulable", "cannot be scheduled", true);
        trouble(2, "NodeNotReady", &away("n3"), false);
        let obstacle = trouble(3, "NodeNotReady", &away("n1"), false);
        assert_eq!((obstacle.subject(), obstacle.patience), (("NodeNotReady", Some("g-1-0")), Duration::ZERO));
        let message = "pod g-1-0 is not ready because its node n1 is not (likewise g-1-3); \
                       pod g-1-2 is not ready because its node n3 is not; pod g-1-4 crashes";
        assert_eq!(obstacle.message, message);
        let obstacle = trouble(5, "PodFailed", "has failed", false);
        assert_eq!(obstacle.message, format!("{message}; 1 more pods are not ready"));
    }

    #[test]
    fn a_pod_that_does_not_end_is_named_with_its_node_and_since_when() {
        let mut nodes = nodes(&["ready", "going"]);
        let until = Some(at(60));
        let ending = Ending { node: "n1".to_owned(), until, grace: Duration::from_secs(30), finalizers: Vec::new() };
        Arc::make_mut(&mut nodes.pods[1].facts).ending = Some(Box::new(ending.clone()));
        let obstacle = first(&nodes).unwrap();
        assert_eq!(obstacle.subject(), (TERMINATING, Some("g-1-1")));
        assert_eq!(
            obstacle.message,
            "pod g-1-1 has not ended on node n1, though its grace period was over at 1970-01-01T00:01:00Z"
        );
        assert_eq!(obstacle.patience, Duration::from_secs(45));
        let kept = Ending { finalizers: vec!["example.org/hold".to_owned()], ..ending.clone() };
        Arc::make_mut(&mut nodes.pods[1].facts).ending = Some(Box::new(kept));
        let message = first(&nodes).unwrap().message;
        assert!(message.ends_with("; it is kept by finalizers: example.org/hold"), "{message}");

        // Another that should have ended as well, and one that may still take its time.
        let mut nodes = nodes_going();
        for (ordinal, until) in [(0, 60), (1, 70), (2, 90)] {
            let ending = Ending { until: Some(at(until)), ..ending.clone() };
            Arc::make_mut(&mut nodes.pods[ordinal].facts).ending = Some(Box::new(ending));
        }
        let message = super::first(&nodes, "g-1", at(80)).unwrap().message;
        assert!(
            message.contains("pod g-1-0 ") && message.contains("pod g-1-1 ") && !message.contains("g-1-2"),
            "{message}"
        );
    }

    fn nodes_going() -> Nodes {
        nodes(&["going", "going", "going"])
    }
}
