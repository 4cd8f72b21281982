use std::sync::Arc;

use k8s_openapi::jiff::Timestamp;
use serde_json::json;

use super::*;
use crate::api::Partition;
use crate::store::Kind;

fn member(index: i64, ready: &str, observed: i64) -> (i64, Member) {
    let partition: Partition = serde_json::from_value(json!({
        "apiVersion": "k8s.atomix.io/v1alpha1", "kind": "Partition",
        "metadata": {"name": format!("g-{index}"), "generation": 2}, "spec": {"protocol": "raft"},
        "status": {"observedGeneration": observed, "conditions": [{
            "type": "Ready", "status": ready, "reason": "PodsNotReady", "message": "m", "lastTransitionTime": "2020-01-01T00:00:00Z"}]},
    }))
    .unwrap();
    (
        index,
        Member {
            known: Arc::new(partition.cached()),
            addresses: vec!["10.0.0.1".to_owned()],
            available_in: None,
            pods: None,
            foreign: None,
            unwritten: None,
        },
    )
}

fn of(partitions: i64, members: Vec<(i64, Member)>, trouble: Option<&Trouble>) -> PartitionSetStatus {
    rolling(partitions, members, &[], "PartitionsNotReady", trouble)
}

/// The status of a set that holds back some partitions and was not ready before for a `reason`.
fn rolling(
    partitions: i64,
    members: Vec<(i64, Member)>,
    held: &[i64],
    reason: &str,
    trouble: Option<&Trouble>,
) -> PartitionSetStatus {
    let set: PartitionSet = serde_json::from_value(json!({
        "apiVersion": "k8s.atomix.io/v1alpha1", "kind": "PartitionSet",
        "metadata": {"name": "g", "generation": 7},
        "spec": {"partitions": partitions, "template": {"spec": {"protocol": "raft"}}},
        "status": {"conditions": [{"type": "Ready", "status": "False", "reason": reason, "message": "",
            "lastTransitionTime": "2020-01-01T00:00:00Z"}]},
    }))
    .unwrap();
    let existing = Existing { partitions: members.into_iter().collect(), ..Existing::default() };
    let rollout = Rollout { held: held.iter().copied().collect(), ..Rollout::default() };
    status(&set, &SetObject::from(&set), &existing, Some(&rollout), trouble, &Time(Timestamp::UNIX_EPOCH))
}

fn one_set(partitions: i64) -> PartitionSet {
    serde_json::from_value(json!({
        "apiVersion": "k8s.atomix.io/v1alpha1", "kind": "PartitionSet", "metadata": {"name": "g", "generation": 7},
        "spec": {"partitions": partitions, "template": {"spec": {"protocol": "raft"}}},
    }))
    .unwrap()
}

/// The status of a set with this rollout, or of one of which it was not looked at what it consists of.
fn with(
    partitions: i64,
    members: Vec<(i64, Member)>,
    rollout: Option<&Rollout>,
    trouble: Option<&Trouble>,
) -> PartitionSetStatus {
    let set = one_set(partitions);
    let existing = Existing { partitions: members.into_iter().collect(), ..Existing::default() };
    status(&set, &SetObject::from(&set), &existing, rollout, trouble, &Time(Timestamp::UNIX_EPOCH))
}

fn outline(status: &PartitionSetStatus) -> Vec<String> {
    status.conditions.iter().map(|c| format!("{}={} {}: {}", c.type_, c.status, c.reason, c.message)).collect()
}

#[test]
fn a_set_is_ready_when_every_partition_is() {
    let status = of(2, vec![member(1, "True", 2), member(2, "True", 2)], None);
    assert_eq!(outline(&status), ["Ready=True AllPartitionsReady: 2 of 2 partitions are ready"]);
    assert_eq!((status.partitions, status.ready_partitions, status.observed_generation), (2, 2, Some(7)));
}

#[test]
fn a_status_of_an_older_spec_does_not_count() {
    let status = of(2, vec![member(1, "True", 2), member(2, "True", 1)], None);
    assert_eq!(status.ready_partitions, 1);
    assert_eq!(
        outline(&status),
        [
            "Ready=False PartitionsNotReady: 1 of 2 partitions are ready; waiting for g-2",
            "Reconciling=True WaitingForPartitions: 1 of 2 partitions are ready; waiting for g-2",
        ]
    );
}

#[test]
fn a_partition_whose_new_template_is_refused_is_ready_and_not_up_to_date() {
    let refused = json!([
        {"type": "Ready", "status": "False", "reason": "InvalidPodTemplate", "message": "no", "lastTransitionTime": "2020-01-01T00:00:00Z"},
        {"type": "Stalled", "status": "True", "reason": "InvalidPodTemplate", "message": "no", "lastTransitionTime": "2020-01-01T00:00:00Z"}]);
    let mut member = member(1, "False", 2);
    conditions_of(&mut member, refused);
    let with = |ready: i64, addresses: &[&str]| {
        let mut member = member.clone();
        Arc::make_mut(&mut member.1.known).facts.status.as_mut().unwrap().ready_replicas = ready;
        member.1.addresses = addresses.iter().map(|&address| address.to_owned()).collect();
        of(1, vec![member], None)
    };
    let serving = with(1, &["10.0.0.1"]);
    assert_eq!(serving.ready_partitions, 1);
    let message = "1 of 1 partitions are ready; 0 of 1 are up to date; g-1: no";
    let expected = ["Ready=False", "Stalled=True"].map(|one| format!("{one} PartitionStalled: {message}"));
    assert_eq!(outline(&serving), expected);
    for down in [with(0, &["10.0.0.1"]), with(1, &[])] {
        assert_eq!(down.ready_partitions, 0);
        assert!(outline(&down)[0].ends_with("0 of 1 partitions are ready; g-1: no"));
    }
}

#[test]
fn partitions_that_keep_an_earlier_template_are_not_up_to_date_whatever_else_is_in_the_way() {
    let mut stuck = member(1, "False", 2);
    let stalled = json!([{"type": "Stalled", "status": "True", "reason": "EvictionRefused", "message": "no",
        "lastTransitionTime": "2020-01-01T00:00:00Z"}]);
    conditions_of(&mut stuck, stalled);
    let status = rolling(3, vec![stuck, member(2, "True", 2), member(3, "True", 2)], &[2, 3], "RollingOut", None);
    assert!(outline(&status)[0].ends_with("2 of 3 partitions are ready; 0 of 3 are up to date; g-1: no"), "{status:?}");
}

#[test]
fn what_is_missing_is_named_briefly() {
    let status = of(9, vec![member(1, "False", 2)], None);
    assert!(outline(&status)[0].ends_with("0 of 9 partitions are ready; waiting for g-1, g-2, g-3 and 6 more"));
}

#[test]
fn a_set_with_partitions_to_remove_is_not_ready() {
    let status = of(1, vec![member(1, "True", 2), member(2, "True", 2)], None);
    assert!(outline(&status)[0].contains("1 more are being removed"));
}

#[test]
fn the_status_of_a_set_that_was_not_examined_has_only_the_trouble() {
    let trouble = Trouble::new(true, "InvalidSpec", "why".to_owned());
    let status = with(1, vec![member(1, "True", 2)], None, Some(&trouble));
    assert_eq!(outline(&status), ["Ready=False InvalidSpec: why", "Stalled=True InvalidSpec: why"]);
    assert_eq!(status.ready_partitions, 1);
}

#[test]
fn trouble_hides_neither_the_counts_nor_a_rollout_nor_what_other_partitions_say() {
    let trouble = Trouble::new(true, "AnotherController", "why".to_owned());
    let mut stalled = member(3, "False", 2);
    conditions_of(
        &mut stalled,
        json!([{"type": "Stalled", "status": "True", "reason": "R", "message": "no",
        "lastTransitionTime": "2020-01-01T00:00:00Z"}]),
    );
    let mut bad = member(2, "False", 2);
    conditions_of(
        &mut bad,
        json!([{"type": "Ready", "status": "False", "reason": "ImagePullFailed", "message": "no image",
            "lastTransitionTime": "2020-01-01T00:00:00Z"}]),
    );
    let members = || vec![member(1, "True", 2), bad.clone(), stalled.clone(), member(4, "True", 2)];
    let conditions_of =
        |trouble: &Trouble| outline(&rolling(4, members(), &[4], "RollingOut", Some(trouble)))[1].clone();
    let message = "2 of 4 partitions are ready; 1 of 4 are up to date; why; g-3: no; waiting for g-2; g-2: no image";
    assert_eq!(conditions_of(&trouble), format!("Stalled=True AnotherController: {message}"));
    // What passes by itself hides no partition that needs help.
    let passing = Trouble::new(false, "QuotaExceeded", "why".to_owned());
    assert_eq!(conditions_of(&passing), format!("Stalled=True PartitionStalled: {message}"));
    let status = of(1, vec![member(1, "True", 2)], Some(&passing));
    assert_eq!(outline(&status)[1], "Reconciling=True QuotaExceeded: 1 of 1 partitions are ready; why");
}

/// A partition whose status is true and not this controller's, or not up to date, and what its pods are.
fn unreported(index: i64, unwritten: Option<&str>, whole: bool, outdated: bool) -> (i64, Member) {
    let (index, mut member) = member(index, "True", 2);
    member.unwritten = unwritten.map(ToOwned::to_owned);
    member.foreign = unwritten.is_none().then(|| "ops.other".to_owned());
    member.pods = Some(PodsOf { whole, outdated, mixed: false });
    (index, member)
}

#[test]
fn a_partition_whose_status_is_refused_stalls_its_set_with_the_words_of_the_refusal_and_counts_by_its_pods() {
    for (whole, outdated, counted) in [
        (true, false, "1 of 1 partitions are ready"),
        (true, true, "1 of 1 partitions are ready; 0 of 1 are up to date"),
        (false, false, "0 of 1 partitions are ready"),
    ] {
        let status = of(1, vec![unreported(1, Some("denied"), whole, outdated)], None);
        let why = "g-1: its status is not up to date, since it cannot be written: denied";
        let conditions_of =
            ["Ready=False", "Stalled=True"].map(|one| format!("{one} PartitionStalled: {counted}; {why}"));
        assert_eq!(outline(&status), conditions_of);
        assert_eq!(status.ready_partitions, i64::from(whole));
    }
}

#[test]
fn a_partition_that_another_controller_runs_counts_by_its_pods() {
    let trouble = Trouble::new(true, "AnotherController", "why".to_owned());
    let status = of(2, vec![unreported(1, None, false, false), member(2, "True", 2)], Some(&trouble));
    assert!(outline(&status)[0].ends_with("1 of 2 partitions are ready; why; waiting for g-1"), "{status:?}");
    assert_eq!(status.ready_partitions, 1);
    let rollout = Rollout { left_alone: [1].into(), ..Rollout::default() };
    let members = || vec![unreported(1, None, true, false), member(2, "True", 2)];
    let status = with(2, members(), Some(&rollout), Some(&trouble));
    assert!(outline(&status)[0].ends_with("2 of 2 partitions are ready; 1 of 2 are up to date; why"), "{status:?}");
}

#[test]
fn a_set_of_one_partition_rolls_out_too() {
    let changes = Rollout { changes: true, ..Rollout::default() };
    let conditions_of = |members, rollout: &Rollout| outline(&with(1, members, Some(rollout), None))[1].clone();
    let message = "0 of 1 partitions are up to date; waiting for g-1: m";
    assert_eq!(conditions_of(vec![member(1, "False", 2)], &changes), format!("Reconciling=True RollingOut: {message}"));
    // Whatever has been conditions_of in between.
    let mut rolls = member(1, "False", 2);
    rolls.1.pods = Some(PodsOf { whole: false, outdated: true, mixed: true });
    assert_eq!(conditions_of(vec![rolls], &Rollout::default()), format!("Reconciling=True RollingOut: {message}"));
    let lost = conditions_of(vec![member(1, "False", 2)], &Rollout::default());
    assert!(lost.starts_with("Reconciling=True WaitingForPartitions: "), "{lost}");
}

#[test]
fn a_set_that_holds_partitions_back_is_not_ready_even_if_all_of_them_are() {
    let members = || vec![member(1, "True", 2), member(2, "True", 2), member(3, "True", 2)];
    let status = rolling(3, members(), &[2, 3], "PartitionsNotReady", None);
    let message = "1 of 3 partitions are up to date; the next one waits until all others have been ready for a while";
    let expected = ["Ready=False", "Reconciling=True"].map(|one| format!("{one} RollingOut: {message}"));
    assert_eq!(outline(&status), expected);
    assert_eq!(status.ready_partitions, 3);
    assert_eq!(
        outline(&rolling(3, members(), &[], "RollingOut", None))[0],
        "Ready=True AllPartitionsReady: 3 of 3 partitions are ready"
    );
}

#[test]
fn a_rollout_says_which_partition_it_waits_for_and_why_until_the_last_one_is_ready() {
    let members = || vec![member(1, "True", 2), member(2, "False", 2), member(3, "True", 2)];
    for (held, done) in [(&[3][..], 1), (&[][..], 2)] {
        let status = rolling(3, members(), held, "RollingOut", None);
        let message = format!("{done} of 3 partitions are up to date; waiting for g-2: m");
        assert_eq!(outline(&status)[0], format!("Ready=False RollingOut: {message}"));
    }
}

#[test]
fn what_a_partition_knows_of_its_pods_shows_in_the_set() {
    let mut failing = member(2, "False", 2);
    let status = Arc::make_mut(&mut failing.1.known).facts.status.as_mut().unwrap();
    status.conditions[0].reason = "PodUnschedulable".to_owned();
    let status = of(2, vec![member(1, "True", 2), failing], None);
    assert!(outline(&status)[0].ends_with("1 of 2 partitions are ready; waiting for g-2; g-2: m"));
}

fn conditions_of(member: &mut (i64, Member), conditions: serde_json::Value) {
    let known = Arc::make_mut(&mut member.1.known);
    known.facts.status.as_mut().unwrap().conditions = serde_json::from_value(conditions).unwrap();
}

#[test]
fn what_has_stalled_an_earlier_spec_of_a_partition_does_not_count() {
    let stalled = json!([{"type": "Stalled", "status": "True", "reason": "InvalidPodTemplate", "message": "no",
        "lastTransitionTime": "2020-01-01T00:00:00Z"}]);
    let (mut now, mut earlier) = (member(1, "False", 2), member(1, "False", 1));
    conditions_of(&mut now, stalled.clone());
    conditions_of(&mut earlier, stalled);
    assert!(outline(&of(1, vec![now], None))[1].starts_with("Stalled=True PartitionStalled: "));
    assert!(outline(&of(1, vec![earlier], None))[1].starts_with("Reconciling=True WaitingForPartitions: "));
}

#[test]
fn of_several_partitions_that_are_not_ready_the_one_in_trouble_is_named() {
    let mut bad = member(2, "False", 2);
    conditions_of(
        &mut bad,
        json!([{"type": "Ready", "status": "False", "reason": "ImagePullFailed", "message": "no image",
            "lastTransitionTime": "2020-01-01T00:00:00Z"}]),
    );
    let members = || vec![member(1, "False", 2), bad.clone(), member(3, "True", 2)];
    assert!(outline(&of(3, members(), None))[0].ends_with("waiting for g-1, g-2; g-2: no image"));
    let status = rolling(3, members(), &[3], "RollingOut", None);
    assert!(outline(&status)[0].ends_with("waiting for g-2: no image"), "{status:?}");
}
