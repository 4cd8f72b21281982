//! Several replicas that read late, lose races, crash and take each other for dead, against what elections promise.

use std::collections::{BTreeMap, HashMap};

use proptest::prelude::*;

use super::*;
use crate::primary::record::{has_orphans, stream_of, streams};

const SIZE: i64 = 3;
const REPLICAS: usize = 3;

#[derive(Clone, Debug)]
enum Event {
    /// A member opens a stream to a replica.
    Enter { at: usize, member: i64 },
    /// A member closes the stream that it opened some streams ago.
    Leave { at: usize, which: usize },
    /// A replica is killed, and another starts in its place.
    Crash { at: usize },
    /// A replica processes a state that may be some states old.
    See { at: usize, behind: usize },
    /// The watch of a replica shows a state that may be some states old, while its task is too busy to process it.
    Notice { at: usize, behind: usize },
    /// A replica computes the next record.
    Begin { at: usize },
    /// The next record arrives at the API server; the answer may be lost.
    Commit { at: usize, lost: bool },
    /// A replica loses the API server, or reaches it again.
    Cut { at: usize, off: bool },
    /// A replica takes the candidacies of another, which may live, for those of a dead one.
    Suspect { at: usize, other: usize },
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let at = 0..REPLICAS;
    let event = prop_oneof![
        4 => (at.clone(), 0..SIZE).prop_map(|(at, member)| Event::Enter { at, member }),
        2 => (at.clone(), 0..4_usize).prop_map(|(at, which)| Event::Leave { at, which }),
        1 => at.clone().prop_map(|at| Event::Crash { at }),
        4 => (at.clone(), 0..4_usize).prop_map(|(at, behind)| Event::See { at, behind }),
        2 => (at.clone(), 0..4_usize).prop_map(|(at, behind)| Event::Notice { at, behind }),
        4 => at.clone().prop_map(|at| Event::Begin { at }),
        4 => (at.clone(), any::<bool>()).prop_map(|(at, lost)| Event::Commit { at, lost }),
        1 => (at.clone(), any::<bool>()).prop_map(|(at, off)| Event::Cut { at, off }),
        1 => (at, 0..REPLICAS).prop_map(|(at, other)| Event::Suspect { at, other }),
    ];
    prop::collection::vec(event, 1..80)
}

/// A stream as its member sees it.
#[derive(Clone, Debug)]
struct Stream {
    member: String,
    terms: Vec<Term>,
}

struct Replica {
    id: ReplicaId,
    candidacies: Candidacies,
    /// The version of the record that it has processed.
    known: usize,
    dead: BTreeSet<StreamId>,
    /// Whether it has a part in the election: only while there is a reason.
    open: bool,
    /// Whether it may enter candidates: not for long after it has lost the API server.
    may_enter: bool,
    /// The record that it is about to write, and on which version.
    writing: Option<(usize, ElectionStatus)>,
    streams: BTreeMap<Handle, Stream>,
}

struct World {
    members: Members,
    /// Every state that the record ever had.
    history: Vec<ElectionStatus>,
    replicas: Vec<Replica>,
    numbers: u64,
    /// The primary of each term, as streams showed it.
    primaries: HashMap<i64, String>,
    /// Members whose streams were ended, and not left.
    replaced: Vec<String>,
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            members: Members { partition: "p".to_owned(), size: SIZE },
            history: vec![ElectionStatus::default()],
            replicas: Vec::new(),
            numbers: 0,
            primaries: HashMap::new(),
            replaced: Vec::new(),
        };
        for _ in 0..REPLICAS {
            let replica = world.replica();
            world.replicas.push(replica);
        }
        world
    }

    fn after(events: &[Event]) -> Self {
        let mut world = Self::new();
        for event in events {
            world.happen(event);
        }
        world
    }

    fn replica(&mut self) -> Replica {
        self.numbers += 1;
        let id = ReplicaId::parse(&format!("{:08x}", self.numbers)).unwrap();
        let (candidacies, known) = (Candidacies::new(id), self.history.len() - 1);
        Replica {
            id,
            candidacies,
            known,
            dead: BTreeSet::new(),
            open: false,
            may_enter: true,
            writing: None,
            streams: BTreeMap::new(),
        }
    }

    fn happen(&mut self, event: &Event) {
        match *event {
            Event::Enter { at, member } => {
                self.numbers += 1;
                let (number, replica, member) = (self.numbers, &mut self.replicas[at], format!("p-{member}"));
                let (handle, replaced) = replica.candidacies.enter(&member, number);
                if let Some(replaced) = replaced {
                    assert_eq!(replica.streams.remove(&replaced).unwrap().member, member);
                }
                replica.streams.insert(handle, Stream { member, terms: Vec::new() });
                replica.open = true;
            }
            Event::Leave { at, which } => {
                let replica = &mut self.replicas[at];
                if let Some(handle) = replica.streams.keys().nth(which).copied() {
                    replica.streams.remove(&handle);
                    replica.candidacies.leave(handle);
                }
            }
            Event::Cut { at, off } => {
                self.replicas[at].may_enter = !off;
                self.see(at, self.replicas[at].known);
            }
            Event::Crash { at } => self.replicas[at] = self.replica(),
            Event::See { at, behind } => {
                let known = (self.history.len() - 1).saturating_sub(behind).max(self.replicas[at].known);
                self.see(at, known);
            }
            Event::Notice { at, behind } => {
                let noticed = (self.history.len() - 1).saturating_sub(behind);
                let replica = &mut self.replicas[at];
                if noticed > replica.known {
                    for handle in replica.candidacies.end_replaced(&self.history[noticed]) {
                        self.replaced.push(replica.streams.remove(&handle).unwrap().member);
                    }
                }
            }
            Event::Begin { at } => {
                let replica = &mut self.replicas[at];
                let (known, before) = (replica.known, &self.history[replica.known]);
                let wanted = replica.candidacies.wanted(before, &replica.dead, &self.members, replica.may_enter);
                replica.writing = wanted.filter(|_| replica.open).map(|wanted| (known, wanted));
                replica.open &= replica.writing.is_some() || !replica.candidacies.is_empty();
            }
            Event::Commit { at, lost } => {
                let Some((on, record)) = self.replicas[at].writing.take() else { return };
                if on == self.history.len() - 1 {
                    self.write(record);
                    if !lost {
                        self.see(at, self.history.len() - 1);
                    }
                }
            }
            Event::Suspect { at, other } => {
                let other = self.replicas[other].id;
                let replica = &mut self.replicas[at];
                let record = &self.history[replica.known];
                replica.dead.extend(streams(record).filter(|id| id.replica == other && other != replica.id));
                replica.open |= !replica.dead.is_empty();
            }
        }
    }

    /// Takes in a record, and checks it against the one before.
    fn write(&mut self, record: ElectionStatus) {
        let before = self.history.last().unwrap();
        let id = |record: &ElectionStatus, member: &str| stream_of(record, member).unwrap();
        assert_eq!(record.primary, record.candidates.first().cloned().unwrap_or_default());
        assert_eq!(record.streams.len(), record.candidates.len());
        // Candidates that stay keep their places before all that enter.
        let stays = |member: &&String| stream_of(before, member) == Some(id(&record, member));
        let staying: Vec<&String> =
            before.candidates.iter().filter(|member| stream_of(&record, member) == Some(id(before, member))).collect();
        assert_eq!(record.candidates.iter().take_while(stays).collect::<Vec<_>>(), staying);
        // A term is one candidacy.
        let goes_on = record.primary.is_empty()
            || (record.primary == before.primary && id(before, &before.primary) == id(&record, &record.primary));
        assert_eq!(record.term, if goes_on { before.term } else { before.term + 1 });
        self.history.push(record);
    }

    fn see(&mut self, at: usize, known: usize) {
        let (replica, numbers) = (&mut self.replicas[at], &mut self.numbers);
        replica.known = known;
        let fresh = || {
            *numbers += 1;
            *numbers
        };
        for (handle, update) in
            replica.candidacies.process(&self.history[known], &self.members, replica.may_enter, fresh)
        {
            match update {
                Update::Term(term) => {
                    let stream = replica.streams.get_mut(&handle).unwrap();
                    assert!(stream.terms.last().is_none_or(|last| last.number <= term.number), "{stream:?} {term:?}");
                    assert!(term.number > 0 && term.candidates.contains(&stream.member));
                    let primary = self.primaries.entry(term.number).or_insert_with(|| term.primary.clone());
                    assert_eq!(*primary, term.primary, "two primaries in term {}", term.number);
                    stream.terms.push(term);
                }
                Update::End(End::Replaced) => {
                    self.replaced.push(replica.streams.remove(&handle).unwrap().member);
                }
                Update::End(end) => panic!("{end:?}"),
            }
        }
    }

    /// Lets everything arrive, with nothing happening any more.
    fn converge(&mut self) {
        for _ in 0..20 {
            let mut quiet = true;
            for at in 0..REPLICAS {
                self.replicas[at].may_enter = true;
                self.see(at, self.history.len() - 1);
                let living: BTreeSet<ReplicaId> = self.replicas.iter().map(|replica| replica.id).collect();
                let record = self.history.last().unwrap();
                let replica = &mut self.replicas[at];
                replica.dead = streams(record).filter(|id| !living.contains(&id.replica)).collect();
                replica.open |= !replica.dead.is_empty() || has_orphans(record, replica.id, &self.members);
                let wanted = replica.candidacies.wanted(record, &replica.dead, &self.members, true);
                if let Some(wanted) = wanted.filter(|_| replica.open) {
                    self.write(wanted);
                    self.see(at, self.history.len() - 1);
                    quiet = false;
                }
            }
            if quiet {
                return;
            }
        }
        panic!("it does not converge: {:#?}", self.history);
    }

    fn assert_converged(&self) {
        let record = self.history.last().unwrap();
        let mut with_stream = Vec::new();
        for replica in &self.replicas {
            assert!(!replica.candidacies.has_pending());
            assert_eq!(replica.candidacies.all.len(), replica.streams.len());
            for stream in replica.streams.values() {
                assert_eq!(stream.terms.last(), Some(&Term::from(record)), "{stream:?}");
                with_stream.push(stream.member.clone());
            }
        }
        // No candidate without a stream, and no stream without a candidate.
        let mut candidates = record.candidates.clone();
        candidates.sort();
        with_stream.sort();
        assert_eq!(candidates, with_stream);
        // A member whose stream was replaced has another one, or had one.
        assert!(self.replaced.iter().all(|member| self.members.include(member)));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_terms_have_one_primary_and_the_candidates_with_streams_are_in_the_order_of_their_entry(events in events()) {
        let mut world = World::after(&events);
        world.converge();
        world.assert_converged();
    }
}

#[test]
fn a_candidacy_that_was_dropped_while_it_lived_enters_anew_and_last() {
    let mut world = World::after(&[
        Event::Enter { at: 0, member: 0 },
        Event::Begin { at: 0 },
        Event::Commit { at: 0, lost: false },
        Event::See { at: 1, behind: 0 },
        Event::Enter { at: 1, member: 1 },
        Event::Suspect { at: 1, other: 0 },
        Event::Begin { at: 1 },
        Event::Commit { at: 1, lost: false },
    ]);
    assert_eq!(world.history.last().unwrap().candidates, ["p-1"]);
    world.converge();
    let record = world.history.last().unwrap();
    assert_eq!((record.term, record.candidates.join(" ")), (2, "p-1 p-0".to_owned()));
}

#[test]
fn a_candidacy_that_was_left_before_its_replica_learned_that_it_was_written_is_dropped() {
    let mut world = World::after(&[
        Event::Enter { at: 0, member: 0 },
        Event::Begin { at: 0 },
        Event::Leave { at: 0, which: 0 },
        Event::Commit { at: 0, lost: true },
        Event::Begin { at: 0 },
    ]);
    assert_eq!(world.history.last().unwrap().candidates, ["p-0"]);
    assert!(!world.replicas[0].open);
    world.converge();
    world.assert_converged();
    assert!(world.history.last().unwrap().candidates.is_empty());
}

#[test]
fn a_newer_stream_on_another_replica_ends_the_older_one() {
    let mut world = World::after(&[
        Event::Enter { at: 0, member: 0 },
        Event::Begin { at: 0 },
        Event::Commit { at: 0, lost: false },
        Event::Enter { at: 1, member: 0 },
    ]);
    world.converge();
    assert_eq!(world.replaced, ["p-0"]);
    assert!(world.replicas[0].streams.is_empty());
    assert_eq!(world.history.last().unwrap().term, 2);
}

#[test]
fn a_stream_that_was_replaced_does_not_come_back_when_the_newer_one_leaves() {
    let mut world = World::after(&[
        Event::Enter { at: 0, member: 0 },
        Event::Begin { at: 0 },
        Event::Commit { at: 0, lost: false },
        Event::Enter { at: 1, member: 0 },
        Event::See { at: 1, behind: 0 },
        Event::Begin { at: 1 },
        Event::Commit { at: 1, lost: false },
        Event::Notice { at: 0, behind: 0 },
        Event::Leave { at: 1, which: 0 },
        Event::Begin { at: 1 },
        Event::Commit { at: 1, lost: false },
    ]);
    world.converge();
    world.assert_converged();
    assert_eq!(world.replaced, ["p-0"]);
    assert!(world.history.last().unwrap().candidates.is_empty());
}

#[test]
fn a_stream_that_had_to_wait_does_not_replace_one_that_came_meanwhile() {
    let mut world = World::after(&[
        Event::Cut { at: 0, off: true },
        Event::Enter { at: 0, member: 0 },
        Event::See { at: 0, behind: 0 },
        Event::Enter { at: 1, member: 0 },
        Event::Begin { at: 1 },
        Event::Commit { at: 1, lost: false },
        Event::Cut { at: 0, off: false },
    ]);
    assert_eq!(world.history.last().unwrap().term, 1);
    world.converge();
    world.assert_converged();
    assert_eq!(world.replaced, ["p-0"]);
    assert!(world.replicas[0].streams.is_empty());
    assert_eq!(world.history.last().unwrap().term, 1);
}

#[test]
fn a_stream_that_had_to_wait_replaces_the_one_that_it_had_found() {
    let mut world = World::after(&[
        Event::Enter { at: 1, member: 0 },
        Event::Begin { at: 1 },
        Event::Commit { at: 1, lost: false },
        Event::See { at: 0, behind: 0 },
        Event::Cut { at: 0, off: true },
        Event::Enter { at: 0, member: 0 },
        Event::See { at: 0, behind: 0 },
        Event::Cut { at: 0, off: false },
    ]);
    world.converge();
    world.assert_converged();
    assert!(world.replicas[1].streams.is_empty());
    assert_eq!(world.history.last().unwrap().term, 2);
}

#[test]
fn a_stream_that_comes_back_does_not_replace_one_that_came_meanwhile() {
    let enters = |at| {
        [
            Event::Enter { at, member: 0 },
            Event::See { at, behind: 0 },
            Event::Begin { at },
            Event::Commit { at, lost: false },
        ]
    };
    let leaves = [Event::Leave { at: 1, which: 0 }, Event::Begin { at: 1 }, Event::Commit { at: 1, lost: false }];
    // Replica 0 learns neither that its client has gone, nor of the stream that replaced its own and has left since.
    let missed = [Event::See { at: 0, behind: 0 }];
    let mut world =
        World::after(&[enters(0).as_slice(), enters(1).as_slice(), &leaves, &missed, enters(2).as_slice()].concat());
    world.converge();
    world.assert_converged();
    assert_eq!(world.replaced, ["p-0"]);
    assert!(world.replicas[0].streams.is_empty());
    assert_eq!(world.replicas[2].streams.len(), 1);
}
