//! `kubectl scale` is an edit of `spec.partitions`, and judged as one.

use serde_json::json;

use crate::SOON;
use crate::manifests::{raft, running, with};
use crate::verdicts::{accepts, annotations, namespace, patches, spec};

#[test]
fn growing_by_scale_is_an_edit_with_its_warning() {
    let namespace = namespace("scale");
    let kubectl = namespace.kubectl();
    accepts(&kubectl, &raft("raft"));
    let output = kubectl.run(&["scale", "pset", "raft", "--replicas=3"]);
    assert!(output.status.success(), "{}", output.stderr);
    assert_eq!(output.stdout, "partitionset.k8s.atomix.io/raft scaled\n");
    assert_eq!(
        output.stderr,
        "Warning: spec.partitions: growing from 2 to 3 re-homes keys (clients pick a partition by hash modulo the \
         number), and no data moves\n"
    );
    assert_eq!(spec(&kubectl, "raft")["partitions"], 3);
}

#[test]
fn shrinking_by_scale_needs_the_users_consent() {
    let namespace = namespace("scale");
    let kubectl = namespace.kubectl();
    accepts(&kubectl, &raft("raft"));
    for arguments in [&["--replicas=1"][..], &["--replicas=1", "--dry-run=server"]] {
        let said = kubectl.fails(&[&["scale", "pset", "raft"], arguments].concat());
        assert_eq!(
            said,
            "The Scale \"raft\" is invalid: spec.replicas: Forbidden: reducing the number of partitions from 2 to 1 \
             destroys the data of the removed ones; to agree, set the annotation \
             k8s.atomix.io/allow-partition-removal: \"1@1\"\n"
        );
    }
    patches(&kubectl, "raft", &annotations(&json!({"k8s.atomix.io/allow-partition-removal": "1@1"})));
    let output = kubectl.run(&["scale", "pset", "raft", "--replicas=1"]);
    assert!(output.status.success(), "{}", output.stderr);
    assert_eq!(
        output.stderr,
        "Warning: spec.partitions: 1 of 2 partitions is removed with its data: raft-2 (3 pods)\n"
    );
    assert_eq!(spec(&kubectl, "raft")["partitions"], 1);
}

/// The bounds are the schema's, which is asked first: no webhook can change a scale on its way.
#[test]
fn scale_has_the_bounds_of_the_field() {
    let namespace = namespace("scale");
    let kubectl = namespace.kubectl();
    accepts(&kubectl, &raft("raft"));
    for (replicas, detail) in
        [("0", "0: must be greater than or equal to 1"), ("1001", "1001: must be less than or equal to 1000")]
    {
        let said = kubectl.fails(&["scale", "pset", "raft", &format!("--replicas={replicas}")]);
        assert_eq!(said, format!("The PartitionSet \"raft\" is invalid: spec.partitions: Invalid value: {detail}\n"));
    }
    assert_eq!(spec(&kubectl, "raft")["partitions"], 2);
}

#[test]
fn scale_respects_names_that_another_set_has() {
    let namespace = namespace("scale");
    let kubectl = namespace.kubectl();
    accepts(&kubectl, &raft("x"));
    accepts(&kubectl, &running(raft("x-3")));
    kubectl.wait_until(&["partitions", "-l", "group=x-3"], SOON, |found| !found.is_empty());
    assert_eq!(
        kubectl.fails(&["scale", "pset", "x", "--replicas=3"]),
        "The Scale \"x\" is invalid: spec.replicas: Invalid value: 3: partition 3 needs a Service named \"x-3\", and \
         PartitionSet \"x-3\" has it\n"
    );
}

#[test]
fn scale_respects_the_length_of_names() {
    let namespace = namespace("scale");
    let kubectl = namespace.kubectl();
    let name = "n".repeat(50);
    accepts(&kubectl, &with(raft(&name), "/spec/partitions", json!(9)));
    let said = kubectl.fails(&["scale", "pset", &name, "--replicas=10"]);
    let detail = "metadata.name and the highest partition number must fit into 52 characters: <name>-<partitions>";
    assert!(said.starts_with(&format!("The PartitionSet {name:?} is invalid: ")) && said.contains(detail), "{said}");
}
