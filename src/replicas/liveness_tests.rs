use serde_json::{Map, Value, json};

use super::*;

fn id(text: &str) -> ReplicaId {
    ReplicaId::parse(text).unwrap()
}

fn own() -> ReplicaId {
    id("0000000a")
}

fn other() -> ReplicaId {
    id("0000000b")
}

/// The Lease in a version, with the announcement of each replica.
fn lease(version: u64, announcements: &[(ReplicaId, &str)]) -> Lease {
    let annotations: Map<String, Value> =
        announcements.iter().map(|(id, text)| (annotation(*id), json!(text))).collect();
    serde_json::from_value(json!({"metadata": {"resourceVersion": version.to_string(), "annotations": annotations}}))
        .unwrap()
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// The view of a replica that has announced itself every ten seconds until second 100, and has seen the announcement `x`
/// of the other one at second 60.
fn steady() -> (Liveness, Instant) {
    let (mut liveness, start) = (Liveness::new(own()), Instant::now());
    liveness.see(&lease(60, &[(own(), "o"), (other(), "x")]), start + seconds(60));
    for second in (0..=100).step_by(10) {
        liveness.announced(start + seconds(second));
    }
    (liveness, start)
}

#[test]
fn a_replica_without_a_new_announcement_dies() {
    let (mut liveness, start) = steady();
    assert!(!liveness.is_dead(other(), start + seconds(60) + DEAD_AFTER - seconds(1)));
    assert!(liveness.is_dead(other(), start + seconds(60) + DEAD_AFTER));
    // Seen again as it was.
    liveness.see(&lease(61, &[(own(), "p"), (other(), "x")]), start + seconds(90));
    assert!(liveness.is_dead(other(), start + seconds(90)));
    // A new announcement.
    liveness.see(&lease(62, &[(own(), "p"), (other(), "y")]), start + seconds(91));
    assert!(!liveness.is_dead(other(), start + seconds(91)));
}

#[test]
fn an_older_state_does_not_replace_a_newer_one() {
    let (mut liveness, start) = steady();
    liveness.see(&lease(59, &[(other(), "w")]), start + seconds(90));
    assert!(liveness.is_dead(other(), start + seconds(90)));
}

#[test]
fn a_backup_that_was_restored_is_recognised() {
    let (mut liveness, start) = steady();
    let known = liveness.version();
    assert!(!liveness.take(&lease(61, &[(own(), "o"), (other(), "x")]), known, start + seconds(65)));
    // An answer that was on its way when a newer state was seen is late.
    assert!(!liveness.take(&lease(60, &[(other(), "w")]), known, start + seconds(66)));
    assert!(liveness.is_dead(other(), start + seconds(60) + DEAD_AFTER));
    let known = liveness.version();
    assert!(liveness.take(&lease(7, &[(own(), "p"), (other(), "v")]), known, start + seconds(70)));
}

#[test]
fn no_replica_dies_for_an_observer_that_was_cut_off_itself() {
    let (mut liveness, start) = steady();
    // The last announcement is long ago.
    assert!(!liveness.is_dead(other(), start + seconds(100) + GAP + seconds(1)));
    // It succeeds again: the others get as long as if they had just been seen.
    liveness.announced(start + seconds(200));
    assert!(!liveness.is_dead(other(), start + seconds(210)));
    liveness.announced(start + seconds(210));
    liveness.announced(start + seconds(220));
    assert!(!liveness.is_dead(other(), start + seconds(200) + DEAD_AFTER - seconds(1)));
    assert!(liveness.is_dead(other(), start + seconds(200) + DEAD_AFTER));
}

#[test]
fn before_the_first_announcement_no_replica_is_dead_and_the_observer_never_is() {
    let (mut liveness, start) = (Liveness::new(own()), Instant::now());
    liveness.see(&lease(1, &[(other(), "x")]), start);
    assert!(!liveness.is_dead(other(), start + seconds(900)));
    assert!(!liveness.is_fresh(start));
    let (liveness, start) = steady();
    assert!(liveness.is_fresh(start + seconds(100)));
    assert!(!liveness.is_dead(own(), start + seconds(110)));
}

#[test]
fn a_replica_that_was_never_announced_dies_as_slowly_as_any() {
    let (mut liveness, start) = steady();
    let stranger = id("0000000c");
    liveness.observe(stranger, start + seconds(85));
    assert!(!liveness.is_dead(stranger, start + seconds(85)));
    assert!(!liveness.is_dead(stranger, start + seconds(85) + seconds(21)));
    assert!(liveness.is_dead(stranger, start + seconds(85) + DEAD_AFTER));
}

#[test]
fn a_replica_whose_annotation_is_removed_does_not_die_at_once() {
    let (mut liveness, start) = steady();
    liveness.see(&lease(70, &[]), start + seconds(70));
    assert!(liveness.is_missing());
    assert!(!liveness.is_dead(other(), start + seconds(75)));
    liveness.see(&lease(71, &[(own(), "q"), (other(), "z")]), start + seconds(76));
    assert!(!liveness.is_missing());
    assert!(!liveness.is_dead(other(), start + seconds(76) + DEAD_AFTER - seconds(1)));
}

#[test]
fn announcements_of_dead_replicas_expire_when_all_others_have_had_time() {
    let (mut liveness, start) = steady();
    assert_eq!(liveness.living(start + seconds(70)).count(), 2);
    assert!(liveness.expired(start + seconds(90)).is_empty());
    assert_eq!(liveness.expired(start + seconds(60) + 2 * DEAD_AFTER), [other()]);
    assert_eq!(liveness.living(start + seconds(104)).count(), 1);
    liveness.see(&lease(104, &[(own(), "q")]), start + seconds(105));
    assert!(liveness.expired(start + seconds(110)).is_empty());
}

#[test]
fn no_replica_is_surely_dead_before_the_api_server_has_answered_steadily() {
    let (mut liveness, start) = steady();
    let silent = start + seconds(60) + SILENT_AFTER;
    assert!(!liveness.is_silent(other(), silent - seconds(1)));
    assert!(liveness.is_silent(other(), silent));
    let dead = start + seconds(60) + DEAD_AFTER;
    for second in (0..8).step_by(2) {
        assert!(!liveness.is_surely_dead(other(), dead + seconds(second)), "{second}");
        liveness.answered(dead + seconds(second), dead + seconds(second));
    }
    assert!(liveness.is_surely_dead(other(), dead + seconds(6)));
    assert!(!liveness.is_surely_dead(other(), dead + seconds(6) + STEADY + Duration::from_millis(1)));
}

#[test]
fn an_answer_that_comes_late_begins_the_proof_anew() {
    let (mut liveness, start) = steady();
    let dead = start + seconds(60) + DEAD_AFTER;
    for second in [0, 2, 4] {
        liveness.answered(dead + seconds(second), dead + seconds(second));
    }
    // A call that begins in time, and is answered when other replicas have given up theirs.
    liveness.answered(dead + seconds(6), dead + seconds(7));
    assert!(!liveness.is_surely_dead(other(), dead + seconds(7)));
    for second in [8, 10, 12] {
        assert!(!liveness.is_surely_dead(other(), dead + seconds(second)), "{second}");
        liveness.answered(dead + seconds(second), dead + seconds(second));
    }
    assert!(liveness.is_surely_dead(other(), dead + seconds(12)));
}
