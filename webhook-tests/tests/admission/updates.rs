//! What may change, and what may not.

use serde_json::{Value, json};
use webhook_tests::removal_consent;

use crate::manifests::{backup, raft, with};
use crate::verdicts::{accepts, invalid, invalid_in_many_ways, namespace, patches, refuses, spec};

fn template(spec: &Value) -> Value {
    json!({"spec": {"template": {"spec": spec}}})
}

#[test]
fn the_protocol_stays() {
    let namespace = namespace("updates");
    let kubectl = namespace.kubectl();
    accepts(&kubectl, &raft("raft"));
    refuses(
        &kubectl,
        "raft",
        &template(&json!({"protocol": "log"})),
        &invalid("raft", "spec.template.spec.protocol: Invalid value: \"log\": field is immutable"),
    );
}

#[test]
fn the_size_of_raft_partitions_stays_by_whichever_name() {
    let namespace = namespace("updates");
    let kubectl = namespace.kubectl();
    accepts(&kubectl, &raft("raft"));
    let text = invalid(
        "raft",
        "spec.template.spec.size: Invalid value: 5: field is immutable with the raft protocol, whose members are \
         configured once: create another set",
    );
    refuses(&kubectl, "raft", &template(&json!({"size": 5})), &text);
    refuses(&kubectl, "raft", &json!({"spec": {"partitionSize": 5}}), &text);
}

#[test]
fn two_names_of_the_size_that_change_to_two_values_contradict_each_other() {
    let namespace = namespace("updates");
    let kubectl = namespace.kubectl();
    accepts(&kubectl, &backup("backup"));
    refuses(
        &kubectl,
        "backup",
        &json!({"spec": {"partitionSize": 4, "template": {"spec": {"size": 3}}}}),
        &invalid(
            "backup",
            "spec.partitionSize: Invalid value: 4: must be equal to spec.template.spec.size (3), of which it is another \
             name: set one of the two",
        ),
    );
}

#[test]
fn storage_stays_but_may_be_written_differently() {
    let namespace = namespace("updates");
    let kubectl = namespace.kubectl();
    let storage = |set, class: &str, size: &str| {
        let set = with(set, "/spec/template/spec/storageClass", json!(class));
        with(set, "/spec/template/spec/storageSize", json!(size))
    };
    accepts(&kubectl, &storage(raft("raft"), "fast", "1Gi"));
    let class = "spec.template.spec.storageClass: Forbidden: field is immutable: the claim templates of a StatefulSet \
                 cannot change";
    let size = "spec.template.spec.storageSize: Forbidden: field is immutable: the claim templates of a StatefulSet \
                cannot change";
    refuses(&kubectl, "raft", &template(&json!({"storageClass": "slow"})), &invalid("raft", class));
    refuses(&kubectl, "raft", &template(&json!({"storageSize": "2Gi"})), &invalid("raft", size));
    refuses(
        &kubectl,
        "raft",
        &template(&json!({"storageClass": null, "storageSize": null})),
        &invalid_in_many_ways("raft", &[class, size]),
    );
    patches(&kubectl, "raft", &template(&json!({"storageSize": "1024Mi"})));
    accepts(&kubectl, &raft("memory"));
    refuses(&kubectl, "memory", &template(&json!({"storageSize": "1Gi"})), &invalid("memory", size));
}

#[test]
fn fewer_partitions_than_may_be_unavailable_is_refused() {
    let namespace = namespace("updates");
    let kubectl = namespace.kubectl();
    accepts(&kubectl, &with(raft("raft"), "/spec/maxUnavailablePartitions", json!(2)));
    let consent = removal_consent(&kubectl, "raft", 1);
    let fewer = json!({"metadata": {"annotations": consent}, "spec": {"partitions": 1}});
    refuses(
        &kubectl,
        "raft",
        &fewer,
        &invalid(
            "raft",
            "spec.maxUnavailablePartitions: Invalid value: 2: must be less than or equal to spec.partitions (1)",
        ),
    );
}

#[test]
fn everything_else_may_change() {
    let namespace = namespace("updates");
    let kubectl = namespace.kubectl();
    accepts(&kubectl, &raft("raft"));
    for patch in [
        json!({"spec": {"partitions": 3}}),
        json!({"spec": {"maxUnavailablePartitions": 2}}),
        json!({"spec": {"persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Delete"}}}),
        json!({"spec": {"template": {"metadata": {"labels": {"tier": "one"}}}}}),
        template(&json!({"image": "raft:2", "config": "electionTimeout: 10s", "imagePullPolicy": "Never"})),
        template(&json!({"env": [{"name": "A", "value": "b"}], "resources": {"limits": {"cpu": 1}}})),
        template(&json!({"nodeSelector": {"disk": "ssd"}, "terminationGracePeriodSeconds": 5})),
    ] {
        let said = patches(&kubectl, "raft", &patch);
        assert!(said.ends_with("partitionset.k8s.atomix.io/raft patched\n"), "{said}");
    }
    accepts(&kubectl, &backup("backup"));
    patches(&kubectl, "backup", &template(&json!({"size": 5})));
    assert_eq!(spec(&kubectl, "backup")["partitionSize"], 5);
}
