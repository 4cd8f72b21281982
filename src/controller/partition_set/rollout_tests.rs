use std::sync::Arc;

use serde_json::json;

use super::*;
use crate::controller::partition::PodsOf;
use crate::store::Kind;

/// Partitions of three by a word each: `down`, `degraded` with two pods, `halfway` if it is so in the midst of a change,
/// `between` if it has all pods, of two templates, `stalled` if it has all pods and needs help, `foreign` if it has all
/// pods and another controller runs it, `missing`, or how many seconds more it has to be ready before it counts.
fn existing(partitions: &[&str]) -> Existing {
    let found = partitions.iter().zip(1..).filter(|(word, _)| **word != "missing");
    let member = |(word, index): (&&str, i64)| {
        let available_in = word.parse().ok().filter(|left| *left > 0).map(Duration::from_secs);
        let is_ready = word.parse::<u64>().is_ok();
        let partition: Partition = serde_json::from_value(json!({
            "apiVersion": "k8s.atomix.io/v1alpha1", "kind": "Partition",
            "metadata": {"name": format!("g-{index}"), "generation": 2}, "spec": {"protocol": "raft", "size": 3},
            "status": {"observedGeneration": 2, "readyReplicas": if matches!(*word, "down") { 1 } else { 2 }, "conditions": [{
                "type": "Ready", "status": if is_ready { "True" } else { "False" }, "reason": "R", "message": "m",
                "lastTransitionTime": "2020-01-01T00:00:00Z"}, {
                "type": if *word == "stalled" { "Stalled" } else { "Other" }, "status": "True", "reason": "R",
                "message": "m", "lastTransitionTime": "2020-01-01T00:00:00Z"}]},
        }))
        .unwrap();
        let mixed = matches!(*word, "halfway" | "between");
        let whole = matches!(*word, "stalled" | "foreign" | "between");
        let pods = Some(PodsOf { whole, outdated: mixed, mixed });
        let foreign = (*word == "foreign").then(|| "other".to_owned());
        let known = Arc::new(partition.cached());
        (index, Member { known, addresses: Vec::new(), available_in, pods, foreign, unwritten: None })
    };
    Existing { partitions: found.map(member).collect(), ..Existing::default() }
}

/// What is held back of a change of the partitions `changed`.
fn held(partitions: &[&str], changed: &[i64], most: i64) -> (Vec<i64>, Option<u64>) {
    let count = i64::try_from(partitions.len()).unwrap();
    let Rollout { held, again, .. } = hold(&existing(partitions), count, changed, most);
    (held.into_iter().collect(), again.map(|again| again.as_secs()))
}

#[test]
fn so_many_partitions_change_at_once_and_the_lowest_first() {
    assert_eq!(held(&["0", "0", "0"], &[1, 2, 3], 1), (vec![2, 3], None));
    assert_eq!(held(&["0", "0", "0"], &[1, 2, 3], 2), (vec![3], None));
    assert_eq!(held(&["0", "0", "0"], &[1, 2, 3], 3), (vec![], None));
    assert_eq!(held(&["0", "0", "0"], &[2, 3], 1), (vec![3], None));
    assert_eq!(held(&["0", "0", "0"], &[], 1), (vec![], None));
}

#[test]
fn while_one_is_down_no_other_goes() {
    assert_eq!(held(&["down", "0", "0"], &[2, 3], 1), (vec![2, 3], None));
    assert_eq!(held(&["down", "0", "0"], &[2, 3], 2), (vec![3], None));
    assert_eq!(held(&["missing", "0", "0"], &[2, 3], 1), (vec![2, 3], None));
}

#[test]
fn a_fix_reaches_every_partition_that_is_down() {
    assert_eq!(held(&["down", "0", "down"], &[1, 2, 3], 1), (vec![2], None));
}

#[test]
fn partitions_that_work_with_some_of_their_pods_go_first_and_no_more_at_once() {
    // As when their nodes are drained: what is wrong with the new template must not reach them all.
    assert_eq!(held(&["degraded", "degraded", "degraded"], &[1, 2, 3], 1), (vec![2, 3], None));
    assert_eq!(held(&["0", "degraded", "0"], &[1, 2, 3], 1), (vec![1, 3], None));
    assert_eq!(held(&["degraded", "degraded", "0"], &[2, 3], 1), (vec![2, 3], None));
    assert_eq!(held(&["degraded", "degraded", "0"], &[1, 2, 3], 2), (vec![3], None));
}

#[test]
fn a_correction_reaches_the_partition_that_is_halfway_through_an_earlier_change() {
    // Others wait for it, whatever else is degraded.
    assert_eq!(held(&["degraded", "halfway", "0"], &[1, 2, 3], 1), (vec![1, 3], None));
    assert_eq!(held(&["degraded", "halfway", "0"], &[1, 2, 3], 2), (vec![3], None));
    assert_eq!(held(&["degraded", "halfway", "0"], &[2, 3], 1), (vec![3], None));
    // One that has all pods goes on only when the degraded one is whole.
    assert_eq!(held(&["degraded", "between", "0"], &[1, 3], 1), (vec![3], None));
    // One whose earlier template is refused has all its pods, and the rollout stands at it all the same.
    assert_eq!(held(&["degraded", "stalled", "0"], &[1, 2, 3], 1), (vec![1, 3], None));
    assert_eq!(held(&["halfway", "stalled", "0"], &[1, 2, 3], 1), (vec![2, 3], None));
}

#[test]
fn one_that_another_controller_runs_is_waited_for_only_while_its_pods_are_down() {
    assert_eq!(held(&["foreign", "0", "0"], &[2, 3], 1), (vec![3], None));
    assert_eq!(held(&["degraded", "0", "0"], &[2, 3], 1), (vec![2, 3], None));
}

#[test]
fn a_partition_counts_when_it_has_been_ready_for_long_enough() {
    assert_eq!(held(&["3", "0", "0"], &[2, 3], 1), (vec![2, 3], Some(3)));
    assert_eq!(held(&["0", "0", "0"], &[2, 3], 1), (vec![3], None));
    // Nor does one that has not been ready for long go itself.
    assert_eq!(held(&["3", "0", "0"], &[1, 2, 3], 2), (vec![1, 3], Some(3)));
}

#[test]
fn only_what_shows_in_pods_replaces_them() {
    let partition = |patch: serde_json::Value| -> Partition {
        let mut partition = json!({
            "apiVersion": "k8s.atomix.io/v1alpha1", "kind": "Partition",
            "metadata": {"labels": {"team": "x", "app": "atomix"}, "annotations": {"note": "n"}},
            "spec": {
                "protocol": "log", "size": 3, "image": "i",
                "templateMetadata": {"labels": {"team": "x", "app": "mine"}, "annotations": {"note": "n"}},
            },
        });
        for (pointer, value) in patch.as_object().unwrap() {
            let (parent, field) = pointer.rsplit_once('/').unwrap();
            partition.pointer_mut(parent).unwrap()[field] = value.clone();
        }
        serde_json::from_value(partition).unwrap()
    };
    let current = partition(json!({})).cached();
    for (patch, replaces) in [
        (json!({}), false),
        (json!({"/spec/templateMetadata/annotations/note": "other"}), false),
        (json!({"/spec/templateMetadata/labels/app": "stranger"}), false),
        (json!({"/spec/persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Delete"}}), false),
        (json!({"/spec/templateMetadata/labels/team": "y"}), true),
        (json!({"/spec/templateMetadata/labels/new": "y"}), true),
        (json!({"/metadata/labels/cost": "theirs"}), false),
        (json!({"/spec/ipFamilyPolicy": "PreferDualStack", "/spec/ipFamilies": ["IPv4", "IPv6"]}), false),
        (json!({"/spec/image": "j"}), true),
        (json!({"/spec/config": "{}"}), true),
        (json!({"/spec/env": [{"name": "A"}]}), true),
        // The members are in the nodes' configuration file.
        (json!({"/spec/size": 2}), true),
    ] {
        assert_eq!(replaces_pods(&current, &partition(patch.clone())), replaces, "{patch}");
    }
    assert!(replaces_pods(
        &current,
        &partition(json!({"/spec/templateMetadata/annotations": {"k8s.atomix.io/member-ports": "split"}}))
    ));
    let wanted = partition(json!({}));
    // An earlier version took the labels of the pods from the Partition's own.
    let earlier = |labels: serde_json::Value| {
        let mut partition = partition(json!({"/metadata/labels": labels}));
        partition.spec.template_metadata = None;
        replaces_pods(&partition.cached(), &wanted)
    };
    assert!(!earlier(json!({"team": "x", "cost": "theirs"})));
    assert!(earlier(json!({"team": "y"})));
}
