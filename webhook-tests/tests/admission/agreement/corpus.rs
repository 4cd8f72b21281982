//! The corpus: legal sets, each with one field varied, and pairs of fields that depend on each other.

use serde_json::{Value, json};

use super::fields::fields;
use crate::manifests::{backup, raft, set, with, without};

/// What is to be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// Both accept it.
    Legal,
    /// The functions accept it, and the schema does when they have written it in its way.
    LegalOnceEdited,
    /// Both reject it: the schema or CEL can say the rule.
    Illegal,
    /// Only the functions know the rule.
    IllegalForFunctions,
    /// Both say the same, whatever it is.
    Same,
}

use Expected::{Illegal, Legal, Same};

/// One set, or one change of a set.
#[derive(Debug)]
pub struct Case {
    pub name: String,
    pub new: Value,
    pub expected: Expected,
}

const SPEC: &str = "/spec/template/spec";

/// New sets.
pub fn creations() -> Vec<Case> {
    let mut cases = Vec::new();
    vary(&log(), |_| true, &mut cases);
    for base in [raft("a"), backup("b")] {
        vary(&base, depends, &mut cases);
    }
    pairs(&mut cases);
    names(&mut cases);
    cases
}

fn log() -> Value {
    let spec = json!({
        "size": 2, "protocol": "log", "image": "log:1", "config": "memberGroupStrategy: RACK_AWARE",
        "env": [{"name": "A", "value": "b"}], "storageSize": "1Gi", "storageClass": "fast",
        "resources": {"requests": {"cpu": "500m", "memory": "64Mi"}, "limits": {"cpu": 1}},
    });
    let retention = json!({"whenDeleted": "Delete", "whenScaled": "Retain"});
    set("c", json!({"partitions": 3, "persistentVolumeClaimRetentionPolicy": retention, "template": {"spec": spec}}))
}

/// Whether the verdict on a field depends on others, or on what it was: on those of a container or of a pod it does not.
fn depends(pointer: &str) -> bool {
    const ALONE: [&str; 11] = [
        "image",
        "env",
        "resources",
        "securityContext",
        "imagePullSecrets",
        "nodeSelector",
        "tolerations",
        "topologySpreadConstraints",
        "affinity",
        "podSecurityContext",
        "terminationGracePeriodSeconds",
    ];
    !pointer.starts_with("/spec/template/metadata")
        && !pointer.starts_with("/spec/persistentVolumeClaimRetentionPolicy")
        && !pointer.strip_prefix("/spec/template/spec/").is_some_and(|field| ALONE.contains(&field))
}

/// The base with each of those fields varied that `fits`.
fn vary(base: &Value, fits: impl Fn(&str) -> bool, cases: &mut Vec<Case>) {
    for (pointer, expected, values) in fields().filter(|(pointer, ..)| fits(pointer)) {
        for value in values {
            let name = format!("{} {pointer} {value:.80}", base["metadata"]["name"]);
            cases.push(Case { name, new: with(base.clone(), pointer, value), expected });
        }
    }
    for pointer in ["/spec", "/spec/template", SPEC, "/spec/template/spec/protocol"] {
        let name = format!("{} without {pointer}", base["metadata"]["name"]);
        cases.push(Case { name, new: without(base.clone(), pointer), expected: Illegal });
    }
}

/// Values of two fields that are judged together; `null` is absent.
fn pairs(cases: &mut Vec<Case>) {
    let mut pair = |base: &Value, one: (&str, &[Value]), other: (&str, &[Value])| {
        for first in one.1 {
            for second in other.1 {
                let new = with(with(base.clone(), one.0, first.clone()), other.0, second.clone());
                let name = format!("{} {first} with {} {second}", one.0, other.0);
                cases.push(Case { name, new, expected: Same });
            }
        }
    };
    let counts = [json!(null), json!(0), json!(1), json!(2), json!(3), json!(21), json!(22), json!(1000), json!(1001)];
    pair(&raft("a"), ("/spec/partitions", &counts), ("/spec/maxUnavailablePartitions", &counts));
    pair(&backup("a"), ("/spec/template/spec/size", &counts), ("/spec/partitionSize", &counts));
    let policies = [json!(null), json!("Always"), json!("Never"), json!("Sometimes")];
    pair(&raft("a"), ("/spec/template/spec/imagePullPolicy", &policies), ("/spec/template/spec/pullPolicy", &policies));
    let classes = [json!(null), json!(""), json!("fast"), json!("x".repeat(254))];
    let amounts = ["", "1Gi", "1.5Gi", "1e3", "+1", ".5", "5.", "0", "0Gi", "-1Gi", "1Gb", "e3", "Gi", "1 Gi", "١"];
    let mut amounts: Vec<Value> = amounts.into_iter().map(Value::from).collect();
    amounts.extend([json!(null), json!(5), json!(0), json!(-5), json!(true), json!([])]);
    pair(&raft("a"), ("/spec/template/spec/storageClass", &classes), ("/spec/template/spec/storageSize", &amounts));
    let sizes = [json!(null), json!(1), json!(2), json!(0)];
    let protocols = [json!("raft"), json!("backup"), json!("log"), json!("paxos"), json!(null)];
    pair(&raft("a"), ("/spec/template/spec/protocol", &protocols), ("/spec/template/spec/size", &sizes));
}

/// Names, of which those are known to the schema as well that are legal names of objects.
fn names(cases: &mut Vec<Case>) {
    let long = |length: usize| "n".repeat(length);
    for (name, partitions, expected) in [
        ("a", 1000, Legal),
        ("a-b", 1, Legal),
        ("a1", 1, Legal),
        ("1a", 1, Illegal),
        ("a.b", 1, Illegal),
        (&long(50), 9, Legal),
        (&long(51), 9, Illegal),
        (&long(49), 10, Legal),
        (&long(50), 10, Illegal),
        (&long(47), 1000, Legal),
        (&long(48), 1000, Illegal),
        (&long(64), 1, Illegal),
        ("Raft", 1, Illegal),
        ("a-", 1, Illegal),
    ] {
        let new = with(raft(name), "/spec/partitions", json!(partitions));
        cases.push(Case { name: format!("{partitions} partitions of {name}"), new, expected });
    }
}

/// Old sets, and changes of each.
pub fn changes() -> Vec<(Value, Vec<Case>)> {
    let defaulted = |set: Value, size: u64| {
        let set = with(set, "/spec/partitionSize", json!(size));
        with(set, "/spec/maxUnavailablePartitions", json!(1))
    };
    let stored = with(raft("stored"), "/spec/template/spec/storageSize", json!("1Gi"));
    let stored = with(stored, "/spec/template/spec/storageClass", json!("fast"));
    [
        raft("plain"),
        defaulted(raft("raft"), 3),
        defaulted(stored, 3),
        defaulted(backup("backup"), 2),
        with(defaulted(log(), 2), "/spec/template/spec/pullPolicy", json!("Never")),
    ]
    .map(|old| {
        let cases = edits(&old);
        (old, cases)
    })
    .into()
}

fn edits(old: &Value) -> Vec<Case> {
    let mut cases = Vec::new();
    // One old set, which has most fields, sees all of them varied.
    let whole = old["metadata"]["name"] == "c";
    vary(old, |pointer| whole || depends(pointer), &mut cases);
    // What is legal in a new set may be a change that is not, and a name that changes alone takes the other along.
    for case in &mut cases {
        if case.expected == Legal || case.name.contains("/spec/partitionSize") {
            case.expected = Same;
        }
    }
    cases.retain(|case| !case.name.contains("/spec/partitions"));
    let mut pair = |one: (&str, &[Value]), other: (&str, &[Value])| {
        for first in one.1 {
            for second in other.1 {
                let new = with(with(old.clone(), one.0, first.clone()), other.0, second.clone());
                let name = format!("{} to {} {first} with {} {second}", old["metadata"]["name"], one.0, other.0);
                cases.push(Case { name, new, expected: Same });
            }
        }
    };
    let counts = [json!(null), json!(1), json!(2), json!(3), json!(5), json!(22)];
    pair(("/spec/template/spec/size", &counts), ("/spec/partitionSize", &counts));
    let growing = [json!(3), json!(4), json!(1000), json!(1001)];
    pair(("/spec/partitions", &growing), ("/spec/maxUnavailablePartitions", &counts));
    let classes = [json!(null), json!(""), json!("fast"), json!("slow")];
    let amounts =
        [json!(null), json!("1Gi"), json!("1024Mi"), json!("2Gi"), json!("1"), json!("0"), json!("x"), json!(1)];
    pair(("/spec/template/spec/storageClass", &classes), ("/spec/template/spec/storageSize", &amounts));
    let policies = [json!(null), json!("Always"), json!("Never"), json!("Sometimes")];
    pair(("/spec/template/spec/imagePullPolicy", &policies), ("/spec/template/spec/pullPolicy", &policies));
    let protocols = [json!("raft"), json!("backup"), json!("log"), json!("paxos")];
    pair(("/spec/template/spec/protocol", &protocols), ("/spec/template/spec/size", &counts));
    cases
}
