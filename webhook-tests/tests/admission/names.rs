//! Names, which have to fit Services, StatefulSets and their pods, and must not be wanted twice.

use serde_json::{Value, json};
use webhook_tests::Kubectl;

use crate::manifests::{raft, running, with, without};
use crate::verdicts::{accepts, invalid, invalid_in_many_ways, namespace, patches, refuses, rejects};

const LABEL: &str = "must be a DNS-1035 label, because a Service is named after it: at most 63 lower case letters, \
                     digits and '-', starting with a letter, ending with a letter or digit";

fn sized(name: &str, partitions: u32) -> Value {
    with(raft(name), "/spec/partitions", json!(partitions))
}

fn generated(prefix: &str) -> Value {
    with(without(raft(""), "/metadata/name"), "/metadata/generateName", json!(prefix))
}

#[test]
fn a_name_must_be_one_of_a_service() {
    let namespace = namespace("names");
    let kubectl = namespace.kubectl();
    for name in ["1raft", "a.b"] {
        rejects(&kubectl, &raft(name), &invalid(name, &format!("metadata.name: Invalid value: {name:?}: {LABEL}")));
    }
    rejects(
        &kubectl,
        &generated("Raft-"),
        &invalid("Raft-", &format!("metadata.generateName: Invalid value: \"Raft-xxxxx\": {LABEL}")),
    );
}

#[test]
fn a_name_must_leave_room_for_the_number_of_its_last_partition() {
    let namespace = namespace("names");
    let kubectl = namespace.kubectl();
    let too_long = |name: &str, partitions: u32| {
        format!(
            "Invalid value: {name:?}: must be short enough for the name of partition {partitions} ({name}-{partitions}) \
             to have at most 52 characters, which is what a StatefulSet's pods can carry"
        )
    };
    let name = "n".repeat(50);
    rejects(&kubectl, &sized(&name, 10), &invalid(&name, &format!("metadata.name: {}", too_long(&name, 10))));
    accepts(&kubectl, &sized(&name, 1));
    refuses(
        &kubectl,
        &name,
        &json!({"spec": {"partitions": 10}}),
        &invalid(&name, &format!("metadata.name: {}", too_long(&name, 10))),
    );
    let prefix = "g".repeat(46);
    let whole = format!("{prefix}xxxxx");
    rejects(
        &kubectl,
        &generated(&prefix),
        &invalid(&prefix, &format!("metadata.generateName: {}", too_long(&whole, 2))),
    );
}

#[test]
fn a_generated_name_is_as_good_as_a_given_one() {
    let namespace = namespace("names");
    let stored = accepts(&namespace.kubectl(), &generated("raft-"));
    let name = stored["metadata"]["name"].as_str().expect("a name");
    assert!(name.starts_with("raft-") && name.len() == 10, "{name}");
    assert_eq!(stored["spec"]["partitionSize"], 3);
}

/// Waits until the controller knows the set, which is when it has made a partition of it.
fn known(kubectl: &Kubectl, set: &str) {
    kubectl.wait_until(&["partitions", "-l", &format!("group={set}")], crate::SOON, |found| !found.is_empty());
}

#[test]
fn two_sets_do_not_want_the_same_services() {
    let namespace = namespace("names");
    let kubectl = namespace.kubectl();
    accepts(&kubectl, &running(sized("x", 3)));
    known(&kubectl, "x");
    for name in ["x-3", "x-3-hs"] {
        let violation = format!(
            "metadata.name: Invalid value: {name:?}: is the name of a Service of partition 3 of PartitionSet \"x\""
        );
        rejects(&kubectl, &raft(name), &invalid(name, &violation));
    }
    accepts(&kubectl, &running(raft("x-4")));
    accepts(&kubectl, &raft("x-hs"));
    known(&kubectl, "x-4");
    accepts(&kubectl, &running(raft("x-5-hs")));
    known(&kubectl, "x-5-hs");
    refuses(
        &kubectl,
        "x",
        &json!({"spec": {"partitions": 5}}),
        &invalid_in_many_ways(
            "x",
            &[
                "spec.partitions: Invalid value: 5: partition 4 needs a Service named \"x-4\", and PartitionSet \"x-4\" has it",
                "spec.partitions: Invalid value: 5: partition 5 needs a Service named \"x-5-hs\", and PartitionSet \"x-5-hs\" has it",
            ],
        ),
    );
    patches(&kubectl, "x", &json!({"metadata": {"labels": {"any": "edit"}}}));
}

#[test]
fn a_new_set_does_not_want_the_services_of_another() {
    let namespace = namespace("names");
    let kubectl = namespace.kubectl();
    accepts(&kubectl, &running(raft("y-2-hs")));
    known(&kubectl, "y-2-hs");
    rejects(
        &kubectl,
        &sized("y", 2),
        &invalid(
            "y",
            "spec.partitions: Invalid value: 2: partition 2 needs a Service named \"y-2-hs\", and PartitionSet \"y-2-hs\" \
             has it",
        ),
    );
    accepts(&kubectl, &sized("y", 1));
}
