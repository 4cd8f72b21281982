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

/// The Lease in a version, with what each replica says.
fn lease(version: u64, said: &[(ReplicaId, &str)]) -> Lease {
    let annotations: Map<String, Value> = said.iter().map(|(id, text)| (annotation(*id), json!(text))).collect();
    serde_json::from_value(json!({"metadata": {"resourceVersion": version.to_string(), "annotations": annotations}}))
        .unwrap()
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A registry of a replica that has announced itself every ten seconds until second 100, and has seen the other one say
/// `x` at second 60.
fn steady() -> (Registry, Instant) {
    let (mut registry, start) = (Registry::new(own()), Instant::now());
    registry.see(&lease(60, &[(own(), "o"), (other(), "x")]), start + seconds(60));
    for second in (0..=100).step_by(10) {
        registry.renewed(start + seconds(second));
    }
    (registry, start)
}

#[test]
fn a_replica_of_which_nothing_new_is_seen_dies() {
    let (mut registry, start) = steady();
    assert!(!registry.is_dead(other(), start + seconds(60) + DEAD_AFTER - seconds(1)));
    assert!(registry.is_dead(other(), start + seconds(60) + DEAD_AFTER));
    // Seen again as it was: no news.
    registry.see(&lease(61, &[(own(), "p"), (other(), "x")]), start + seconds(90));
    assert!(registry.is_dead(other(), start + seconds(90)));
    // It says something else, and lives.
    registry.see(&lease(62, &[(own(), "p"), (other(), "y")]), start + seconds(91));
    assert!(!registry.is_dead(other(), start + seconds(91)));
}

#[test]
fn what_is_seen_late_does_not_replace_what_is_newer() {
    let (mut registry, start) = steady();
    registry.see(&lease(59, &[(other(), "w")]), start + seconds(90));
    assert!(registry.is_dead(other(), start + seconds(90)));
}

#[test]
fn a_backup_that_was_restored_is_recognised() {
    let (mut registry, start) = steady();
    let known = registry.version();
    assert!(!registry.take(&lease(61, &[(own(), "o"), (other(), "x")]), known, start + seconds(65)));
    // What was on its way when something newer was seen is late, and nothing else.
    assert!(!registry.take(&lease(60, &[(other(), "w")]), known, start + seconds(66)));
    assert!(registry.is_dead(other(), start + seconds(60) + DEAD_AFTER));
    let known = registry.version();
    assert!(registry.take(&lease(7, &[(own(), "p"), (other(), "v")]), known, start + seconds(70)));
}

#[test]
fn nobody_dies_for_an_observer_that_was_cut_off_itself() {
    let (mut registry, start) = steady();
    // The last announcement is long ago.
    assert!(!registry.is_dead(other(), start + seconds(100) + GAP + seconds(1)));
    // It succeeds again: the others get as long as if they had just been seen.
    registry.renewed(start + seconds(200));
    assert!(!registry.is_dead(other(), start + seconds(210)));
    registry.renewed(start + seconds(210));
    registry.renewed(start + seconds(220));
    assert!(!registry.is_dead(other(), start + seconds(200) + DEAD_AFTER - seconds(1)));
    assert!(registry.is_dead(other(), start + seconds(200) + DEAD_AFTER));
}

#[test]
fn before_the_first_announcement_nobody_is_dead_and_a_replica_itself_never_is() {
    let (mut registry, start) = (Registry::new(own()), Instant::now());
    registry.see(&lease(1, &[(other(), "x")]), start);
    assert!(!registry.is_dead(other(), start + seconds(900)));
    assert!(!registry.is_fresh(start));
    let (mut registry, start) = steady();
    assert!(registry.is_fresh(start + seconds(100)));
    assert!(!registry.is_dead(own(), start + seconds(110)));
}

#[test]
fn a_replica_that_was_never_heard_of_dies_as_slowly_as_any() {
    let (mut registry, start) = steady();
    let stranger = id("0000000c");
    assert!(!registry.is_dead(stranger, start + seconds(85)));
    assert!(!registry.is_dead(stranger, start + seconds(85) + seconds(21)));
    assert!(registry.is_dead(stranger, start + seconds(85) + DEAD_AFTER));
}

#[test]
fn an_annotation_that_somebody_removes_is_no_death() {
    let (mut registry, start) = steady();
    registry.see(&lease(70, &[]), start + seconds(70));
    assert!(registry.is_missing());
    assert!(!registry.is_dead(other(), start + seconds(75)));
    registry.see(&lease(71, &[(own(), "q"), (other(), "z")]), start + seconds(76));
    assert!(!registry.is_missing());
    assert!(!registry.is_dead(other(), start + seconds(76) + DEAD_AFTER - seconds(1)));
}

#[test]
fn remains_are_removed_when_everybody_has_had_time() {
    let (mut registry, start) = steady();
    assert_eq!(registry.living(start + seconds(70)), [own(), other()].into());
    assert!(registry.remains(start + seconds(90)).is_empty());
    assert_eq!(registry.remains(start + seconds(60) + 2 * DEAD_AFTER), [other()]);
    assert_eq!(registry.living(start + seconds(104)), [own()].into());
    registry.see(&lease(104, &[(own(), "q")]), start + seconds(105));
    assert!(registry.remains(start + seconds(110)).is_empty());
}

#[test]
fn an_announcement_of_another_version_with_more_in_it_is_read() {
    let text = r#"{"pod": "c-1", "renewed": "now", "servedCa": 3}"#;
    let announcement: Announcement = serde_json::from_str(text).unwrap();
    assert_eq!(announcement.pod, "c-1");
}

#[test]
fn nobody_is_surely_dead_before_the_api_server_has_answered_steadily() {
    let (mut registry, start) = steady();
    let silent = start + seconds(60) + SILENT_AFTER;
    assert!(!registry.is_silent(other(), silent - seconds(1)));
    assert!(registry.is_silent(other(), silent));
    let dead = start + seconds(60) + DEAD_AFTER;
    for second in (0..8).step_by(2) {
        assert!(!registry.is_surely_dead(other(), dead + seconds(second)), "{second}");
        registry.answered(dead + seconds(second), dead + seconds(second));
    }
    assert!(registry.is_surely_dead(other(), dead + seconds(6)));
    assert!(!registry.is_surely_dead(other(), dead + seconds(6) + STEADY + Duration::from_millis(1)));
}

#[test]
fn an_answer_that_comes_late_begins_the_proof_anew() {
    let (mut registry, start) = steady();
    let dead = start + seconds(60) + DEAD_AFTER;
    for second in [0, 2, 4] {
        registry.answered(dead + seconds(second), dead + seconds(second));
    }
    // Asked in time, and answered when others have given up already.
    registry.answered(dead + seconds(6), dead + seconds(7));
    assert!(!registry.is_surely_dead(other(), dead + seconds(7)));
    for second in [8, 10, 12] {
        assert!(!registry.is_surely_dead(other(), dead + seconds(second)), "{second}");
        registry.answered(dead + seconds(second), dead + seconds(second));
    }
    assert!(registry.is_surely_dead(other(), dead + seconds(12)));
}
