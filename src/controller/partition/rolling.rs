//! Which pod is replaced next, if any, so that a partition gets a new template without losing its quorum or, where it
//! is down, gets a fix.
//!
//! Nodes keep state in memory. A pod that is ready is given up only when all pods are, and have been for as long as
//! the protocol needs to bring a newcomer up to date. A pod that is down has nothing to lose, and goes first: what is
//! wrong with it may be what the new template puts right. Not so while a pod of the new template fails and others still
//! work: the new template is what is wrong then, and a pod that is down for a moment would not come back.

use std::time::Duration;

use super::nodes::{Node, Nodes};
use crate::controller::trouble::Trouble;

/// What to do next.
#[derive(Debug)]
pub(super) enum Step<'a> {
    /// Replace this pod.
    Evict(&'a Node),
    /// Replace none now.
    Stay(Rolling),
}

/// How far the replacement of outdated pods is. By default none is outdated, or none is known to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Rolling {
    /// What it is waiting for, if it goes on.
    pub wait: Option<Wait>,
    /// When to look again, if no event comes before.
    pub again: Option<Duration>,
    /// What went wrong.
    pub trouble: Option<Trouble>,
}

/// What a rolling waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wait {
    /// Whether for a pod that is down or has not been ready for long enough, or for the disruption budget, as opposed to
    /// one that is just being replaced.
    pub quorum: bool,
    /// For people.
    pub message: String,
}

impl Rolling {
    pub(super) fn waiting(quorum: bool, message: String, again: Option<Duration>) -> Self {
        Self { wait: Some(Wait { quorum, message }), again, trouble: None }
    }

    pub(super) fn hindered(trouble: Trouble) -> Self {
        Self { trouble: Some(trouble), ..Self::default() }
    }
}

/// The next step for the pods of a partition.
pub(super) fn next(nodes: &Nodes) -> Step<'_> {
    let outdated = nodes.outdated();
    if outdated == 0 {
        return Step::Stay(Rolling::default());
    }
    let wait = |quorum, what: String, after| {
        let message = format!("{outdated} of {} pods are outdated; waiting for pod {what}", nodes.size);
        Step::Stay(Rolling::waiting(quorum, message, after))
    };
    if let Some(pod) = nodes.stays_outdated() {
        let message = format!(
            "pod {} was replaced and is outdated again, although its StatefulSet has not changed: another program changes the ControllerRevisions. No more pods are replaced",
            pod.name
        );
        return Step::Stay(Rolling::hindered(Trouble::new(true, "PodsStayOutdated", message)));
    }
    // One that the partition will not have counts as well: two that go at the same time may be all that know something.
    if let Some(going) = nodes.pods.iter().find(|pod| pod.going || pod.ordinal >= nodes.size) {
        let node = going.facts.ending.as_ref().map(|ending| ending.node.as_str()).unwrap_or_default();
        let node = if node.is_empty() { String::new() } else { format!(" on node {node}") };
        return wait(false, format!("{} to end{node}", going.name), None);
    }
    if let Some(ordinal) = nodes.missing() {
        return wait(false, format!("{ordinal} to be created"), None);
    }
    let down = || nodes.wanted().filter(|pod| !pod.is_ready());
    let failing = down().find(|pod| !nodes.is_outdated(pod) && pod.facts.trouble.is_some());
    if let Some(failing) = failing.filter(|_| nodes.wanted().any(Node::is_ready)) {
        return wait(true, format!("{} to be ready", failing.name), None);
    }
    // The primary goes last: its successor is then a pod that stays.
    let follows = |pod: &Node| pod.name != nodes.primary;
    let outdated_and_down = down().filter(|pod| nodes.is_outdated(pod));
    if let Some(pod) = outdated_and_down.max_by_key(|pod| (!pod.facts.running, follows(pod), pod.ordinal)) {
        return Step::Evict(pod);
    }
    if let Some(pod) = down().next() {
        return wait(true, format!("{} to be ready", pod.name), None);
    }
    if let Some((pod, missing)) = last_available(nodes) {
        let seconds = nodes.min_ready.as_secs();
        return wait(true, format!("{} to have been ready for {seconds} seconds", pod.name), Some(missing));
    }
    let next = nodes.wanted().filter(|pod| nodes.is_outdated(pod)).max_by_key(|pod| (follows(pod), pod.ordinal));
    next.map_or(Step::Stay(Rolling::default()), Step::Evict)
}

/// The pod that has to be ready for the longest time before it counts, and that time, if there is one.
pub(super) fn last_available(nodes: &Nodes) -> Option<(&Node, Duration)> {
    nodes.wanted().filter_map(|pod| Some((pod, pod.available_in?))).max_by_key(|(_, left)| *left)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::nodes::fixtures::nodes;
    use super::*;
    use crate::store::pods::Ending;

    fn step(pods: &[&str]) -> String {
        step_of(&nodes(pods))
    }

    fn step_of(nodes: &Nodes) -> String {
        match next(nodes) {
            Step::Evict(pod) => format!("evict {}", pod.name),
            Step::Stay(Rolling { wait: Some(Wait { quorum, message }), again, .. }) => {
                let message = message.split_once("waiting for pod ").unwrap().1.to_owned();
                let again = again.map(|again| format!(" in {} s", again.as_secs())).unwrap_or_default();
                format!("{}{message}{again}", if quorum { "quorum: " } else { "" })
            }
            Step::Stay(Rolling { trouble, .. }) => trouble.map_or("done".to_owned(), |trouble| trouble.message),
        }
    }

    #[test]
    fn nothing_is_replaced_that_is_up_to_date() {
        assert_eq!(step(&["ready", "ready", "ready"]), "done");
        assert_eq!(step(&["ready", "", "waiting"]), "done");
    }

    #[test]
    fn a_pod_that_is_outdated_again_after_it_was_replaced_stops_the_roll() {
        let mut nodes = nodes(&["old ready", "old ready", "old ready"]);
        nodes.replaced.insert(2, "uid-2".to_owned());
        assert_eq!(step_of(&nodes), "evict g-1-2", "it is the one that was evicted, and still there");
        nodes.replaced.insert(2, "uid-before".to_owned());
        assert!(step_of(&nodes).starts_with("pod g-1-2 was replaced"));
    }

    #[test]
    fn before_the_stateful_set_is_observed_no_pod_is_known_to_be_outdated() {
        let mut nodes = nodes(&["old ready"]);
        nodes.rollout.observed = false;
        assert_eq!(step_of(&nodes), "done");
    }

    #[test]
    fn ready_pods_go_one_by_one_from_the_highest() {
        for (pods, wanted) in [
            (["old ready", "old ready", "old ready"], "evict g-1-2"),
            (["old ready", "old ready", "old ready going"], "g-1-2 to end"),
            (["old ready", "old ready", ""], "2 to be created"),
            (["old ready", "old ready", "waiting"], "quorum: g-1-2 to be ready"),
            (["old ready", "old ready", "ready-7"], "quorum: g-1-2 to have been ready for 10 seconds in 7 s"),
            (["old ready", "old ready", "ready"], "evict g-1-1"),
            (["old ready", "ready", "old ready"], "evict g-1-2"),
            (["old ready", "ready", "ready"], "evict g-1-0"),
        ] {
            assert_eq!(step(&pods), wanted, "{pods:?}");
        }
    }

    #[test]
    fn a_pod_that_does_not_end_is_reported_with_its_node() {
        let mut nodes = nodes(&["old ready", "old ready", "old ready going"]);
        let ending = Ending { node: "n1".to_owned(), ..Ending::default() };
        Arc::make_mut(&mut nodes.pods[2].facts).ending = Some(Box::new(ending));
        assert_eq!(step_of(&nodes), "g-1-2 to end on node n1");
    }

    #[test]
    fn pods_that_are_down_go_first_one_at_a_time_and_hold_up_the_ready_ones() {
        for (pods, wanted) in [
            (["old", "old ready", "old ready"], "evict g-1-0"),
            (["old", "old ready", "old ready-9"], "evict g-1-0"),
            (["old going", "old ready", "old"], "g-1-0 to end"),
            (["", "old ready", "old"], "0 to be created"),
            (["", "old ready", "old ready"], "0 to be created"),
            (["running", "old ready", "old ready"], "quorum: g-1-0 to be ready"),
            // A fix has to reach a partition of which no pod is up.
            (["old waiting", "old waiting", "waiting"], "evict g-1-1"),
            (["old waiting", "old", "old"], "evict g-1-0"),
            (["old", "old", "ready"], "evict g-1-1"),
        ] {
            assert_eq!(step(&pods), wanted, "{pods:?}");
        }
    }

    #[test]
    fn the_primary_goes_last_of_those_that_are_as_ready_as_it_is() {
        let step = |primary: &str, pods: &[&str]| {
            let mut nodes = nodes(pods);
            nodes.primary = primary.to_owned();
            step_of(&nodes).replace("evict ", "")
        };
        assert_eq!(step("g-1-2", &["old ready", "old ready", "old ready"]), "g-1-1");
        assert_eq!(step("g-1-2", &["old ready", "ready", "old ready"]), "g-1-0");
        assert_eq!(step("g-1-2", &["ready", "ready", "old ready"]), "g-1-2");
        assert_eq!(step("g-1-2", &["old", "old ready", "old"]), "g-1-0");
        assert_eq!(step("g-1-2", &["old ready", "old ready", "old"]), "g-1-2");
    }

    #[test]
    fn a_template_that_fails_reaches_no_other_pod_while_some_still_work() {
        for (pods, wanted) in [
            (["old ready", "old", "failing"], "quorum: g-1-2 to be ready"),
            (["old ready", "old waiting", "waiting"], "evict g-1-1"),
            (["old", "old", "failing"], "evict g-1-1"),
            // It is the old template that fails: the new one is the fix.
            (["old ready", "old failing", "ready"], "evict g-1-1"),
        ] {
            assert_eq!(step(&pods), wanted, "{pods:?}");
        }
    }

    #[test]
    fn no_pod_is_given_up_before_those_are_gone_that_a_smaller_partition_will_not_have() {
        for surplus in ["old going", "old ready"] {
            let mut nodes = nodes(&["old ready", "ready", surplus]);
            nodes.size = 2;
            assert_eq!(step_of(&nodes), "g-1-2 to end", "{surplus}");
        }
    }
}
