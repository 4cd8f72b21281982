//! Sequences in which the model has found something once.

use super::event::{Event, Spoil};
use super::goes_well;

const LEADS: fn(usize) -> Event = |replica| Event::Leads { replica, alone: true };
const PASSES: fn(u64) -> Event = |seconds| Event::Passes { seconds, lagging: None };
const LAGS: fn(u64, usize) -> Event = |seconds, lagging| Event::Passes { seconds, lagging: Some(lagging) };

#[test]
fn a_leader_that_holds_nothing_waits_for_other_replicas_to_write_back() {
    for spoil in [Spoil::Expired, Spoil::Garbled, Spoil::KeyLost, Spoil::Deleted] {
        goes_well(&[LEADS(0), LAGS(12, 0), Event::Spoils(spoil), PASSES(13)]).unwrap();
    }
}

#[test]
fn a_replica_that_holds_nothing_does_not_adopt_what_was_revoked_from_a_backup() {
    let start = [PASSES(22), LEADS(1), Event::Restarts(0)];
    let revocations = [Event::Revokes, LAGS(82, 0), Event::Revokes, LAGS(54, 0), Event::Restarts(0)];
    for back in 2..4 {
        let end = [Event::Spoils(Spoil::Restored(back)), Event::Sees { replica: 0, latest: true }];
        let keeps = Event::Keeps { replica: 0, looks: true };
        let events: Vec<_> = start.iter().chain(&revocations).chain(&end).cloned().collect();
        goes_well(&[&*events, &[keeps, PASSES(18)]].concat()).unwrap();
    }
}

#[test]
fn a_replica_that_holds_nothing_does_not_adopt_what_is_two_generations_old() {
    let rotations = [
        LEADS(1),
        Event::Rotates,
        Event::Sees { replica: 1, latest: true },
        Event::Rotates,
        PASSES(36),
        LAGS(31, 2),
        PASSES(45),
        PASSES(24),
        PASSES(47),
        PASSES(29),
        PASSES(47),
        PASSES(31),
        PASSES(80),
    ];
    let end = [Event::Restarts(0), Event::Spoils(Spoil::Restored(6)), Event::Restarts(0), PASSES(18)];
    goes_well(&[&rotations[..], &end].concat()).unwrap();
}

#[test]
fn the_last_replica_that_knows_a_state_does_not_lag() {
    let starts = [PASSES(1), Event::Restarts(1), Event::Restarts(2), Event::Restarts(1)];
    let emptied = [LEADS(1), Event::Spoils(Spoil::Emptied), LAGS(5, 0)];
    let keeps = [Event::Reacts(1), Event::Keeps { replica: 1, looks: true }];
    goes_well(&[&starts[..], &emptied, &keeps].concat()).unwrap();
}

#[test]
fn a_replica_that_has_not_seen_any_bundle_does_not_take_itself_for_the_first() {
    let sees = Event::Sees { replica: 2, latest: true };
    let emptied = [LAGS(1, 2), Event::Spoils(Spoil::Emptied), sees.clone(), PASSES(18)];
    goes_well(&emptied).unwrap();
    // Nor if there is none any more, as long as another replica lives.
    let both = [LAGS(1, 2), Event::Spoils(Spoil::Emptied), Event::SpoilsBundle(""), sees, PASSES(18)];
    goes_well(&both).unwrap();
}
