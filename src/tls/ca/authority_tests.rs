use std::time::Duration;

use super::*;
use crate::tls::verify::verify;

const NAME: &str = "keeper.home.svc";

fn names() -> Names {
    Names::new("keeper", "home", "x")
}

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000)
}

/// The states of two rotations one after the other.
fn states() -> Vec<Authority> {
    let periods = Periods::default();
    let mut states = vec![Authority::mint(&names(), 1, &periods, now()).unwrap()];
    for _ in 0..2 {
        let stable = states.last().unwrap();
        let published = stable.published(&names(), &periods, now()).unwrap();
        let promoted = published.promoted().unwrap();
        let retired = promoted.retired();
        states.extend([published, promoted, retired]);
    }
    states
}

#[test]
fn what_is_served_in_one_phase_verifies_with_the_bundles_of_the_phases_around_it() {
    let states = states();
    for (index, served) in states.iter().enumerate() {
        let leaf = served.leaf(&names(), &Periods::default(), now()).unwrap();
        for around in &states[index.saturating_sub(1)..(index + 2).min(states.len())] {
            assert_eq!(verify(&leaf.chain, around.bundle().as_bytes(), NAME, now()), Ok(()), "{served:?} {around:?}");
        }
    }
    // Which is no matter of course.
    let first = states[0].leaf(&names(), &Periods::default(), now()).unwrap();
    assert!(verify(&first.chain, states[3].bundle().as_bytes(), NAME, now()).is_err());
}

#[test]
fn each_step_ranks_higher_and_a_promotion_does_not_change_the_bundle() {
    let states = states();
    assert!(states.windows(2).all(|pair| pair[0].rank() < pair[1].rank()), "{states:?}");
    assert_eq!(states[1].bundle(), states[2].bundle());
    let generations: Vec<_> = states.iter().map(Authority::last_generation).collect();
    assert_eq!(generations, [1, 2, 2, 2, 3, 3, 3]);
}

#[test]
fn after_a_revocation_nothing_that_was_signed_before_is_trusted() {
    let periods = Periods::default();
    for state in states() {
        let revoked = state.revoked(&names(), &periods, now()).unwrap();
        assert!(revoked.rank() > state.rank());
        let before = state.leaf(&names(), &periods, now()).unwrap();
        assert!(verify(&before.chain, revoked.bundle().as_bytes(), NAME, now()).is_err(), "{state:?}");
        // Who has not heard of it is not cut off.
        let after = revoked.leaf(&names(), &periods, now()).unwrap();
        for bundle in [state.bundle(), revoked.bundle()] {
            assert_eq!(verify(&after.chain, bundle.as_bytes(), NAME, now()), Ok(()), "{state:?}");
        }
    }
}

#[test]
fn a_previous_ca_says_when_it_expires() {
    let states = states();
    assert_eq!(states[2].previous_not_after(), Some(states[0].current.not_after));
    assert_eq!(states[0].previous_not_after(), None);
}
