#![allow(clippy::needless_pass_by_value, reason = "fixtures read best with literals")]

use serde_json::{Value, json};

use super::*;
use crate::controller::settings;
use crate::store::Kind;

// Names unlike the product's, so that a name in the wrong place shows.
fn partition(spec: Value, annotations: Value) -> Partition {
    let mut spec = spec;
    spec["templateMetadata"] = json!({"labels": {"team": "x"}, "annotations": annotations});
    serde_json::from_value(json!({
        "apiVersion": "k8s.atomix.io/v1alpha1", "kind": "Partition",
        "metadata": {
            "name": "g-2", "namespace": "ns", "uid": "p-uid", "labels": {"cost": "theirs"},
            "ownerReferences": [{"apiVersion": "k8s.atomix.io/v1alpha1", "kind": "PartitionSet", "name": "g", "uid": "s-uid", "controller": true}]},
        "spec": spec,
    }))
    .unwrap()
}

fn built(spec: Value, annotations: Value) -> Children {
    let partition = partition(spec, annotations);
    let identity = Identity::of(&partition).unwrap();
    children(&partition, &identity, &settings::fixture(), &ServiceAddresses::default(), None).unwrap()
}

fn raft(size: i64) -> Value {
    json!({"size": size, "protocol": "raft"})
}

#[test]
fn partition_json_has_exactly_the_keys_of_the_contract() {
    let data = built(raft(2), json!({})).config_map.object.data.unwrap();
    assert_eq!(
        data["partition.json"],
        concat!(
            r#"{"partition":{"partition":2,"group":{"name":"g","namespace":"ns"}},"#,
            r#""controller":{"id":"atx","host":"atx.ops.svc.example.org","port":5679},"#,
            r#""members":[{"id":"g-2-0","host":"g-2-0.g-2-hs.ns.svc.example.org","port":5679},"#,
            r#"{"id":"g-2-1","host":"g-2-1.g-2-hs.ns.svc.example.org","port":5679}]}"#
        )
    );
    assert_eq!(data["protocol.json"], "{}");
}

#[test]
fn member_ports_follow_the_annotation() {
    let member = |form: &str| {
        let data = built(raft(1), json!({"k8s.atomix.io/member-ports": form})).config_map.object.data.unwrap();
        let mut config: Value = serde_json::from_str(&data["partition.json"]).unwrap();
        let mut member = config["members"][0].take();
        member.as_object_mut().unwrap().retain(|key, _| key.ends_with("ort"));
        member
    };
    assert_eq!(member("split"), json!({"port": 5679, "apiPort": 5678, "protocolPort": 5679}));
    assert_eq!(member("shared"), json!({"port": 5678}));
}

#[test]
fn the_budget_keeps_a_quorum_and_one_pod_has_none() {
    for (size, unavailable) in [(2, 1), (3, 1), (4, 1), (5, 2), (7, 3), (21, 10)] {
        let budget = built(raft(size), json!({})).disruption_budget.unwrap().object.spec.unwrap();
        assert_eq!(serde_json::to_value(budget.max_unavailable).unwrap(), json!(unavailable), "{size}");
        // The original's budget selected nothing and so protected nothing.
        assert_eq!(budget.selector.unwrap().match_labels.unwrap()["partition"], "2");
    }
    assert!(built(raft(1), json!({})).disruption_budget.is_none());
    let log = json!({"size": 5, "protocol": "log", "image": "i"});
    assert_eq!(
        serde_json::to_value(built(log, json!({})).disruption_budget.unwrap().object.spec.unwrap().max_unavailable)
            .unwrap(),
        json!(1)
    );
}

#[test]
fn images_are_pulled_with_the_secrets_of_the_set_or_of_the_controller() {
    let secrets = |own: Value| {
        let spec = json!({"size": 1, "protocol": "raft", "imagePullSecrets": own});
        let set = serde_json::to_value(built(spec, json!({})).stateful_set.object).unwrap();
        set["spec"]["template"]["spec"]["imagePullSecrets"].clone()
    };
    assert_eq!(secrets(json!([{"name": "own"}])), json!([{"name": "own"}]));
    for none in [json!(null), json!([])] {
        assert_eq!(secrets(none), json!([{"name": "pull"}]));
    }
}

#[test]
fn each_protocol_runs_its_own_image() {
    // The original ran the log protocol with Raft's image and did not know backup.
    for (protocol, image) in [("raft", "r:1"), ("backup", "b:1"), ("log", "l")] {
        let set = built(json!({"protocol": protocol}), json!({})).stateful_set.object.spec.unwrap();
        let container = &set.template.spec.unwrap().containers[0];
        assert_eq!(container.image.as_deref(), Some(image));
    }
}

#[test]
fn a_change_of_the_configuration_alone_changes_the_pod_template() {
    let hash = |config: &str| {
        let set = built(json!({"protocol": "raft", "size": 3, "config": config}), json!({})).stateful_set.object;
        set.spec.unwrap().template.metadata.unwrap().annotations.unwrap()["k8s.atomix.io/config-hash"].clone()
    };
    assert_eq!(hash("electionTimeout: 5s"), hash("{election_timeout: 5000ms}"));
    assert_ne!(hash("electionTimeout: 5s"), hash("electionTimeout: 6s"));
}

#[test]
fn storage_brings_claims_of_the_selector_labels_and_a_group_for_nobody() {
    let spec = json!({"protocol": "raft", "storageSize": "1024Mi", "storageClass": "fast"});
    let set = built(spec, json!({})).stateful_set.object.spec.unwrap();
    let claim = &set.volume_claim_templates.unwrap()[0];
    assert_eq!(claim.metadata.labels.as_ref().unwrap().len(), 4);
    let claim = claim.spec.as_ref().unwrap();
    assert_eq!(claim.storage_class_name.as_deref(), Some("fast"));
    assert_eq!(claim.resources.as_ref().unwrap().requests.as_ref().unwrap()["storage"].0, "1024Mi");
    let pod = set.template.spec.unwrap();
    assert_eq!(pod.security_context.unwrap().fs_group, Some(65534));
    assert_eq!(pod.volumes.unwrap().len(), 1);
    for (class, named) in [(json!(null), None), (json!(""), Some("")), (json!("fast"), Some("fast"))] {
        let spec = json!({"protocol": "raft", "storageSize": "1Gi", "storageClass": class});
        let set = built(spec, json!({})).stateful_set.object.spec.unwrap();
        let claim = set.volume_claim_templates.unwrap().remove(0).spec.unwrap();
        assert_eq!(claim.storage_class_name.as_deref(), named);
    }
}

#[test]
fn an_invalid_spec_builds_nothing() {
    let partition = partition(json!({"protocol": "paxos"}), json!({}));
    let identity = Identity::of(&partition).unwrap();
    assert!(children(&partition, &identity, &settings::fixture(), &ServiceAddresses::default(), None).is_err());
}

#[test]
fn pods_carry_the_labels_of_the_template_and_nothing_that_stands_on_the_partition() {
    let children = built(raft(3), json!({}));
    let labels = children.stateful_set.object.spec.unwrap().template.metadata.unwrap().labels.unwrap();
    assert_eq!((labels.get("team").map(String::as_str), labels.get("cost")), (Some("x"), None));
    let annotations = children.service.object.metadata.annotations.unwrap();
    assert_eq!(annotations["k8s.atomix.io/copied-labels"], "team");
}

#[test]
fn new_services_have_the_address_families_of_their_siblings_unless_the_set_says_which() {
    let addresses = ServiceAddresses {
        former_addresses: Vec::new(),
        sibling: ["fd00::1", "10.0.0.1"].map(|address| address.parse().unwrap()).into(),
    };
    let of = |spec: Value| {
        let partition = partition(spec, json!({}));
        let identity = Identity::of(&partition).unwrap();
        children(&partition, &identity, &settings::fixture(), &addresses, None).unwrap().service
    };
    let initial = of(raft(1)).initial["spec"].take();
    assert_eq!(
        (&initial["ipFamilies"], &initial["ipFamilyPolicy"]),
        (&json!(["IPv6", "IPv4"]), &json!("PreferDualStack"))
    );
    assert_eq!(initial["ports"][0]["appProtocol"], "grpc");
    let said = of(json!({"size": 1, "protocol": "raft", "ipFamilyPolicy": "SingleStack"}));
    assert_eq!(said.object.spec.unwrap().ip_family_policy.as_deref(), Some("SingleStack"));
    assert_eq!(said.initial["spec"].get("ipFamilies"), None);
}

#[test]
fn a_deleted_service_asks_for_all_addresses_that_it_had() {
    let addresses = ServiceAddresses {
        former_addresses: ["10.0.0.1", "fd00::1"].map(|address| address.parse().unwrap()).into(),
        sibling: Vec::new(),
    };
    let partition = partition(raft(1), json!({}));
    let identity = Identity::of(&partition).unwrap();
    let service = children(&partition, &identity, &settings::fixture(), &addresses, None).unwrap().service;
    assert!(service.existed);
    let spec = &service.initial["spec"];
    assert_eq!((&spec["clusterIP"], &spec["clusterIPs"]), (&json!("10.0.0.1"), &json!(["10.0.0.1", "fd00::1"])));
    assert_eq!(spec["ipFamilies"], json!(["IPv4", "IPv6"]));
}

#[test]
fn a_partition_that_is_brought_up_to_date_from_an_earlier_version_keeps_its_pods() {
    let (settings, addresses) = (settings::fixture(), ServiceAddresses::default());
    let set: PartitionSet = serde_json::from_value(json!({
        "apiVersion": "k8s.atomix.io/v1alpha1", "kind": "PartitionSet", "metadata": {"name": "g"},
        "spec": {"template": {"metadata": {"labels": {"team": "x", "new": "y"}}, "spec": {"protocol": "raft"}}},
    }))
    .unwrap();
    let mut now = partition(raft(1), json!({}));
    let mut before = now.clone();
    // What is among the Partition's own labels is the template's there, and what others added to them.
    before.spec.template_metadata = None;
    let labels = [("team", "x"), ("app", "atomix"), ("group", "g"), ("cost", "theirs")];
    before.metadata.labels = Some(labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into());
    let image = settings.image(&now.spec.template, Protocol::Raft).to_owned();
    now.spec.template.image = Some(image);
    let identity = Identity::of(&now).unwrap();
    let [before, now] = [&before, &now]
        .map(|partition| children(&partition.facts(), &identity, &settings, &addresses, Some(&set)).unwrap());
    assert_eq!(before.stateful_set.object, now.stateful_set.object);
    assert_eq!(before.config_map.object, now.config_map.object);
}
