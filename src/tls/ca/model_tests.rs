//! A model of an installation: replicas that come and go, see late and write over each other, API servers that see a
//! bundle late, and people who spoil things, with the real decisions and the real certificates. What is seen at all is
//! seen within a hold-down.

mod event;
mod found;
mod spoil;

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use proptest::prelude::*;
use rustls::pki_types::CertificateDer;

use self::event::{Event, event};
use super::authority::{Authority, pem_of};
use super::periods::Periods;
use super::rotation::{Action, Change, Observed, Request, apply, step};
use super::stored::{Data, Diagnosis, diagnose, render};
use crate::tls::names::Names;
use crate::tls::verify::verify;

const REPLICAS: usize = 3;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

#[derive(Clone, Default)]
struct Replica {
    alive: bool,
    /// Version of the Secret that it knows.
    secret: usize,
    /// Version of the Secret that it has decided by, and since when it knows it.
    decided_by: Option<(usize, u64)>,
    /// It has read what API servers trust, and which other replicas live.
    has_read: bool,
    /// Version of the bundle that it knows.
    bundle: usize,
    held: Option<Authority>,
    leaf: Option<(Vec<CertificateDer<'static>>, SystemTime, Authority)>,
    /// It was ready once: API servers ask it.
    ready: bool,
    /// How far its clock is ahead of the API servers', in hours.
    skew: i8,
    /// Since when it takes itself for the leader.
    leads_since: Option<u64>,
    in_sync: Option<(String, u64)>,
}

struct World {
    names: Names,
    periods: Periods,
    wall: SystemTime,
    /// Seconds that have passed, whatever the clocks say.
    passed: u64,
    /// Versions of the Secret, and when each was written.
    secrets: Vec<(Option<Data>, u64)>,
    request: Request,
    /// What was revoked last, and what came instead.
    revoked: Option<(String, Authority)>,
    /// Every certificate that was ever revoked.
    distrusted: Vec<String>,
    /// Bundles, when each was replaced, and whether one of ours.
    bundles: Vec<(String, u64, bool)>,
    replicas: Vec<Replica>,
    jumped_back: bool,
}

impl World {
    /// An installation of which a replica has been elected, and nothing else has happened.
    fn new() -> Self {
        let mut replicas = vec![Replica { alive: true, ..Replica::default() }; REPLICAS];
        replicas[0].leads_since = Some(0);
        Self {
            names: Names::new("keeper", "home", "x"),
            periods: Periods::default(),
            wall: SystemTime::UNIX_EPOCH + DAY * 20_000,
            passed: 10,
            secrets: vec![(Some(Data::new()), 0)],
            request: Request::Nothing,
            revoked: None,
            distrusted: Vec::new(),
            bundles: vec![(String::new(), u64::MAX, false)],
            replicas,
            jumped_back: false,
        }
    }

    fn latest(&self) -> usize {
        self.secrets.len() - 1
    }

    fn happens(&mut self, event: &Event) {
        match *event {
            Event::Sees { replica, latest } => {
                let known = self.replicas[replica].secret;
                self.replicas[replica].secret = if latest { self.latest() } else { self.latest().min(known + 1) };
                self.reacts(replica, true);
            }
            Event::Reacts(replica) => self.reacts(replica, true),
            Event::ReactsUnanswered(replica) => self.reacts(replica, false),
            Event::Keeps { replica, looks } => self.keeps(replica, looks),
            Event::Passes { seconds, lagging } => self.passes(seconds, lagging),
            // The last replica that knows a state does not die before it has written that back.
            Event::Restarts(replica) if self.replicas[replica].alive && self.holders() < 2 => {}
            Event::Restarts(replica) => {
                let alive = !self.replicas[replica].alive;
                let (secret, bundle) = (self.latest(), self.bundles.len() - 1);
                self.replicas[replica] = Replica { alive, secret, bundle, ..Replica::default() };
            }
            Event::Leads { replica, alone } => self.leads(replica, alone),
            Event::Jumps { ahead: true } => self.wall += DAY * 8,
            Event::Jumps { ahead: false } if self.jumped_back => {}
            Event::Jumps { ahead: false } => {
                self.jumped_back = true;
                self.wall -= DAY / 2;
            }
            Event::Skews { replica, hours } => self.replicas[replica].skew = hours,
            Event::Rotates if self.request == Request::Revocation => {}
            Event::Rotates => self.request = Request::Rotation,
            Event::Revokes => self.request = Request::Revocation,
            Event::Spoils(spoil) => self.spoils(spoil),
            Event::SpoilsBundle(text) => self.write_bundle(text.to_owned(), false),
        }
        self.renew();
    }

    fn leads(&mut self, replica: usize, alone: bool) {
        if alone {
            self.replicas.iter_mut().for_each(|replica| replica.leads_since = None);
        }
        let since = Some(self.passed).filter(|_| self.replicas[replica].alive);
        self.replicas[replica].leads_since = since;
    }

    /// The time by the clock of a replica.
    fn clock(&self, replica: &Replica) -> SystemTime {
        let hours = Duration::from_secs(60 * 60) * u32::from(replica.skew.unsigned_abs());
        if replica.skew < 0 { self.wall - hours } else { self.wall + hours }
    }

    fn write_bundle(&mut self, bundle: String, ours: bool) {
        if let Some(last) = self.bundles.last_mut() {
            last.1 = self.passed;
        }
        // A replica that has not seen a revocation may write what is not to be trusted any more: no replica needs to be
        // accepted with that.
        let ours = ours && !self.distrusted.iter().any(|one| bundle.contains(one.as_str()));
        self.bundles.push((bundle, u64::MAX, ours));
    }

    fn write_secret(&mut self, data: Option<Data>) {
        self.secrets.push((data, self.passed));
    }

    fn stored(&self, version: usize) -> Option<Diagnosis> {
        self.secrets[version].0.as_ref().map(|data| diagnose(data, &self.names))
    }

    fn in_sync_for(&self, replica: &Replica) -> Option<Duration> {
        let (bundle, since) = replica.in_sync.as_ref()?;
        (*bundle == replica.held.as_ref()?.bundle()).then(|| Duration::from_secs(self.passed - since))
    }

    /// What `keeper::Keeper::settle` does. Unless a write is `answered`, it does not know what it wrote.
    fn reacts(&mut self, index: usize, answered: bool) {
        if !self.replicas[index].alive {
            return;
        }
        for _ in 0..10 {
            let replica = self.replicas[index].clone();
            let diagnosis = self.stored(replica.secret);
            let now = self.clock(&replica);
            let valid = replica.held.as_ref().is_some_and(|held| held.is_valid_at(now));
            self.replicas[index].has_read &= !valid;
            let known = self.replicas[index].has_read || !self.bundles[replica.bundle].0.is_empty();
            let live = self.bundles.last().map(|(bundle, ..)| bundle.as_str()).unwrap_or_default();
            let found = diagnosis.as_ref().and_then(|diagnosis| diagnosis.authority.as_ref());
            let same = replica.decided_by.filter(|(version, _)| *version == replica.secret);
            let (_, since) = *self.replicas[index].decided_by.insert(same.unwrap_or((replica.secret, self.passed)));
            let observed = Observed {
                secret: diagnosis.as_ref(),
                held: replica.held.as_ref(),
                leading_for: replica.leads_since.map(|since| Duration::from_secs(self.passed - since)),
                seen_for: Duration::from_secs(self.passed - since),
                is_trusted: known,
                is_found_trusted: found.is_some_and(|found| live.contains(&pem_of(&found.current.certificate))),
                request: self.request,
                in_sync_for: self.in_sync_for(&replica),
            };
            match step(&observed, &self.names, &self.periods, now) {
                Action::Keep => return,
                Action::Adopt => self.replicas[index].held = diagnosis.and_then(|diagnosis| diagnosis.authority),
                Action::Write(Change::New(_)) if !known && self.is_trusted(index) => {
                    self.replicas[index].has_read = true;
                }
                Action::Write(_) if replica.secret < self.latest() => self.replicas[index].secret = self.latest(),
                Action::Write(change) => {
                    let made = apply(change, &observed, &self.names, &self.periods, now).unwrap();
                    let Some(authority) = made else { return };
                    match change {
                        Change::Publish(_) if self.request == Request::Rotation => self.request = Request::Nothing,
                        Change::Revoke => {
                            self.request = Request::Nothing;
                            let before = replica.held.as_ref().map(Authority::bundle).unwrap_or_default();
                            self.distrusted.extend(certificates(&before).map(str::to_owned));
                            self.revoked = Some((before, authority.clone()));
                            self.bundles.iter_mut().for_each(|(.., ours)| *ours = false);
                        }
                        _ => {}
                    }
                    self.write_secret(Some(render(&authority)));
                    if !answered {
                        return;
                    }
                    self.replicas[index].secret = self.latest();
                    self.replicas[index].held = Some(authority);
                }
            }
        }
        panic!("replica {index} never comes to rest");
    }

    /// What `keeper::Keeper::is_trusted` does.
    fn is_trusted(&self, asking: usize) -> bool {
        let lives = |(index, replica): (usize, &Replica)| index != asking && replica.alive;
        self.bundles.last().is_some_and(|(live, ..)| !live.is_empty()) || self.replicas.iter().enumerate().any(lives)
    }

    /// What `bundle::Keeper::settle` does.
    fn keeps(&mut self, index: usize, looks: bool) {
        if !self.replicas[index].alive {
            return;
        }
        if looks {
            self.replicas[index].bundle = self.bundles.len() - 1;
        }
        let Replica { held, bundle, .. } = self.replicas[index].clone();
        let Some(held) = held else { return };
        let desired = held.bundle();
        let last = self.bundles.len() - 1;
        if self.bundles[bundle].0 != desired {
            self.replicas[index].in_sync = None;
            let stored = self.stored(self.latest());
            let stored = stored.filter(|stored| stored.damage.is_none()).and_then(|stored| stored.authority);
            if bundle < last || stored.is_some_and(|stored| stored.rank() > held.rank()) {
                return;
            }
            self.write_bundle(desired.clone(), true);
            self.replicas[index].bundle = last + 1;
        }
        let (passed, replica) = (self.passed, &mut self.replicas[index]);
        if replica.in_sync.as_ref().is_none_or(|(bundle, _)| *bundle != desired) {
            replica.in_sync = Some((desired, passed));
        }
    }

    fn passes(&mut self, seconds: u64, lagging: Option<usize>) {
        if self.secrets[self.latest()].0.is_none() {
            // An administrator puts it back.
            self.write_secret(Some(Data::new()));
        }
        // The last one that knows a state has to write it before time passes, and no replica misses one for a hold-down.
        let lagging = lagging.filter(|lagging| self.replicas[*lagging].held.is_none() || self.holders() >= 2);
        let hold_down = self.periods.hold_down.as_secs();
        let missed =
            |lagging: &usize| self.secrets.get(self.replicas[*lagging].secret + 1).map_or(self.passed, |(_, at)| *at);
        let lagging = lagging.filter(|lagging| self.passed + seconds - missed(lagging) < hold_down);
        for _ in 0..3 {
            for index in (0..REPLICAS).filter(|index| Some(*index) != lagging) {
                self.replicas[index].secret = self.latest();
                self.reacts(index, true);
                self.renew();
                self.keeps(index, true);
            }
        }
        self.passed += seconds;
        self.wall += Duration::from_secs(seconds);
    }

    /// What `leaf_renewal::Renewal::renew` does.
    fn renew(&mut self) {
        for index in 0..REPLICAS {
            let now = self.clock(&self.replicas[index]);
            let replica = &mut self.replicas[index];
            let Some(held) = replica.held.as_ref().filter(|held| replica.alive && held.is_valid_at(now)) else {
                continue;
            };
            let fresh = |(_, due, authority): &(_, SystemTime, Authority)| authority.signs_like(held) && now < *due;
            if !replica.leaf.as_ref().is_some_and(fresh) {
                let leaf = held.leaf(&self.names, &self.periods, now).unwrap();
                replica.leaf = Some((leaf.chain, leaf.renew_at, held.clone()));
            }
        }
    }

    fn accepts(&self, bundle: &str, replica: &Replica) -> Result<(), String> {
        let chain = replica.leaf.as_ref().map(|(chain, ..)| chain.as_slice()).unwrap_or_default();
        verify(chain, bundle.as_bytes(), &self.names.server_name(), self.wall).map_err(|error| error.to_string())
    }

    /// Whether there is a revocation that a replica has not seen.
    fn is_revoking(&self) -> bool {
        let Some((_, since)) = &self.revoked else { return false };
        let follows = |held: &Authority| {
            held.rank() > since.rank()
                || held.rank() == since.rank() && held.current.certificate == since.current.certificate
        };
        let has_seen = |replica: &Replica| replica.held.as_ref().is_some_and(follows);
        !self.replicas.iter().filter(|replica| replica.alive && replica.ready).all(has_seen)
    }

    /// Every replica that was ready once is accepted with every bundle of ours that an API server may still hold; except
    /// during a revocation, which must cut off the replicas that have not seen it.
    fn check(&mut self) -> Result<(), TestCaseError> {
        if self.is_revoking() {
            return Ok(());
        }
        let hold_down = self.periods.hold_down.as_secs();
        let ours = |(bundle, until, ours): &(String, u64, bool)| {
            (*ours && *until > self.passed.saturating_sub(hold_down)).then(|| bundle.clone())
        };
        let held: BTreeSet<String> = self.bundles.iter().filter_map(ours).collect();
        for index in 0..REPLICAS {
            let replica = &self.replicas[index];
            if !replica.alive {
                continue;
            }
            if !replica.ready {
                let latest = self.bundles.last().map(|(bundle, ..)| bundle.as_str()).unwrap_or_default();
                self.replicas[index].ready = self.accepts(latest, replica).is_ok();
                continue;
            }
            for bundle in &held {
                let accepted = self.accepts(bundle, replica);
                prop_assert!(accepted.is_ok(), "replica {index}: {accepted:?} with\n{bundle}{:?}", replica.held);
            }
        }
        Ok(())
    }
}

/// The certificates of a bundle.
fn certificates(bundle: &str) -> impl Iterator<Item = &str> {
    bundle.split_inclusive("-----END CERTIFICATE-----\n")
}

/// Lets `events` happen to a new installation, and then nothing bad any more.
fn goes_well(events: &[Event]) -> Result<(), TestCaseError> {
    let mut world = World::new();
    for event in events {
        world.happens(event);
        world.check()?;
    }
    for replica in &mut world.replicas {
        replica.alive = true;
    }
    world.leads(0, true);
    for _ in 0..12 {
        world.happens(&Event::Passes { seconds: 61, lagging: None });
        world.check()?;
    }
    let stored = world.stored(world.latest()).unwrap();
    let authority = stored.authority.unwrap();
    prop_assert_eq!((stored.damage, authority.rank().1, world.request), (None, 1, Request::Nothing));
    if let Some((revoked, _)) = &world.revoked {
        let bundle = authority.bundle();
        prop_assert!(certificates(revoked).all(|one| !bundle.contains(one)));
    }
    prop_assert_eq!(&world.bundles.last().unwrap().0, &authority.bundle());
    for replica in &world.replicas {
        prop_assert!(world.accepts(&authority.bundle(), replica).is_ok());
        prop_assert!(replica.leaf.as_ref().is_some_and(|(.., signer)| signer.signs_like(&authority)));
    }
    Ok(())
}

proptest! {
    // How many cases, PROPTEST_CASES says; their seeds are kept as sequences in `found`.
    #![proptest_config(ProptestConfig { max_shrink_iters: 500, failure_persistence: None, ..cases(32) })]

    #[test]
    fn whatever_happens_every_replica_is_accepted_and_rotations_end(events in prop::collection::vec(event(), 20..150)) {
        goes_well(&events)?;
    }
}

/// So many, unless the environment says how many.
fn cases(cases: u32) -> ProptestConfig {
    let wanted = std::env::var("PROPTEST_CASES").ok().and_then(|text| text.parse().ok());
    ProptestConfig { cases: wanted.unwrap_or(cases), ..ProptestConfig::default() }
}
