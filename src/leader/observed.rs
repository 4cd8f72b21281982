//! Whether a replica may take the Lease, as a function of the states that it has seen and when.
//!
//! Clocks of different machines are not compared: a Lease has expired when this process has seen it unchanged for as
//! long as it is valid (as in client-go).

use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use tokio::time::Instant;

use super::record;
use crate::store::cache::version_of;

/// The states of the Lease that were seen.
#[derive(Clone, Debug, Default)]
pub(super) struct Observed {
    lease: Option<Lease>,
    /// Until when the last holder that was seen may lead.
    held_until: Option<Instant>,
}

/// What a replica that does not lead does.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Action {
    /// Creates the Lease: there is none.
    Create,
    /// Takes the Lease: it is free, or has expired.
    Take(Box<Lease>),
    /// Waits: another replica holds the Lease until then, unless it renews it.
    Wait(Instant),
}

impl Observed {
    /// Takes in a state that the watch has shown. One that was seen before is no renewal.
    pub(super) fn see(&mut self, lease: Option<Lease>, now: Instant) {
        let Some(lease) = lease else {
            // Its holder leads until its next renewal finds that it was deleted.
            self.lease = None;
            return;
        };
        if self.lease.as_ref().is_some_and(|known| version_of(known) >= version_of(&lease)) {
            return;
        }
        self.held_until = record::holder(&lease).map(|_| now + record::duration(&lease));
        self.lease = Some(lease);
    }

    /// Takes in the answer to a request that began when `known` was the version that was seen. An answer that is older
    /// shows that the store was restored from a backup: then the present state counts.
    pub(super) fn take(&mut self, lease: Option<Lease>, known: u64, now: Instant) {
        if lease.as_ref().is_some_and(|lease| version_of(lease) < known) {
            self.lease = None;
        }
        self.see(lease, now);
    }

    /// The version that was seen; 0 if there is none.
    pub(super) fn version(&self) -> u64 {
        self.lease.as_ref().map_or(0, version_of)
    }

    /// The holder of the Lease, if it has one.
    pub(super) fn holder(&self) -> Option<&str> {
        self.lease.as_ref().and_then(record::holder)
    }

    /// What the replica `own`, which does not lead, does now.
    pub(super) fn decide(&self, own: &str, now: Instant) -> Action {
        let held_until = self.held_until.filter(|until| now < *until && self.holder() != Some(own));
        match (held_until, &self.lease) {
            (Some(until), _) => Action::Wait(until),
            (None, Some(lease)) => Action::Take(Box::new(lease.clone())),
            (None, None) => Action::Create,
        }
    }
}

/// How long the next renewal may take, if the last that succeeded began at `renewed`. None if it is too late for one.
pub(super) fn remaining(renewed: Instant, now: Instant) -> Option<Duration> {
    (renewed + super::RENEW_DEADLINE).checked_duration_since(now).filter(|left| !left.is_zero())
}

#[cfg(test)]
mod tests {
    use super::super::{LEASE, RENEW_DEADLINE};
    use super::*;

    fn lease(version: &str, holder: &str) -> Lease {
        let mut lease = record::new("c", holder, k8s_openapi::jiff::Timestamp::UNIX_EPOCH);
        lease.metadata.resource_version = Some(version.to_owned());
        lease
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_expires_when_it_is_not_seen_to_change() {
        let start = Instant::now();
        let mut observed = Observed::default();
        assert_eq!(observed.decide("b", start), Action::Create);
        observed.see(Some(lease("1", "a")), start);
        assert_eq!(observed.decide("b", start), Action::Wait(start + LEASE));
        // Seen again after a restart of the watch: no renewal.
        observed.see(Some(lease("1", "a")), start + LEASE / 2);
        assert_eq!(observed.decide("b", start + LEASE), Action::Take(Box::new(lease("1", "a"))));
        observed.see(Some(lease("2", "a")), start + LEASE);
        assert_eq!(observed.decide("b", start + LEASE), Action::Wait(start + LEASE * 2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_released_lease_is_free_at_once() {
        let now = Instant::now();
        let mut observed = Observed::default();
        observed.see(Some(lease("1", "a")), now);
        observed.see(Some(lease("2", "")), now);
        assert_eq!((observed.holder(), observed.decide("b", now)), (None, Action::Take(Box::new(lease("2", "")))));
    }

    #[tokio::test(start_paused = true)]
    async fn a_replica_that_has_lost_a_lease_that_no_other_took_need_not_wait() {
        let now = Instant::now();
        let mut observed = Observed::default();
        observed.see(Some(lease("1", "b")), now);
        assert_eq!(observed.decide("b", now), Action::Take(Box::new(lease("1", "b"))));
        assert_eq!(observed.decide("c", now), Action::Wait(now + LEASE));
    }

    #[tokio::test(start_paused = true)]
    async fn an_older_state_that_a_watch_delivers_late_does_not_count() {
        let now = Instant::now();
        let mut observed = Observed::default();
        observed.see(Some(lease("10", "a")), now);
        observed.see(Some(lease("9", "")), now);
        assert_eq!(observed.holder(), Some("a"));
    }

    #[tokio::test(start_paused = true)]
    async fn an_older_state_that_the_api_server_answers_with_is_a_restored_one() {
        let now = Instant::now();
        let mut observed = Observed::default();
        observed.see(Some(lease("10", "a")), now);
        let known = observed.version();
        observed.take(Some(lease("4", "b")), known, now);
        assert_eq!((observed.holder(), observed.decide("c", now)), (Some("b"), Action::Wait(now + LEASE)));
        // An answer that was on its way when a newer state was seen is late, and not restored.
        observed.see(Some(lease("6", "a")), now);
        observed.take(Some(lease("5", "b")), known.min(4), now);
        assert_eq!(observed.holder(), Some("a"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_deleted_lease_is_created_anew_when_its_holder_must_have_stopped() {
        let now = Instant::now();
        let mut observed = Observed::default();
        observed.see(Some(lease("1", "a")), now);
        observed.see(None, now);
        assert_eq!(observed.decide("b", now), Action::Wait(now + LEASE));
        assert_eq!(observed.decide("b", now + LEASE), Action::Create);
    }

    #[tokio::test(start_paused = true)]
    async fn a_leader_stops_renewing_before_others_may_take_the_lease() {
        let renewed = Instant::now();
        assert_eq!(remaining(renewed, renewed), Some(RENEW_DEADLINE));
        assert_eq!(remaining(renewed, renewed + RENEW_DEADLINE), None);
        assert!(RENEW_DEADLINE < LEASE);
    }
}
