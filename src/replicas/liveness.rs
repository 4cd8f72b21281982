//! Which replicas live, as a function of the states of the shared Lease and of when they were seen.
//!
//! Clocks of different machines are not compared: a replica is dead for an observer that has seen no new announcement of it
//! for [`DEAD_AFTER`], if the observer itself could reach the API server all that time. No replica dies while the API
//! server is away for all of them, or for the observer alone.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use kube::ResourceExt;
use tokio::time::Instant;

use super::ReplicaId;
use crate::store::cache::version_of;

/// How often a replica announces itself.
pub(super) const RENEWAL: Duration = Duration::from_secs(10);
/// Time without a new announcement after which a replica is dead: two announcements have failed, and some time.
const DEAD_AFTER: Duration = Duration::from_secs(22);
/// Time without a new announcement after which a replica may be dead: longer than between two announcements of a replica
/// whose calls are answered.
const SILENT_AFTER: Duration = Duration::from_secs(15);
/// Longest that one call for the Lease may take.
pub(super) const CALL: Duration = Duration::from_secs(3);
/// Wait after an announcement that failed, and the least time between any two.
pub(super) const RETRY: Duration = Duration::from_secs(1);
/// Longest time between two announcements of an observer that could reach the API server all the while, or had to try
/// twice.
const GAP: Duration = Duration::from_secs(15);
/// Longest time between a call and the answer to the next one while the API server answers steadily: no call lasts longer
/// than a replica waits for an answer.
const STEADY: Duration = Duration::from_millis(2900);
/// How long the API server has to have answered steadily before a replica is surely dead: in this time, a replica that
/// lives has given up the call that it had under way, and has made another.
const PROOF: Duration = Duration::from_secs(5);
/// How long a replica is remembered that the Lease does not name any more.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(600);

const _: () = {
    // A replica that lives announces itself within that time, even if two calls are lost.
    assert!(RENEWAL.as_millis() + 2 * (CALL.as_millis() + RETRY.as_millis()) < DEAD_AFTER.as_millis());
    // A lost call does not interrupt the announcements of the observer.
    assert!(RENEWAL.as_millis() + CALL.as_millis() + RETRY.as_millis() <= GAP.as_millis());
    assert!(RENEWAL.as_millis() + CALL.as_millis() < SILENT_AFTER.as_millis());
    // Between the two ends of a proof, a replica that lives makes a call that is answered.
    assert!(STEADY.as_millis() < CALL.as_millis() && CALL.as_millis() + RETRY.as_millis() < PROOF.as_millis());
    // The proof is there when it is needed.
    assert!(SILENT_AFTER.as_millis() + PROOF.as_millis() < DEAD_AFTER.as_millis());
};

/// Annotations of the Lease: `replica.k8s.atomix.io/<identity>`.
const PREFIX: &str = "replica.k8s.atomix.io/";

/// The annotation of a replica.
pub(super) fn annotation(id: ReplicaId) -> String {
    format!("{PREFIX}{id}")
}

#[derive(Debug)]
struct Replica {
    /// Its annotation, if the Lease has one.
    announcement: Option<String>,
    /// When that was first seen.
    since: Instant,
}

/// Something that happens again and again without a gap.
#[derive(Clone, Copy, Debug)]
struct Streak {
    since: Instant,
    last: Instant,
}

impl Streak {
    fn extend(streak: &mut Option<Self>, begun: Instant, now: Instant, gap: Duration) {
        let since = streak.filter(|streak| streak.is_unbroken(now, gap)).map_or(begun, |streak| streak.since);
        *streak = Some(Self { since, last: begun });
    }

    fn is_unbroken(&self, now: Instant, gap: Duration) -> bool {
        now.saturating_duration_since(self.last) <= gap
    }
}

/// The replicas, as one of them observes them.
#[derive(Debug)]
pub(super) struct Liveness {
    own: ReplicaId,
    /// The newest version of the Lease that was seen.
    version: u64,
    replicas: BTreeMap<ReplicaId, Replica>,
    /// Announcements of the observer.
    announced: Option<Streak>,
    /// Calls of the observer that the API server has answered.
    answered: Option<Streak>,
}

impl Liveness {
    pub(super) fn new(own: ReplicaId) -> Self {
        Self { own, version: 0, replicas: BTreeMap::new(), announced: None, answered: None }
    }

    /// Takes in a state of the Lease, unless a newer one was seen.
    pub(super) fn see(&mut self, lease: &Lease, now: Instant) {
        let version = version_of(lease);
        if version <= self.version {
            return;
        }
        self.version = version;
        let mut announcements: BTreeMap<ReplicaId, &String> = lease
            .annotations()
            .iter()
            .filter_map(|(key, text)| Some((ReplicaId::parse(key.strip_prefix(PREFIX)?)?, text)))
            .collect();
        for (id, replica) in &mut self.replicas {
            // A replica whose annotation was removed has as long to come back as any.
            let announcement = announcements.remove(id);
            if announcement.is_some() && announcement != replica.announcement.as_ref() {
                replica.since = now;
            }
            replica.announcement = announcement.cloned();
        }
        for (id, announcement) in announcements {
            self.replicas.insert(id, Replica { announcement: Some(announcement.clone()), since: now });
        }
        self.replicas.retain(|_, replica| {
            replica.announcement.is_some() || now.saturating_duration_since(replica.since) < FORGOTTEN_AFTER
        });
    }

    pub(super) fn version(&self) -> u64 {
        self.version
    }

    /// Takes in the answer to a call that began when `known` was the newest version. Returns whether the answer is older,
    /// which shows that the store was restored from a backup.
    pub(super) fn take(&mut self, lease: &Lease, known: u64, now: Instant) -> bool {
        let restored = version_of(lease) < known;
        if restored {
            tracing::warn!(known, now = version_of(lease), "the Lease of the replicas has become older");
        }
        self.see(lease, now);
        restored
    }

    /// Begins to observe a replica that the Lease may not name.
    pub(super) fn observe(&mut self, id: ReplicaId, now: Instant) {
        self.replicas.entry(id).or_insert(Replica { announcement: None, since: now });
    }

    /// Records an announcement of the observer, by a call that began at `now`.
    pub(super) fn announced(&mut self, now: Instant) {
        Streak::extend(&mut self.announced, now, now, GAP);
    }

    /// Records that the API server has answered, at `now`, a call that began at `begun`.
    pub(super) fn answered(&mut self, begun: Instant, now: Instant) {
        Streak::extend(&mut self.answered, begun, now, STEADY);
    }

    /// Whether the other replicas can know that the observer lives.
    pub(super) fn is_fresh(&self, now: Instant) -> bool {
        self.announced.is_some_and(|announced| announced.is_unbroken(now, GAP))
    }

    /// Whether the observer has announced itself and the Lease does not name it.
    pub(super) fn is_missing(&self) -> bool {
        self.announced.is_some() && self.replicas.get(&self.own).is_none_or(|replica| replica.announcement.is_none())
    }

    /// Whether a replica has been silent for longer than those that live usually are.
    pub(super) fn is_silent(&self, id: ReplicaId, now: Instant) -> bool {
        self.is_silent_for(SILENT_AFTER, id, now)
    }

    /// Whether a replica seems to be dead.
    pub(super) fn is_dead(&self, id: ReplicaId, now: Instant) -> bool {
        self.is_silent_for(DEAD_AFTER, id, now)
    }

    /// Whether a replica that seems to be dead could have announced itself: the API server has answered steadily for long
    /// enough.
    pub(super) fn is_surely_dead(&self, id: ReplicaId, now: Instant) -> bool {
        let proves = |answered: Streak| {
            answered.is_unbroken(now, STEADY) && answered.last.saturating_duration_since(answered.since) >= PROOF
        };
        self.answered.is_some_and(proves) && self.is_dead(id, now)
    }

    fn is_silent_for(&self, time: Duration, id: ReplicaId, now: Instant) -> bool {
        let (Some(replica), Some(announced)) = (self.replicas.get(&id), self.announced) else { return false };
        self.is_fresh(now)
            && id != self.own
            && now.saturating_duration_since(replica.since.max(announced.since)) >= time
    }

    /// Dead replicas that the Lease has named for as long again, in which every other replica has removed their
    /// candidacies.
    pub(super) fn expired(&self, now: Instant) -> Vec<ReplicaId> {
        let is_old = |replica: &Replica| now.saturating_duration_since(replica.since) >= 2 * DEAD_AFTER;
        let named = self.replicas.iter().filter(|(_, replica)| replica.announcement.is_some() && is_old(replica));
        named.map(|(id, _)| *id).filter(|id| self.is_dead(*id, now)).collect()
    }

    /// The replicas that the Lease names and that are not dead.
    pub(super) fn living(&self, now: Instant) -> impl Iterator<Item = ReplicaId> {
        let named = self.replicas.iter().filter(|(_, replica)| replica.announcement.is_some());
        named.map(|(id, _)| *id).filter(move |id| !self.is_dead(*id, now))
    }
}

#[cfg(test)]
#[path = "liveness_tests.rs"]
mod tests;
