//! The record of an election, and how it becomes the next one.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt;

use crate::api::ElectionStatus;
use crate::replicas::ReplicaId;

/// Identifies a candidacy among those of all replicas.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct StreamId {
    /// The replica that has the stream.
    pub(super) replica: ReplicaId,
    /// Number of the candidacy in that replica.
    pub(super) number: u64,
}

impl StreamId {
    /// Reads what [`Display`](fmt::Display) writes.
    fn parse(text: &str) -> Option<Self> {
        let (replica, number) = text.split_once('/')?;
        Some(Self { replica: ReplicaId::parse(replica)?, number: number.parse().ok()? })
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.replica, self.number)
    }
}

/// The pods of a partition: `<partition>-0`, `<partition>-1`, ...
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Members {
    pub(super) partition: String,
    pub(super) size: i64,
}

impl Members {
    /// Whether `member` is the name of one of them.
    pub(super) fn include(&self, member: &str) -> bool {
        let ordinal = member.strip_prefix(self.partition.as_str()).and_then(|rest| rest.strip_prefix('-'));
        let canonical = ordinal.filter(|digits| *digits == "0" || !digits.starts_with(['0', '+']));
        canonical.and_then(|digits| digits.parse().ok()).is_some_and(|ordinal: i64| (0..self.size).contains(&ordinal))
    }
}

/// Their names, for messages.
impl fmt::Display for Members {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<String> = (0..self.size).map(|ordinal| format!("{}-{ordinal}", self.partition)).collect();
        f.write_str(&names.join(", "))
    }
}

/// The stream of `member` in a record, if it is a candidate there.
pub(super) fn stream_of(record: &ElectionStatus, member: &str) -> Option<StreamId> {
    let id = StreamId::parse(record.streams.get(member)?)?;
    record.candidates.iter().any(|candidate| candidate == member).then_some(id)
}

/// All streams that a record names.
pub(super) fn streams(record: &ElectionStatus) -> impl Iterator<Item = StreamId> {
    record.streams.values().filter_map(|text| StreamId::parse(text))
}

/// A change of a record.
#[derive(Clone, Debug)]
pub(super) struct Change<'a> {
    /// The replica that changes it.
    pub(super) replica: ReplicaId,
    /// Its own candidacies, with the members' names, in the order in which they entered.
    pub(super) own: &'a [(&'a str, StreamId)],
    /// Whether those of them that are not in the record may enter it.
    pub(super) may_enter: bool,
    /// Candidacies of dead replicas.
    pub(super) dead: &'a BTreeSet<StreamId>,
    /// The pods that can be candidates.
    pub(super) members: &'a Members,
}

/// The record that follows `before`.
///
/// Candidates stay in the order in which they entered, but for those that are no members any more, whose stream has ended,
/// or whose stream the record does not name (it was edited). Own candidacies that are not in it yet come last, each in the
/// place of an older candidacy of the same member. The term grows whenever another candidacy comes first.
pub(super) fn next(before: &ElectionStatus, change: &Change<'_>) -> ElectionStatus {
    let entering: Vec<(&str, StreamId)> = change
        .own
        .iter()
        .copied()
        .filter(|(member, id)| {
            change.may_enter && change.members.include(member) && stream_of(before, member) != Some(*id)
        })
        .collect();
    let mut seen = HashSet::new();
    let stays = |member: &&String| {
        let Some(id) = stream_of(before, member) else { return false };
        let lives = if id.replica == change.replica {
            change.own.iter().any(|(_, own)| *own == id)
        } else {
            !change.dead.contains(&id)
        };
        lives && change.members.include(member) && entering.iter().all(|(entering, _)| *entering != member.as_str())
    };
    let mut candidates: Vec<String> =
        before.candidates.iter().filter(stays).filter(|member| seen.insert(member.as_str())).cloned().collect();
    let mut streams: BTreeMap<String, String> =
        candidates.iter().filter_map(|member| Some((member.clone(), before.streams.get(member)?.clone()))).collect();
    for (member, id) in entering {
        candidates.push(member.to_owned());
        streams.insert(member.to_owned(), id.to_string());
    }
    let primary = candidates.first().cloned().unwrap_or_default();
    let is_same = primary == before.primary && streams.get(&primary) == before.streams.get(&primary);
    let term = if primary.is_empty() || is_same { before.term } else { before.term.saturating_add(1) };
    ElectionStatus { term, primary, candidates, streams }
}

/// Whether the record of a partition of which `replica` has no streams needs a change: it has a candidacy of `replica`, for
/// instance one whose write was not answered, or was edited.
pub(super) fn has_orphans(record: &ElectionStatus, replica: ReplicaId, members: &Members) -> bool {
    next(record, &Change { replica, own: &[], may_enter: false, dead: &BTreeSet::new(), members }) != *record
}

#[cfg(test)]
#[path = "record_tests.rs"]
mod tests;
