//! Nothing here may hold a deletion back.

use serde_json::{Value, json};

use crate::SOON;
use crate::manifests::{raft, with};
use crate::verdicts::{accepts, namespace, patches, refuses};

/// A set that is on its way out is no longer judged, or its finalizers might never go.
#[test]
fn a_set_on_its_way_out_is_not_judged() {
    let namespace = namespace("deletion");
    let kubectl = namespace.kubectl();
    accepts(&kubectl, &with(raft("raft"), "/metadata/finalizers", json!(["example.com/hold"])));
    let bad = json!({"spec": {"template": {"spec": {"config": "electionTimout: 5s"}}}});
    refuses(
        &kubectl,
        "raft",
        &bad,
        "The PartitionSet \"raft\" is invalid: spec.template.spec.config.electionTimout: Unsupported value: \
         \"electionTimout\": supported values: \"electionTimeout\", \"heartbeatInterval\", \"storage\", \"compaction\"",
    );
    kubectl.ok(&["delete", "pset", "raft", "--wait=false"]);
    patches(&kubectl, "raft", &bad);
    patches(&kubectl, "raft", &json!({"metadata": {"finalizers": null}}));
    kubectl.wait_until(&["pset"], SOON, <[Value]>::is_empty);
}

#[test]
fn a_set_on_its_way_out_gets_no_defaults() {
    let namespace = namespace("deletion");
    let kubectl = namespace.kubectl();
    accepts(&kubectl, &with(raft("raft"), "/metadata/finalizers", json!(["example.com/hold"])));
    kubectl.ok(&["delete", "pset", "raft", "--wait=false"]);
    patches(&kubectl, "raft", &json!({"spec": {"maxUnavailablePartitions": null}}));
    assert_eq!(crate::verdicts::spec(&kubectl, "raft")["maxUnavailablePartitions"], Value::Null);
    patches(&kubectl, "raft", &json!({"metadata": {"finalizers": null}}));
}

#[test]
fn all_sets_of_a_namespace_can_be_deleted_at_once() {
    let namespace = namespace("deletion");
    let kubectl = namespace.kubectl();
    for name in ["a", "b", "c"] {
        accepts(&kubectl, &raft(name));
    }
    kubectl.ok(&["delete", "pset", "--all"]);
    assert_eq!(kubectl.ok(&["get", "pset", "-o", "name"]), "");
}

/// The webhooks are not asked about deletions at all.
#[test]
fn the_webhooks_are_not_asked_about_deletions() {
    let kubectl = webhook_tests::harness().kubectl();
    for kind in ["mutatingwebhookconfiguration", "validatingwebhookconfiguration"] {
        let configuration = kubectl.get_json(&[kind, "atomix-controller"]);
        for webhook in configuration["webhooks"].as_array().expect("webhooks") {
            for rule in webhook["rules"].as_array().expect("rules") {
                let operations = rule["operations"].as_array().expect("operations");
                assert!(operations.iter().all(|operation| operation == "CREATE" || operation == "UPDATE"), "{rule}");
            }
        }
    }
}
