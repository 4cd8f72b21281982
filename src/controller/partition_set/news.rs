//! What people are told when the status of a set changes.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::PAUSED;
use super::status::{COUNTED_CURRENT, COUNTED_READY, ROLLING_OUT, WAITING};
use crate::api::PartitionSetStatus;
use crate::api::conditions::{self, READY, STALLED};
use crate::events::Severity;

/// What is worth an event in the change from one status to the next, as severity, reason and note: that a set is paused
/// or goes on, becomes ready or ceases to be, gets a changed template, or is stuck.
pub(super) fn news<'a>(
    before: &PartitionSetStatus,
    after: &'a PartitionSetStatus,
) -> Vec<(Severity, &'a str, &'a str)> {
    let mut news = Vec::new();
    let was = conditions::find(&before.conditions, READY);
    if let Some(ready) = conditions::find(&after.conditions, READY) {
        let (was_ready, is_ready) = (was.is_some_and(|was| was.status == "True"), ready.status == "True");
        let was_for = |reason: &str| was.is_some_and(|was| was.reason == reason);
        let mut tell = |severity, reason| news.push((severity, reason, ready.message.as_str()));
        if was_for(PAUSED) && ready.reason != PAUSED {
            tell(Severity::Normal, "Resumed");
        }
        match (was_ready, is_ready) {
            (_, false) if ready.reason == PAUSED && was_for(PAUSED) => {}
            (_, false) if ready.reason == PAUSED => tell(Severity::Normal, PAUSED),
            (_, false) if ready.reason == ROLLING_OUT && was_for(ROLLING_OUT) => {}
            (_, false) if ready.reason == ROLLING_OUT => tell(Severity::Normal, ROLLING_OUT),
            (true, false) => tell(Severity::Warning, "NotReady"),
            (false, true) if was_for(ROLLING_OUT) => tell(Severity::Normal, "RolledOut"),
            (false, true) => tell(Severity::Normal, "Ready"),
            _ => {}
        }
    }
    if let Some(stalled) = conditions::find(&after.conditions, STALLED)
        && conditions::find(&before.conditions, STALLED).is_none_or(|was| obstacle(was) != obstacle(stalled))
    {
        news.push((Severity::Warning, &stalled.reason, &stalled.message));
    }
    news
}

/// What stands in the way, whatever number of partitions is ready or up to date meanwhile, and whichever is waited for.
fn obstacle(stalled: &Condition) -> (&str, &str) {
    let mut obstacle = stalled.message.as_str();
    for counted in [COUNTED_READY, COUNTED_CURRENT] {
        let rest = obstacle.split_once("; ").filter(|(count, _)| count.ends_with(counted));
        obstacle = rest.map_or(obstacle, |(_, rest)| rest);
    }
    let obstacle = obstacle.split_once(&format!("; {WAITING}")).map_or(obstacle, |(obstacle, _)| obstacle);
    (&stalled.reason, obstacle)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A status of conditions that are each given as type, status, reason and message.
    fn status(conditions: &[[&str; 4]]) -> PartitionSetStatus {
        let conditions = conditions.iter().map(|[kind, status, reason, message]| {
            serde_json::from_value(json!({"type": kind, "status": status, "reason": reason, "message": message,
                "lastTransitionTime": "2020-01-01T00:00:00Z"}))
            .unwrap()
        });
        PartitionSetStatus { conditions: conditions.collect(), ..PartitionSetStatus::default() }
    }

    fn told(before: [&str; 4], after: [&str; 4]) -> Vec<(Severity, String)> {
        let (before, after) = (status(&[before]), status(&[after]));
        news(&before, &after).into_iter().map(|(severity, reason, _)| (severity, reason.to_owned())).collect()
    }

    const IS_READY: [&str; 4] = [READY, "True", "AllPartitionsReady", "2 of 2"];
    const IS_NOT: [&str; 4] = [READY, "False", "PartitionsNotReady", "1 of 2"];
    const IS_PAUSED: [&str; 4] = [READY, "False", PAUSED, "the annotation is set"];
    const ROLLS: [&str; 4] = [READY, "False", ROLLING_OUT, "0 of 2"];

    #[test]
    fn what_becomes_of_a_set_is_told_once() {
        let normal = |reason: &str| (Severity::Normal, reason.to_owned());
        assert_eq!(told(IS_NOT, IS_READY), [normal("Ready")]);
        assert_eq!(told(IS_READY, IS_NOT), [(Severity::Warning, "NotReady".to_owned())]);
        assert_eq!(told(IS_READY, ROLLS), [normal("RollingOut")]);
        assert_eq!(told(ROLLS, IS_READY), [normal("RolledOut")]);
        for same in [IS_READY, IS_NOT, ROLLS, IS_PAUSED] {
            assert_eq!(told(same, same), []);
        }
    }

    #[test]
    fn that_a_set_is_paused_is_no_warning_and_that_it_goes_on_is_told() {
        let normal = |reason: &str| (Severity::Normal, reason.to_owned());
        for before in [IS_READY, IS_NOT, ROLLS] {
            assert_eq!(told(before, IS_PAUSED), [normal("Paused")]);
        }
        assert_eq!(told(IS_PAUSED, IS_READY), [normal("Resumed"), normal("Ready")]);
        assert_eq!(told(IS_PAUSED, IS_NOT), [normal("Resumed")]);
        assert_eq!(told(IS_PAUSED, ROLLS), [normal("Resumed"), normal("RollingOut")]);
    }

    #[test]
    fn a_stuck_set_is_told_again_when_something_else_is_in_the_way_and_not_when_more_is_ready() {
        let stuck = |message| status(&[[STALLED, "True", "PartitionStalled", message]]);
        let before = stuck("0 of 3 partitions are ready; g-1: Service is in the way");
        assert_eq!(news(&before, &stuck("1 of 3 partitions are ready; g-1: Service is in the way")), []);
        let current = stuck("3 of 3 partitions are ready; 2 of 3 are up to date; g-1: Service is in the way");
        assert_eq!(news(&before, &current), []);
        let waits = stuck("2 of 3 partitions are ready; g-1: Service is in the way; waiting for g-2; g-2: m");
        assert_eq!(news(&before, &waits), []);
        let other = stuck("1 of 3 partitions are ready; g-2: Service is in the way");
        let note = "1 of 3 partitions are ready; g-2: Service is in the way";
        assert_eq!(news(&before, &other), [(Severity::Warning, "PartitionStalled", note)]);
    }
}
