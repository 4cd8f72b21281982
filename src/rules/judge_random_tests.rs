//! Sets as nobody would write them.

use proptest::prelude::*;
use serde_json::json;

use super::tests::{alone, defaulted, raft, with};
use super::*;

/// Any JSON that a careless or hostile user might send as one field.
fn junk() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,20}".prop_map(Value::from),
        prop_oneof![Just("raft"), Just("log"), Just("Retain"), Just("1Gi"), Just("5s")].prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-z]{1,12}", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

const FIELDS: [&str; 14] = [
    "/spec/partitions",
    "/spec/partitionSize",
    "/spec/maxUnavailablePartitions",
    "/spec/persistentVolumeClaimRetentionPolicy",
    "/spec/template",
    "/spec/template/metadata",
    "/spec/template/spec",
    "/spec/template/spec/size",
    "/spec/template/spec/protocol",
    "/spec/template/spec/config",
    "/spec/template/spec/pullPolicy",
    "/spec/template/spec/env",
    "/spec/template/spec/resources",
    "/spec/template/spec/affinity",
];

fn count() -> impl Strategy<Value = Option<i64>> {
    prop::option::of(-2_i64..25)
}

prop_compose! {
    fn plausible()(partitions in count(), alias in count(), size in count(), unavailable in count(),
        policy in prop::option::of(prop_oneof![Just("Always"), Just("Never"), Just("x")]),
        retention in prop::option::of(prop_oneof![Just(json!({})), Just(json!({"whenScaled": "Delete"}))])) -> Value {
        let mut object = raft();
        let mut put = |parent: &str, key: &str, value: Option<Value>| {
            let parent = object.pointer_mut(parent).unwrap().as_object_mut().unwrap();
            parent.remove(key);
            if let Some(value) = value {
                parent.insert(key.to_owned(), value);
            }
        };
        put("/spec", "partitions", partitions.map(Value::from));
        put("/spec", "partitionSize", alias.map(Value::from));
        put("/spec", "maxUnavailablePartitions", unavailable.map(Value::from));
        put("/spec", "persistentVolumeClaimRetentionPolicy", retention);
        put("/spec/template/spec", "size", size.map(Value::from));
        put("/spec/template/spec", "pullPolicy", policy.map(Value::from));
        object
    }
}

proptest! {
    #[test]
    fn defaulting_is_idempotent_and_only_adds(object in plausible()) {
        let once = defaulted(&object);
        prop_assert!(partition_set(&once, None, &alone).edits.is_empty());
        for field in FIELDS {
            if let Some(given) = object.pointer(field).filter(|given| !given.is_object()) {
                prop_assert_eq!(once.pointer(field), Some(given));
            }
        }
    }

    #[test]
    fn what_is_legal_stays_legal_when_applied_again(object in plausible()) {
        let once = defaulted(&object);
        if partition_set(&object, None, &alone).violations.is_empty() {
            let again = partition_set(&once, Some(&once), &alone);
            prop_assert!(again.violations.is_empty() && again.edits.is_empty() && again.warnings.is_empty());
        }
    }

    #[test]
    fn junk_in_any_field_is_judged_and_never_breaks(field in prop::sample::select(FIELDS.to_vec()), value in junk()) {
        let object = with(raft(), field, value);
        let verdict = partition_set(&object, Some(&raft()), &alone);
        for violation in &verdict.violations {
            prop_assert!(violation.field.starts_with("spec"), "{}", violation);
        }
    }
}
