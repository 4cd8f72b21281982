//! Who lives, as a function of what was seen of the shared Lease and when.
//!
//! Clocks of different machines are not compared: a replica is dead for an observer that has seen nothing new of it for
//! [`DEAD_AFTER`], all of which time the observer itself could reach the API server. While the API server is away for
//! everybody, or for the observer alone, nobody dies.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use kube::ResourceExt;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::ReplicaId;
use crate::store::watch::version_of;

/// How often a replica announces itself.
pub const RENEWAL: Duration = Duration::from_secs(10);
/// How long nothing new has to be seen of a replica that is dead: two announcements it has failed to make, and some time.
pub const DEAD_AFTER: Duration = Duration::from_secs(22);
/// How long nothing new has to be seen of a replica before it is looked at more closely: longer than a replica is silent
/// whose calls are answered.
const SILENT_AFTER: Duration = Duration::from_secs(15);
/// Longest that one call for the Lease may take.
pub(super) const CALL: Duration = Duration::from_secs(3);
/// Wait after an announcement that failed, and at least between any two.
pub(super) const RETRY: Duration = Duration::from_secs(1);
/// Longest time between two announcements of an observer that could reach the API server all the while, or had to try
/// twice.
const GAP: Duration = Duration::from_secs(15);
/// Longest time between a question to the API server and the answer to the next one, for an observer to whom it answers
/// steadily: no call lasts longer meanwhile than a replica waits for an answer.
const STEADY: Duration = Duration::from_millis(2900);
/// For how long the API server has to have answered steadily before anybody is taken for dead: whoever was overdue has
/// given up what call it had under way, and has made another.
const PROOF: Duration = Duration::from_secs(5);
/// How long a replica is remembered that the Lease does not name any more.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(600);

const _: () = {
    // A replica that lives announces itself as often as that, even if a call is lost twice.
    assert!(RENEWAL.as_millis() + 2 * (CALL.as_millis() + RETRY.as_millis()) < DEAD_AFTER.as_millis());
    // One that is lost does not make a replica silent for itself.
    assert!(RENEWAL.as_millis() + CALL.as_millis() + RETRY.as_millis() <= GAP.as_millis());
    assert!(RENEWAL.as_millis() + CALL.as_millis() < SILENT_AFTER.as_millis());
    // There is a call between the two ends of a proof that is made and answered in it.
    assert!(STEADY.as_millis() < CALL.as_millis() && CALL.as_millis() + RETRY.as_millis() < PROOF.as_millis());
    // The proof is there when it is needed.
    assert!(SILENT_AFTER.as_millis() + PROOF.as_millis() < DEAD_AFTER.as_millis());
};

/// Annotations of the Lease: `replica.k8s.atomix.io/<identity>`.
const PREFIX: &str = "replica.k8s.atomix.io/";

/// What a replica says of itself, as JSON in its annotation.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct Announcement {
    /// Name of its pod, for people.
    pub pod: String,
    /// When it said so by its own clock, for people and so that something changes.
    pub renewed: String,
}

/// Name of the annotation of a replica.
pub(super) fn annotation(id: ReplicaId) -> String {
    format!("{PREFIX}{id}")
}

#[derive(Debug)]
struct Entry {
    /// What the Lease says of it, if anything.
    text: Option<String>,
    /// When that was first seen.
    since: Instant,
}

/// What one replica knows of all.
#[derive(Debug)]
pub(super) struct Registry {
    own: ReplicaId,
    version: u64,
    replicas: BTreeMap<ReplicaId, Entry>,
    /// When this replica last announced itself, and since when it has done so without a gap.
    renewed: Option<(Instant, Instant)>,
    /// When the API server was last asked a question that it answered, and since when it has answered steadily.
    answered: Option<(Instant, Instant)>,
}

impl Registry {
    pub(super) fn new(own: ReplicaId) -> Self {
        Self { own, version: 0, replicas: BTreeMap::new(), renewed: None, answered: None }
    }

    /// Takes in what the Lease says, unless something newer is known.
    pub(super) fn see(&mut self, lease: &Lease, now: Instant) {
        let version = version_of(lease);
        if version <= self.version {
            return;
        }
        self.version = version;
        let mut said: BTreeMap<ReplicaId, &String> = lease
            .annotations()
            .iter()
            .filter_map(|(key, text)| Some((ReplicaId::parse(key.strip_prefix(PREFIX)?)?, text)))
            .collect();
        for (id, entry) in &mut self.replicas {
            // Silence is no news: a replica whose annotation somebody removed has as long to come back as any.
            let text = said.remove(id);
            if text.is_some() && text != entry.text.as_ref() {
                entry.since = now;
            }
            entry.text = text.cloned();
        }
        for (id, text) in said {
            self.replicas.insert(id, Entry { text: Some(text.clone()), since: now });
        }
        self.replicas
            .retain(|_, entry| entry.text.is_some() || now.saturating_duration_since(entry.since) < FORGOTTEN_AFTER);
    }

    /// The newest version of the Lease that was seen.
    pub(super) fn version(&self) -> u64 {
        self.version
    }

    /// Takes in the Lease that the API server has answered with to a call that was begun when `known` was the newest
    /// version. It cannot be an older one, unless somebody has restored a backup. Returns whether somebody has.
    pub(super) fn take(&mut self, lease: &Lease, known: u64, now: Instant) -> bool {
        let restored = version_of(lease) < known;
        if restored {
            tracing::warn!(known, now = version_of(lease), "the Lease of the replicas has become older");
        }
        self.see(lease, now);
        restored
    }

    /// Takes in that the Lease names this replica, because of a write that was begun at `now`.
    pub(super) fn renewed(&mut self, now: Instant) {
        let since = self.renewed.filter(|(last, _)| now.saturating_duration_since(*last) <= GAP);
        self.renewed = Some((now, since.map_or(now, |(_, since)| since)));
    }

    /// Takes in that the API server has answered, at `now`, what it was `asked`.
    pub(super) fn answered(&mut self, asked: Instant, now: Instant) {
        let since = self.answered.filter(|(last, _)| now.saturating_duration_since(*last) <= STEADY);
        self.answered = Some((asked, since.map_or(asked, |(_, since)| since)));
    }

    /// Whether the others can know that this replica lives.
    pub(super) fn is_fresh(&self, now: Instant) -> bool {
        self.renewed.is_some_and(|(last, _)| now.saturating_duration_since(last) <= GAP)
    }

    /// Whether the Lease should name this replica and does not.
    pub(super) fn is_missing(&self) -> bool {
        self.renewed.is_some() && self.replicas.get(&self.own).is_none_or(|entry| entry.text.is_none())
    }

    /// Whether a replica has been silent for longer than those that live usually are.
    pub(super) fn is_silent(&mut self, id: ReplicaId, now: Instant) -> bool {
        self.is_silent_for(SILENT_AFTER, id, now)
    }

    /// Whether a replica seems to be dead. One that was never heard of has to stay silent for as long as any.
    pub(super) fn is_dead(&mut self, id: ReplicaId, now: Instant) -> bool {
        self.is_silent_for(DEAD_AFTER, id, now)
    }

    /// Whether a replica that seems to be dead cannot have been kept from announcing itself by an API server that
    /// answered nobody: it has answered steadily for as long as it takes.
    pub(super) fn is_surely_dead(&mut self, id: ReplicaId, now: Instant) -> bool {
        let proven = self.answered.is_some_and(|(last, since)| {
            now.saturating_duration_since(last) <= STEADY && last.saturating_duration_since(since) >= PROOF
        });
        proven && self.is_dead(id, now)
    }

    fn is_silent_for(&mut self, time: Duration, id: ReplicaId, now: Instant) -> bool {
        let since = self.replicas.entry(id).or_insert(Entry { text: None, since: now }).since;
        let Some((_, steady)) = self.renewed.filter(|_| self.is_fresh(now)) else { return false };
        id != self.own && now.saturating_duration_since(since.max(steady)) >= time
    }

    /// The replicas that the Lease still names though they have been dead for as long again: time enough for everybody
    /// to clear up after them.
    pub(super) fn remains(&mut self, now: Instant) -> Vec<ReplicaId> {
        let named = self
            .replicas
            .iter()
            .filter(|(_, entry)| entry.text.is_some() && now.saturating_duration_since(entry.since) >= 2 * DEAD_AFTER);
        let named: Vec<ReplicaId> = named.map(|(id, _)| *id).collect();
        named.into_iter().filter(|id| self.is_dead(*id, now)).collect()
    }

    /// The replicas that the Lease names and that are not dead.
    pub(super) fn living(&mut self, now: Instant) -> BTreeSet<ReplicaId> {
        let named = self.replicas.iter().filter(|(_, entry)| entry.text.is_some());
        let named: Vec<ReplicaId> = named.map(|(id, _)| *id).collect();
        named.into_iter().filter(|id| !self.is_dead(*id, now)).collect()
    }
}

#[cfg(test)]
#[path = "registry_tests.rs"]
mod tests;
