#![allow(clippy::needless_pass_by_value, reason = "fixtures read best with literals")]

use std::collections::BTreeMap;
use std::sync::Arc;

use kube::ResourceExt;
use serde_json::json;

use super::super::member::foreign;
use super::*;
use crate::controller::settings;
use crate::store::Kind;
use crate::store::cached::Published;
use crate::store::fields::FieldSet;

// Names unlike the product's, so that a name in the wrong place shows.
fn set(partitions: i64, annotations: serde_json::Value) -> PartitionSet {
    serde_json::from_value(json!({
        "apiVersion": "k8s.atomix.io/v1alpha1", "kind": "PartitionSet",
        "metadata": {"name": "g", "namespace": "ns", "uid": "set-uid", "generation": 18, "annotations": annotations},
        "spec": {"partitions": partitions, "template": {
            "metadata": {"labels": {"team": "x", "app": "mine"}, "annotations": {"note": "n"}},
            "spec": {"size": 3, "protocol": "raft"}}},
    }))
    .unwrap()
}

fn planned(set: &PartitionSet, existing: &Existing) -> Plan {
    let mut object = SetObject::from(set);
    assert!(crate::rules::judge::stored(&mut object).is_empty());
    plan(set, &object, existing, &settings::fixture())
}

/// Partitions 1 to `count` as `set` wants them, with a Service each for the first `reachable`.
fn existing(set: &PartitionSet, count: i64, reachable: i64) -> Existing {
    let wanted = planned(
        &PartitionSet {
            spec: crate::api::PartitionSetSpec { partitions: Some(count), ..set.spec.clone() },
            ..set.clone()
        },
        &Existing::default(),
    );
    let member = |(partition, index): (Desired<Partition>, i64)| {
        let mut partition = partition.object;
        partition.metadata.uid = Some(format!("uid-{index}"));
        let known = partition.cached();
        let addresses = if index <= reachable { vec![format!("10.0.0.{index}")] } else { Vec::new() };
        (
            index,
            Member {
                known: Arc::new(known),
                addresses,
                available_in: None,
                pods: None,
                foreign: None,
                unwritten: None,
            },
        )
    };
    Existing { partitions: wanted.partitions.into_iter().zip(1..).map(member).collect(), ..Existing::default() }
}

fn names_of(plan: &Plan) -> Vec<String> {
    plan.partitions.iter().map(|partition| partition.object.name_any()).collect()
}

fn endpoint_names(plan: &Plan) -> Vec<String> {
    let endpoints = plan.endpoints.iter().flat_map(|endpoints| &endpoints.slices[0].object.endpoints);
    endpoints.filter_map(|endpoint| endpoint.hostname.clone()).collect()
}

#[test]
fn a_new_set_gets_its_partitions_and_no_endpoints_yet() {
    let plan = planned(&set(3, json!({})), &Existing::default());
    let names: Vec<String> = names_of(&plan);
    assert_eq!(names, ["g-1", "g-2", "g-3"]);
    assert!(plan.endpoints.is_none() && plan.surplus.is_empty() && plan.refused.is_empty());
}

#[test]
fn template_labels_and_annotations_reach_each_partition_and_are_not_shared() {
    // The original dropped the annotations and shared one label map between all partitions.
    let plan = planned(&set(2, json!({})), &Existing::default());
    for (partition, index) in plan.partitions.iter().zip(1..) {
        let labels = partition.object.labels();
        assert_eq!(labels["partition"], index.to_string());
        assert_eq!((labels["team"].as_str(), labels["app"].as_str(), labels["group"].as_str()), ("x", "atomix", "g"));
        let annotations = partition.object.annotations();
        assert_eq!(annotations["k8s.atomix.io/partition"], index.to_string());
        assert_eq!((annotations["note"].as_str(), annotations["k8s.atomix.io/controller"].as_str()), ("n", "ops.atx"));
    }
}

#[test]
fn a_partial_list_of_partitions_is_never_published() {
    let set = set(3, json!({}));
    for reachable in 0..3 {
        assert!(planned(&set, &existing(&set, 3, reachable)).endpoints.is_none());
    }
    let plan = planned(&set, &existing(&set, 3, 3));
    assert_eq!(endpoint_names(&plan), ["g-1", "g-2", "g-3"]);
    assert!(plan.partitions.is_empty());
}

#[test]
fn endpoints_are_ordered_by_index_and_ready() {
    let set = set(11, json!({}));
    let plan = planned(&set, &existing(&set, 11, 11));
    assert_eq!(endpoint_names(&plan).last().map(String::as_str), Some("g-11"));
    let slice = &plan.endpoints.as_ref().unwrap().slices[0].object;
    assert!(slice.endpoints.iter().all(|e| e.conditions.as_ref().unwrap().ready == Some(true)));
    assert_eq!(slice.ports.as_ref().unwrap().len(), 1);
    assert_eq!(slice.metadata.labels.as_ref().unwrap()["endpointslice.kubernetes.io/managed-by"], "atx.k8s.atomix.io");
}

#[test]
fn growing_keeps_the_old_endpoints_until_all_new_partitions_are_reachable() {
    let bigger = set(4, json!({}));
    let plan = planned(&bigger, &existing(&bigger, 2, 2));
    assert_eq!(plan.partitions.len(), 2);
    assert!(plan.endpoints.is_none());
    assert_eq!(endpoint_names(&planned(&bigger, &existing(&bigger, 4, 4))).len(), 4);
}

#[test]
fn shrinking_drops_the_endpoints_first_and_the_highest_partitions() {
    let smaller = set(1, json!({"k8s.atomix.io/allow-partition-removal": "1@17"}));
    let plan = planned(&smaller, &existing(&smaller, 3, 3));
    assert_eq!(endpoint_names(&plan), ["g-1"]);
    assert_eq!(plan.surplus, [3, 2]);
}

#[test]
fn without_the_users_consent_nothing_is_removed_and_all_stay_reachable() {
    for consent in [None, Some("1"), Some("2@17"), Some("1@19"), Some("yes")] {
        let annotations =
            consent.map_or(json!({}), |consent| json!({"k8s.atomix.io/allow-partition-removal": consent}));
        let smaller = set(1, annotations);
        let plan = planned(&smaller, &existing(&smaller, 3, 3));
        let [trouble] = plan.refused.as_slice() else { panic!("{consent:?}: {:?}", plan.refused) };
        assert_eq!((trouble.reason, plan.surplus.len()), ("PartitionRemovalNotAllowed", 0));
        assert!(trouble.message.ends_with(r#"k8s.atomix.io/allow-partition-removal: "1@18""#), "{}", trouble.message);
        assert_eq!(endpoint_names(&plan).len(), 3);
    }
}

#[test]
fn the_value_that_a_refusal_prints_is_a_consent() {
    let refused = set(1, json!({}));
    let existing = existing(&refused, 3, 3);
    let message = planned(&refused, &existing).refused[0].message.clone();
    let value = message.rsplit('"').nth(1).unwrap();
    let agreed = planned(&set(1, json!({"k8s.atomix.io/allow-partition-removal": value})), &existing);
    assert_eq!((agreed.surplus.len(), agreed.refused.len()), (2, 0));
}

#[test]
fn only_partitions_that_differ_are_written() {
    let before = set(3, json!({}));
    let existing = existing(&before, 3, 3);
    let mut after = before.clone();
    after.spec.template.spec.image = Some("new".to_owned());
    assert!(planned(&before, &existing).partitions.is_empty());
    assert_eq!(planned(&after, &existing).partitions.len(), 3);
}

/// As if another controller ran these partitions, for a spec that no set has.
fn handed_over(existing: &mut Existing, indices: &[i64]) {
    for index in indices {
        let member = existing.partitions.get_mut(index).unwrap();
        let mut known = (*member.known).clone();
        let annotations = known.facts.metadata.annotations.as_mut().unwrap();
        annotations.insert("k8s.atomix.io/controller".to_owned(), "ops.other".to_owned());
        known.fields = FieldSet::default();
        member.foreign = foreign(&known.facts, &settings::fixture());
        member.known = Arc::new(known);
    }
}

#[test]
fn a_partition_that_names_another_controller_is_neither_written_nor_deleted() {
    let smaller = set(2, json!({"k8s.atomix.io/allow-partition-removal": "2@17"}));
    let mut existing = existing(&smaller, 4, 4);
    assert!(!existing.is_run_by_another());
    handed_over(&mut existing, &[1, 3]);
    let plan = planned(&smaller, &existing);
    assert!(plan.partitions.is_empty(), "{:?}", plan.partitions);
    assert_eq!(plan.surplus, [4]);
    assert_eq!(endpoint_names(&plan), ["g-1", "g-2"]);
    let [trouble] = plan.refused.as_slice() else { panic!("{:?}", plan.refused) };
    assert!(trouble.stalled);
    let message = r#"Partitions "g-1", "g-3" are left alone: their annotation k8s.atomix.io/controller names another controller, "ops.other""#;
    assert_eq!(trouble.message, message);

    assert!(!existing.is_run_by_another());
    handed_over(&mut existing, &[2, 4]);
    assert!(existing.is_run_by_another());
    assert!(!Existing::default().is_run_by_another());
}

#[test]
fn a_partition_that_names_no_controller_is_ours_and_gets_our_name() {
    let set = set(1, json!({}));
    let mut existing = existing(&set, 1, 1);
    handed_over(&mut existing, &[1]);
    let member = existing.partitions.get_mut(&1).unwrap();
    let mut partition = planned(&set, &Existing::default()).partitions[0].object.clone();
    partition.metadata.annotations = None;
    member.foreign = foreign(&partition, &settings::fixture());
    member.known = Arc::new(partition.cached());
    let plan = planned(&set, &existing);
    assert_eq!((plan.partitions.len(), plan.refused.len()), (1, 0));
}

#[test]
fn of_partitions_that_are_ready_one_gets_a_changed_template_and_new_ones_do_not_wait() {
    let before = set(3, json!({}));
    let mut existing = existing(&before, 3, 3);
    for member in existing.partitions.values_mut() {
        let facts = &mut Arc::make_mut(&mut member.known).facts;
        let ready = json!({"type": "Ready", "status": "True", "reason": "R", "message": "m",
            "lastTransitionTime": "1960-01-01T00:00:00Z"});
        facts.status = serde_json::from_value(json!({"conditions": [ready]})).unwrap();
    }
    let mut after = before;
    after.spec.template.spec.image = Some("new".to_owned());
    let names = |set: &PartitionSet| {
        let plan = planned(set, &existing);
        (names_of(&plan), plan.rollout.held.into_iter().collect())
    };
    assert_eq!(names(&after), (vec!["g-1".to_owned()], vec![2, 3]));
    after.spec.max_unavailable_partitions = Some(2);
    assert_eq!(names(&after), (vec!["g-1".to_owned(), "g-2".to_owned()], vec![3]));
    after.spec.partitions = Some(4);
    assert_eq!(names(&after), (vec!["g-1".to_owned(), "g-4".to_owned()], vec![2, 3]));
}

#[test]
fn a_partition_that_is_held_back_keeps_its_template_and_gets_all_else() {
    let before = set(2, json!({}));
    let mut existing = existing(&before, 2, 2);
    let mut after = before.clone();
    after.spec.template.spec.image = Some("new".to_owned());
    let given = after.spec.template.metadata.as_mut().unwrap();
    given.labels = Some([("team".to_owned(), "y".to_owned())].into());
    let ready = json!({"conditions": [{"type": "Ready", "status": "True", "reason": "R", "message": "m",
        "lastTransitionTime": "1960-01-01T00:00:00Z"}]});
    for member in existing.partitions.values_mut() {
        Arc::make_mut(&mut member.known).facts.status = serde_json::from_value(ready.clone()).unwrap();
    }
    assert_eq!(names_of(&planned(&after, &existing)), ["g-1"], "nothing is wrong with the other");
    let second = existing.partitions.get_mut(&2).unwrap();
    let mut spoilt = (*second.known).clone();
    spoilt.fields = FieldSet::default();
    second.known = Arc::new(spoilt);
    let plan = planned(&after, &existing);
    assert_eq!((names_of(&plan), plan.rollout.held.contains(&2)), (vec!["g-1".to_owned(), "g-2".to_owned()], true));
    let (first, second) = (&plan.partitions[0].object, &plan.partitions[1].object);
    assert_eq!((first.labels()["team"].as_str(), second.labels()["team"].as_str()), ("y", "x"));
    assert_eq!(second.spec, existing.partitions[&2].known.facts.spec);
    assert_eq!(second.annotations()["k8s.atomix.io/partition"], "2");
}

#[test]
fn one_that_another_controller_runs_stays_published_without_a_service_of_ours() {
    let set = set(2, json!({}));
    let mut existing = existing(&set, 2, 1);
    existing.published = published(&["g-1", "g-2"]);
    assert!(planned(&set, &existing).endpoints.is_none());
    handed_over(&mut existing, &[2]);
    assert_eq!(endpoint_names(&planned(&set, &existing)), ["g-1", "g-2"]);
}

#[test]
fn both_address_families_get_a_slice_where_every_partition_has_both() {
    let set = set(2, json!({}));
    let mut existing = existing(&set, 2, 2);
    for (index, member) in &mut existing.partitions {
        member.addresses.push(format!("fd00::{index}"));
    }
    let endpoints = planned(&set, &existing).endpoints.unwrap();
    let families: Vec<_> =
        endpoints.slices.iter().map(|slice| (slice.object.address_type.as_str(), slice.object.name_any())).collect();
    assert_eq!(families, [("IPv4", "g-ipv4".to_owned()), ("IPv6", "g-ipv6".to_owned())]);
    assert!(endpoints.stale_slices.is_empty());
    existing.partitions.get_mut(&1).unwrap().addresses.pop();
    assert_eq!(planned(&set, &existing).endpoints.unwrap().stale_slices, ["g-ipv6"]);
}

/// As [`existing`], with partition 3 made at a generation of the set.
fn with_third_made_at(set: &PartitionSet, generation: i64) -> Existing {
    let mut existing = existing(set, 3, 3);
    let third = existing.partitions.get_mut(&3).unwrap();
    let annotations = &mut Arc::make_mut(&mut third.known).facts.metadata.annotations;
    annotations.get_or_insert_default().insert("k8s.atomix.io/set-generation".to_owned(), generation.to_string());
    existing
}

#[test]
fn a_consent_does_not_cover_a_partition_that_was_made_after_it_was_given() {
    let smaller = set(1, json!({"k8s.atomix.io/allow-partition-removal": "1@15"}));
    let plan = planned(&smaller, &with_third_made_at(&smaller, 15));
    assert_eq!((plan.surplus, plan.refused.len()), (vec![3, 2], 0));
    let plan = planned(&smaller, &with_third_made_at(&smaller, 16));
    assert_eq!((plan.surplus, plan.refused[0].reason), (vec![], "PartitionRemovalNotAllowed"));
}

fn published(names: &[&str]) -> BTreeMap<&'static str, Published> {
    let addresses = names.iter().map(|name| ((*name).to_owned(), format!("10.9.0.{}", &name[2..])));
    [("IPv4", addresses.collect()), ("IPv6", Published::new())].into()
}

#[test]
fn a_group_that_shrinks_stays_published_where_it_was_also_without_a_service() {
    let smaller = set(2, json!({"k8s.atomix.io/allow-partition-removal": "2@17"}));
    let mut existing = existing(&smaller, 3, 1);
    assert!(planned(&smaller, &existing).endpoints.is_none(), "it has never been published");
    existing.published = published(&["g-1", "g-2", "g-3"]);
    let plan = planned(&smaller, &existing);
    assert_eq!(endpoint_names(&plan), ["g-1", "g-2"]);
    let addresses: Vec<_> =
        plan.endpoints.unwrap().slices[0].object.endpoints.iter().map(|e| e.addresses[0].clone()).collect();
    assert_eq!(addresses, ["10.0.0.1", "10.9.0.2"]);
    existing.published = published(&["g-1", "g-2"]);
    assert!(planned(&smaller, &existing).endpoints.is_none(), "it does not shrink");
}

#[test]
fn labels_of_tools_are_not_copied_to_the_service_of_the_group() {
    let mut set = set(1, json!({}));
    let labels =
        ["team", "argocd.argoproj.io/instance", "kustomize.toolkit.fluxcd.io/name", "app.kubernetes.io/part-of"];
    set.metadata.labels = Some(labels.map(|key| (key.to_owned(), "x".to_owned())).into());
    let service = planned(&set, &Existing::default()).group_service;
    let keys: Vec<&str> = service.object.labels().keys().map(String::as_str).collect();
    assert!(keys.contains(&"team") && keys.contains(&"k8s.atomix.io/group"));
    assert!(labels[1..].iter().all(|key| !keys.contains(key)), "{keys:?}");
    assert_eq!(service.object.annotations()["k8s.atomix.io/copied-labels"], "team");
}
