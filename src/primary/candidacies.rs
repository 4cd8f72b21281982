//! The candidacies whose streams one replica has in one partition, and what their streams are told.

use std::collections::{BTreeMap, BTreeSet};

use super::record::{self, Change, Members, StreamId};
use crate::api::ElectionStatus;
use crate::replicas::ReplicaId;

/// Tells the streams of one replica from each other. It stays the same when a candidacy has to enter anew.
pub type Handle = u64;

/// A term as streams are told it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Term {
    /// Number of the term.
    pub number: i64,
    /// Who is the primary.
    pub primary: String,
    /// All candidates in the order in which they entered.
    pub candidates: Vec<String>,
}

impl From<&ElectionStatus> for Term {
    fn from(record: &ElectionStatus) -> Self {
        Self { number: record.term, primary: record.primary.clone(), candidates: record.candidates.clone() }
    }
}

/// Why a candidacy has ended that has not been left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// A newer stream of the same member has taken its place.
    Replaced,
    /// The partition is smaller now.
    NoMember,
    /// There is no such partition any more.
    Deleted,
    /// This replica stops.
    Stopping,
}

/// What a stream is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// The current term.
    Term(Term),
    /// That it is over.
    End(End),
}

#[derive(Clone, Debug)]
struct Candidacy {
    handle: Handle,
    member: String,
    number: u64,
    stage: Stage,
}

/// How far a candidacy has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// It is to be entered at once.
    New,
    /// Its replica may not enter anybody for now. By which stream the member stood when that was found, if it did: one
    /// that has come since is the newer one, or may be.
    Waits(Option<StreamId>),
    /// The record has named it.
    Entered,
}

/// The candidacies of one replica in one partition: at most one a member.
#[derive(Clone, Debug)]
pub struct Candidacies {
    replica: ReplicaId,
    /// In the order in which they entered.
    all: Vec<Candidacy>,
}

impl Candidacies {
    /// None so far.
    #[must_use]
    pub const fn new(replica: ReplicaId) -> Self {
        Self { replica, all: Vec::new() }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Enters a member. `number` is one that this replica has never used before. Returns its handle, and that of the
    /// candidacy of the same member that has ended by this.
    pub fn enter(&mut self, member: &str, number: u64) -> (Handle, Option<Handle>) {
        let replaced = self.all.iter().position(|candidacy| candidacy.member == member);
        let replaced = replaced.map(|index| self.all.remove(index).handle);
        self.all.push(Candidacy { handle: number, member: member.to_owned(), number, stage: Stage::New });
        (number, replaced)
    }

    /// Ends a candidacy, unless it has ended already.
    pub fn leave(&mut self, handle: Handle) {
        self.all.retain(|candidacy| candidacy.handle != handle);
    }

    /// Ends those that a newer stream of their member has replaced in `record`, which is newer than the one that was taken
    /// in last; returns them. For who is told of a record that may be another before it is taken in: a candidacy that is
    /// replaced, and whose successor leaves meanwhile, would seem to have been dropped, and would come back.
    pub fn replaced(&mut self, record: &ElectionStatus) -> Vec<Handle> {
        let replica = self.replica;
        let is_replaced = |candidacy: &mut Candidacy| {
            let own = StreamId { replica, number: candidacy.number };
            candidacy.stage == Stage::Entered
                && record::stream_of(record, &candidacy.member).is_some_and(|other| other != own)
        };
        self.all.extract_if(.., is_replaced).map(|candidacy| candidacy.handle).collect()
    }

    /// Ends all.
    pub fn end(&mut self) -> Vec<Handle> {
        self.all.drain(..).map(|candidacy| candidacy.handle).collect()
    }

    /// Takes in the current record, which must not be older than those before, and whether anybody may enter it now.
    /// Returns what streams have to be told: only those that are in the record are told a term, and not one that somebody
    /// has edited so that it is none. One that was dropped while its stream lives, because this replica seemed dead,
    /// enters anew with a number of `fresh`. One that has had to wait ends if its member has come back elsewhere
    /// meanwhile: two streams of replicas that knew nothing of each other have no order, and who stands stays.
    pub fn see(
        &mut self,
        record: &ElectionStatus,
        members: &Members,
        may_enter: bool,
        mut fresh: impl FnMut() -> u64,
    ) -> Vec<(Handle, Told)> {
        let (replica, mut told) = (self.replica, Vec::new());
        let mut renumbered = Vec::new();
        let sound = record.candidates.first() == Some(&record.primary);
        self.all.retain_mut(|candidacy| {
            let own = StreamId { replica, number: candidacy.number };
            let end = match (record::stream_of(record, &candidacy.member), candidacy.stage) {
                _ if !members.include(&candidacy.member) => End::NoMember,
                (Some(id), _) if id == own => {
                    candidacy.stage = Stage::Entered;
                    told.extend(sound.then(|| (candidacy.handle, Told::Term(record.into()))));
                    return true;
                }
                (Some(_), Stage::Entered) => End::Replaced,
                (None, Stage::Entered) => {
                    renumbered.push(Candidacy { number: fresh(), stage: Stage::New, ..candidacy.clone() });
                    return false;
                }
                (Some(id), Stage::Waits(then)) if then != Some(id) => End::Replaced,
                (then, Stage::New) if !may_enter => {
                    candidacy.stage = Stage::Waits(then);
                    return true;
                }
                _ => return true,
            };
            told.push((candidacy.handle, Told::End(end)));
            false
        });
        self.all.append(&mut renumbered);
        told
    }

    /// The record that should be, if it is another than `record`.
    #[must_use]
    pub fn wanted(
        &self,
        record: &ElectionStatus,
        ghosts: &BTreeSet<StreamId>,
        members: &Members,
        may_enter: bool,
    ) -> Option<ElectionStatus> {
        let own: Vec<(&str, StreamId)> = self
            .all
            .iter()
            .map(|candidacy| (candidacy.member.as_str(), StreamId { replica: self.replica, number: candidacy.number }))
            .collect();
        let change = Change { replica: self.replica, own: &own, may_enter, ghosts, members };
        Some(record::next(record, &change)).filter(|next| next != record)
    }

    /// Whether any is not in the record yet.
    #[must_use]
    pub fn any_waits(&self) -> bool {
        self.all.iter().any(|candidacy| candidacy.stage != Stage::Entered)
    }

    /// The members that stand here, by handle.
    #[must_use]
    pub fn members(&self) -> BTreeMap<Handle, &str> {
        self.all.iter().map(|candidacy| (candidacy.handle, candidacy.member.as_str())).collect()
    }
}

#[cfg(test)]
#[path = "model_tests.rs"]
mod model;
