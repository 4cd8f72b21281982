//! Conditions by the API conventions: at most one of a type, with the time at which its status last changed.
//!
//! A new type of condition is a constant here, its draft in `status.rs` of its controller, and its reasons in
//! `docs/troubleshooting.md`. `Ready`, `Reconciling` and `Stalled` are what kstatus tools read.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use crate::text::shortened;

/// Most bytes of a message. The API server accepts 32 KiB, and the status has to fit into etcd beside the spec.
const MESSAGE_BYTES: usize = 8 * 1024;

/// The object is as its spec requires, and works.
pub const READY: &str = "Ready";
/// The object is being brought to its spec. Present only while that is true, as kstatus tools expect.
pub const RECONCILING: &str = "Reconciling";
/// The object cannot be brought to its spec without help. Present only while that is true.
pub const STALLED: &str = "Stalled";

/// Reason of [`READY`] while the annotation says that nothing may be written for a set.
pub const PAUSED: &str = "Paused";

/// A condition before it is known when it became so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// One of [`READY`], [`RECONCILING`], [`STALLED`].
    pub kind: &'static str,
    /// Whether it is true.
    pub status: bool,
    /// One word in CamelCase.
    pub reason: &'static str,
    /// A sentence for people.
    pub message: String,
}

impl Draft {
    /// Of an object that is as its spec requires.
    #[must_use]
    pub fn ready(reason: &'static str, message: String) -> Vec<Self> {
        vec![Self { kind: READY, status: true, reason, message }]
    }

    /// Of an object that is not, for the first reason, and is [`RECONCILING`] or [`STALLED`] for the second.
    #[must_use]
    pub fn not_ready(ready: &'static str, kind: &'static str, reason: &'static str, message: String) -> Vec<Self> {
        vec![
            Self { kind: READY, status: false, reason: ready, message: message.clone() },
            Self { kind, status: true, reason, message },
        ]
    }
}

/// The conditions of an object of `generation`: those of `drafts` and no others, with the transition times of `before`
/// where the status did not change.
#[must_use]
pub fn settle(before: &[Condition], drafts: Vec<Draft>, generation: Option<i64>, now: &Time) -> Vec<Condition> {
    drafts
        .into_iter()
        .map(|draft| {
            let status = if draft.status { "True" } else { "False" };
            let same = before.iter().find(|old| old.type_ == draft.kind && old.status == status);
            Condition {
                last_transition_time: same.map_or_else(|| now.clone(), |old| old.last_transition_time.clone()),
                message: shortened(draft.message, MESSAGE_BYTES),
                observed_generation: generation,
                reason: draft.reason.to_owned(),
                status: status.to_owned(),
                type_: draft.kind.to_owned(),
            }
        })
        .collect()
}

/// Whether two lists of conditions differ in nothing but their messages, which report progress.
#[must_use]
pub fn same_outline(left: &[Condition], right: &[Condition]) -> bool {
    let outline = |condition: &Condition| (condition.type_.clone(), condition.status.clone(), condition.reason.clone());
    left.iter().map(outline).eq(right.iter().map(outline))
}

/// The condition of a type, if there is one.
#[must_use]
pub fn find<'a>(conditions: &'a [Condition], kind: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.type_ == kind)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::jiff::Timestamp;

    use super::*;

    #[test]
    fn the_transition_time_moves_only_with_the_status() {
        let at = |seconds| Time(Timestamp::from_second(seconds).unwrap());
        let ready = |status, message: &str| Draft { kind: READY, status, reason: "R", message: message.to_owned() };
        let first = settle(&[], vec![ready(false, "a")], Some(1), &at(1));
        let second = settle(&first, vec![ready(false, "b")], Some(2), &at(2));
        assert_eq!((second[0].last_transition_time.clone(), second[0].message.as_str()), (at(1), "b"));
        let third = settle(&second, vec![ready(true, "c")], Some(2), &at(3));
        assert_eq!(third[0].last_transition_time, at(3));
    }
}
