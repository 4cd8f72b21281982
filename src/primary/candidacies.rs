//! The candidacies whose streams one replica has in one partition, and the updates of their streams.

use std::collections::BTreeSet;

use super::record::{self, Change, Members, StreamId};
use crate::api::ElectionStatus;
use crate::replicas::ReplicaId;

/// Identifies a stream within its replica. It stays the same when a candidacy has to enter anew.
pub(super) type Handle = u64;

/// A term, as streams show it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Term {
    pub(crate) number: i64,
    pub(crate) primary: String,
    /// All candidates in the order in which they entered.
    pub(crate) candidates: Vec<String>,
}

impl From<&ElectionStatus> for Term {
    fn from(record: &ElectionStatus) -> Self {
        Self { number: record.term, primary: record.primary.clone(), candidates: record.candidates.clone() }
    }
}

/// Why a candidacy has ended whose stream has not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// A newer stream of the same member has taken its place.
    Replaced,
    /// The partition has become smaller.
    NoMember,
    /// The partition was deleted.
    Deleted,
    /// The replica stops.
    Stopping,
}

/// What is sent on a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Update {
    Term(Term),
    /// The last update.
    End(End),
}

#[derive(Clone, Debug)]
struct Candidacy {
    handle: Handle,
    member: String,
    id: StreamId,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// To be entered at once.
    New,
    /// Not entered at once: the replica may not enter candidates for now, or the record has dropped it. The stream of the
    /// member in the record at that time, if any; one that has come since is taken for the newer one.
    Delayed(Option<StreamId>),
    /// The record has named it.
    Entered,
}

/// The candidacies of one replica in one partition: at most one a member.
#[derive(Clone, Debug)]
pub(super) struct Candidacies {
    replica: ReplicaId,
    /// In the order in which they entered.
    all: Vec<Candidacy>,
}

impl Candidacies {
    pub(super) const fn new(replica: ReplicaId) -> Self {
        Self { replica, all: Vec::new() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Enters a member. `number` is one that this replica has never used before. Returns its handle, and that of the older
    /// candidacy of the same member, which ends.
    pub(super) fn enter(&mut self, member: &str, number: u64) -> (Handle, Option<Handle>) {
        let replaced = self.all.iter().position(|candidacy| candidacy.member == member);
        let replaced = replaced.map(|index| self.all.remove(index).handle);
        let id = StreamId { replica: self.replica, number };
        self.all.push(Candidacy { handle: number, member: member.to_owned(), id, stage: Stage::New });
        (number, replaced)
    }

    /// Ends a candidacy, unless it has ended already.
    pub(super) fn leave(&mut self, handle: Handle) {
        self.all.retain(|candidacy| candidacy.handle != handle);
    }

    /// Ends those that a newer stream of their member has replaced in `record`, which is newer than the one that was
    /// processed last; returns them. Call it with a record that may have changed again before it is processed: a candidacy
    /// that is replaced, and whose successor leaves meanwhile, would seem to have been dropped, and would come back.
    pub(super) fn end_replaced(&mut self, record: &ElectionStatus) -> Vec<Handle> {
        let is_replaced = |candidacy: &mut Candidacy| {
            candidacy.stage == Stage::Entered
                && record::stream_of(record, &candidacy.member).is_some_and(|other| other != candidacy.id)
        };
        self.all.extract_if(.., is_replaced).map(|candidacy| candidacy.handle).collect()
    }

    /// Ends all.
    pub(super) fn end(&mut self) -> Vec<Handle> {
        self.all.drain(..).map(|candidacy| candidacy.handle).collect()
    }

    /// Processes the current record, which must not be older than those before; `may_enter` says whether candidates may
    /// enter it now. Returns the updates of streams. A term is sent to the candidates in the record only, and only if the
    /// record is sound. A candidacy that was dropped while its stream lives, because this replica seemed dead, enters anew
    /// with a number of `fresh`. A candidacy that was delayed ends if the record names another stream of its member by now:
    /// two streams of replicas that knew nothing of each other have no order, and the one in the record stays. The same
    /// holds for one that was dropped: a successor may have replaced it and left before this record, and this replica may
    /// learn late that its client has gone.
    pub(super) fn process(
        &mut self,
        record: &ElectionStatus,
        members: &Members,
        may_enter: bool,
        mut fresh: impl FnMut() -> u64,
    ) -> Vec<(Handle, Update)> {
        let (replica, mut updates, mut renumbered) = (self.replica, Vec::new(), Vec::new());
        let sound = record.candidates.first() == Some(&record.primary);
        self.all.retain_mut(|candidacy| {
            let end = match (record::stream_of(record, &candidacy.member), candidacy.stage) {
                _ if !members.include(&candidacy.member) => End::NoMember,
                (Some(id), _) if id == candidacy.id => {
                    candidacy.stage = Stage::Entered;
                    updates.extend(sound.then(|| (candidacy.handle, Update::Term(record.into()))));
                    return true;
                }
                (Some(_), Stage::Entered) => End::Replaced,
                (None, Stage::Entered) => {
                    let id = StreamId { replica, number: fresh() };
                    renumbered.push(Candidacy { id, stage: Stage::Delayed(None), ..candidacy.clone() });
                    return false;
                }
                (Some(id), Stage::Delayed(then)) if then != Some(id) => End::Replaced,
                (then, Stage::New) if !may_enter => {
                    candidacy.stage = Stage::Delayed(then);
                    return true;
                }
                _ => return true,
            };
            updates.push((candidacy.handle, Update::End(end)));
            false
        });
        self.all.append(&mut renumbered);
        updates
    }

    /// The record that follows `record`, if it differs.
    pub(super) fn wanted(
        &self,
        record: &ElectionStatus,
        dead: &BTreeSet<StreamId>,
        members: &Members,
        may_enter: bool,
    ) -> Option<ElectionStatus> {
        let own: Vec<(&str, StreamId)> =
            self.all.iter().map(|candidacy| (candidacy.member.as_str(), candidacy.id)).collect();
        let change = Change { replica: self.replica, own: &own, may_enter, dead, members };
        Some(record::next(record, &change)).filter(|next| next != record)
    }

    /// Whether any is not in the record yet.
    pub(super) fn has_pending(&self) -> bool {
        self.all.iter().any(|candidacy| candidacy.stage != Stage::Entered)
    }
}

#[cfg(test)]
#[path = "model_tests.rs"]
mod model;
