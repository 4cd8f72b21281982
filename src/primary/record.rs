//! The record of an election, and how it becomes the next one.

use std::collections::{BTreeSet, HashSet};
use std::fmt;

use crate::api::ElectionStatus;
use crate::replicas::ReplicaId;

/// Tells a stream by which a member stands for election from every other, of this replica and of all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId {
    /// The replica that has the stream.
    pub replica: ReplicaId,
    /// Number of the candidacy in that replica.
    pub number: u64,
}

impl StreamId {
    /// Reads what [`Display`](fmt::Display) writes.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (replica, number) = text.split_once('/')?;
        Some(Self { replica: ReplicaId::parse(replica)?, number: number.parse().ok()? })
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.replica, self.number)
    }
}

/// Which pods a partition has: `<partition>-0`, `<partition>-1`, ...
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Members {
    /// Name of the partition.
    pub partition: String,
    /// Number of its pods.
    pub size: i64,
}

impl Members {
    /// Whether `member` is the name of one of them.
    #[must_use]
    pub fn include(&self, member: &str) -> bool {
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

/// The stream by which `member` stands in a record, if it does.
#[must_use]
pub fn stream_of(record: &ElectionStatus, member: &str) -> Option<StreamId> {
    let id = StreamId::parse(record.streams.get(member)?)?;
    record.candidates.iter().any(|candidate| candidate == member).then_some(id)
}

/// All streams that a record names.
pub fn streams(record: &ElectionStatus) -> impl Iterator<Item = StreamId> {
    record.streams.values().filter_map(|text| StreamId::parse(text))
}

/// What is to be changed in a record.
#[derive(Clone, Debug)]
pub struct Change<'a> {
    /// The replica that changes it.
    pub replica: ReplicaId,
    /// Its own candidacies, with the members' names, in the order in which they entered.
    pub own: &'a [(&'a str, StreamId)],
    /// Whether those of them that are not in the record may enter it.
    pub may_enter: bool,
    /// Candidacies of dead replicas.
    pub ghosts: &'a BTreeSet<StreamId>,
    /// Who can be a candidate.
    pub members: &'a Members,
}

/// The record that follows `before`.
///
/// Candidates stay in the order in which they entered; those that are no members any more, whose stream has ended, or of
/// which nothing says who has their stream (somebody has edited the record) are gone. Own candidacies that are not in it
/// yet are last, in the place of an older candidacy of the same member. The term grows whenever another candidacy comes
/// first.
#[must_use]
pub fn next(before: &ElectionStatus, change: &Change<'_>) -> ElectionStatus {
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
            !change.ghosts.contains(&id)
        };
        lives && change.members.include(member) && entering.iter().all(|(entering, _)| *entering != member.as_str())
    };
    let mut candidates: Vec<String> =
        before.candidates.iter().filter(stays).filter(|member| seen.insert(member.as_str())).cloned().collect();
    let mut streams: std::collections::BTreeMap<String, String> =
        candidates.iter().filter_map(|member| Some((member.clone(), before.streams.get(member)?.clone()))).collect();
    for (member, id) in entering {
        candidates.push(member.to_owned());
        streams.insert(member.to_owned(), id.to_string());
    }
    let primary = candidates.first().cloned().unwrap_or_default();
    let goes_on = primary == before.primary && streams.get(&primary) == before.streams.get(&primary);
    let term = if primary.is_empty() || goes_on { before.term } else { before.term.saturating_add(1) };
    ElectionStatus { term, primary, candidates, streams }
}

/// Whether `replica`, which has no streams of a partition, finds something in its record that it should not be without
/// one: a candidacy of its own, of which it never learned that it was written, or what somebody has edited.
#[must_use]
pub fn is_littered(record: &ElectionStatus, replica: ReplicaId, members: &Members) -> bool {
    next(record, &Change { replica, own: &[], may_enter: false, ghosts: &BTreeSet::new(), members }) != *record
}

#[cfg(test)]
#[path = "record_tests.rs"]
mod tests;
