//! Groups are made, found and deleted by any replica, and are PartitionSets.

use atomix_controller::grpc::proto::controller::{
    CreatePartitionGroupRequest, DeletePartitionGroupRequest, GetPartitionGroupsRequest, PartitionGroup,
    PartitionGroupId, PartitionGroupSpec,
};
use atomix_controller::grpc::proto::protocols::{log, raft as raft_options};
use prost_types::Duration;
use raft_options::RaftProtocol;
use serde_json::{Value, json};
use tonic::Code;
use webhook_tests::{Kubectl, Namespace, suffix};

use crate::support::{Api, SOON, any, fields, ground, raft, set};

const RAFT: &str = "atomix.protocols.raft.RaftProtocol";

fn plain(partitions: u32, size: u32) -> PartitionGroupSpec {
    raft(partitions, size, &RaftProtocol::default())
}

fn place(prefix: &str) -> (Namespace, Kubectl, [Api; 2]) {
    let ground = ground();
    let namespace = Namespace::new(ground.control_plane.kubectl(), prefix);
    let (kubectl, clients) = (namespace.kubectl(), ground.clients(namespace.name()));
    (namespace, kubectl, clients)
}

#[track_caller]
fn only(groups: Vec<PartitionGroup>) -> PartitionGroup {
    let [group] = <[PartitionGroup; 1]>::try_from(groups).unwrap_or_else(|groups| panic!("{groups:#?}"));
    group
}

#[test]
fn a_group_is_there_on_every_replica_as_soon_as_it_is_created_and_gone_as_soon_as_it_is_deleted() {
    let (namespace, _, clients) = place("atonce");
    for round in 0..8 {
        let (one, other) = (&clients[round % 2], &clients[(round + 1) % 2]);
        let name = format!("g{round}");
        one.create(&name, plain(12, 1)).expect("created");
        for client in [other, one] {
            let group = only(client.get(&name).expect("found"));
            assert_eq!((group.id, group.spec), (Some(one.id(&name)), Some(plain(12, 1))));
            for (index, partition) in group.partitions.iter().enumerate() {
                let id = index + 1;
                assert_eq!(partition.partition_id, i32::try_from(id).unwrap());
                let [endpoint] = &partition.endpoints[..] else { panic!("{partition:?}") };
                let host = format!("{name}-{id}.{}.svc.cluster.local", namespace.name());
                assert_eq!((&endpoint.host, endpoint.port), (&host, 5678));
            }
            assert_eq!(group.partitions.len(), 12);
        }
        assert!(one.names().contains(&name));
        one.delete(&name).expect("deleted");
        assert_eq!(one.get(&name).expect("an answer"), []);
        assert!(!one.names().contains(&name));
    }
}

#[test]
fn a_listing_has_every_own_write_at_once_and_those_of_another_replica_as_soon_as_the_watch_shows_them() {
    let (_namespace, _, [one, other]) = place("listing");
    assert_eq!(other.names(), [""; 0]);
    for (name, names) in [("c", &["c"][..]), ("a", &["a", "c"]), ("b", &["a", "b", "c"])] {
        one.create(name, plain(1, 1)).expect("created");
        assert_eq!(one.names(), names);
    }
    other.await_names(&["a", "b", "c"]);
    one.delete("b").expect("deleted");
    assert_eq!(one.names(), ["a", "c"]);
    other.await_names(&["a", "c"]);
}

#[test]
fn what_is_left_out_has_its_default() {
    let (_namespace, kubectl, [one, other]) = place("defaults");
    one.create("g", plain(0, 0)).expect("created");
    assert_eq!(only(other.get("g").expect("found")).spec, Some(plain(1, 1)));
    let stored = kubectl.get_json(&["partitionset", "g"]);
    assert_eq!((&stored["spec"]["partitions"], &stored["spec"]["partitionSize"]), (&json!(1), &json!(1)), "{stored}");
    assert!(stored["spec"]["template"]["spec"].get("config").is_none(), "{stored}");

    let name = format!("default-{}", suffix());
    let nowhere = PartitionGroupId { name: name.clone(), namespace: String::new() };
    let id = Some(nowhere);
    one.send_create(CreatePartitionGroupRequest { id: id.clone(), spec: Some(plain(1, 1)) }).expect("created");
    kubectl.ok(&["get", "partitionset", &name, "--namespace=default"]);
    let group = only(other.send_get(GetPartitionGroupsRequest { id: id.clone() }).expect("found"));
    assert_eq!(group.id, Some(PartitionGroupId { name: name.clone(), namespace: "default".to_owned() }));
    assert_eq!(group.partitions[0].endpoints[0].host, format!("{name}-1.default.svc.cluster.local"));
    other.send_delete(DeletePartitionGroupRequest { id }).expect("deleted");
}

#[test]
fn an_unknown_name_is_no_error_where_something_is_looked_for() {
    let (_namespace, _, [one, _]) = place("unknown");
    let long = "n".repeat(300);
    for name in ["other", "No Name", "../../x", "a/b", &long] {
        assert_eq!(one.get(name).expect("an answer"), [], "{name}");
        let missing = one.delete(name).expect_err("nothing to delete");
        assert_eq!(missing.code(), Code::NotFound, "{missing:?}");
        assert!(missing.message().contains(&name[..name.len().min(100)]), "{missing:?}");
        assert!(missing.message().len() < 200, "{missing:?}");
    }
    let elsewhere = ground().clients("no-such-namespace");
    assert_eq!(elsewhere[0].names(), [""; 0]);
    let refused = elsewhere[0].create("g", plain(1, 1)).expect_err("no such namespace");
    assert_eq!(refused.code(), Code::NotFound, "{refused:?}");
    assert!(refused.message().contains(r#""no-such-namespace" not found"#), "{refused:?}");
}

#[test]
fn what_is_missing_or_misshapen_in_a_request_is_named() {
    let (_namespace, kubectl, [one, _]) = place("missing");
    let spec = |protocol| Some(PartitionGroupSpec { partitions: 1, partition_size: 1, protocol });
    let create = |id, spec| one.send_create(CreatePartitionGroupRequest { id, spec }).expect_err("refused");
    let nameless = Some(one.id(""));
    let misplaced = Some(PartitionGroupId { name: "g".to_owned(), namespace: "a/../b".to_owned() });
    let mut wrong = any(RAFT, &RaftProtocol::default());
    wrong.type_url = "type.googleapis.com/atomix.protocols.paxos.PaxosProtocol".to_owned();
    let mut torn = any(RAFT, &RaftProtocol::default());
    torn.value = vec![0x0a, 9];
    let negative =
        RaftProtocol { election_timeout: Some(Duration { seconds: -5, nanos: 0 }), ..RaftProtocol::default() };
    for (refused, field) in [
        (create(None, Some(plain(1, 1))), "id"),
        (create(nameless.clone(), Some(plain(1, 1))), "id.name"),
        (create(misplaced.clone(), Some(plain(1, 1))), "id.namespace"),
        (create(Some(one.id("g")), None), "spec"),
        (create(Some(one.id("g")), spec(None)), "spec.protocol"),
        (create(Some(one.id("g")), spec(Some(wrong))), "spec.protocol.type_url"),
        (create(Some(one.id("g")), spec(Some(torn))), "spec.protocol"),
        (create(Some(one.id("g")), spec(Some(any(RAFT, &negative)))), "spec.protocol.election_timeout"),
        (one.send_delete(DeletePartitionGroupRequest { id: None }).expect_err("refused"), "id"),
        (one.send_delete(DeletePartitionGroupRequest { id: nameless }).expect_err("refused"), "id.name"),
        (one.send_get(GetPartitionGroupsRequest { id: None }).expect_err("refused"), "id"),
        (one.send_get(GetPartitionGroupsRequest { id: misplaced }).expect_err("refused"), "id.namespace"),
    ] {
        assert_eq!(refused.code(), Code::InvalidArgument, "{field}: {refused:?}");
        assert!(refused.message().starts_with(&format!("{field}: ")), "{field}: {refused:?}");
        assert_eq!(fields(&refused), [field], "{refused:?}");
    }
    assert_eq!(kubectl.ok(&["get", "partitionsets", "-o", "name"]), "");
}

#[test]
fn what_admission_denies_is_told_as_kubectl_tells_it() {
    let (_namespace, kubectl, [one, _]) = place("denied");
    let slow = RaftProtocol { heartbeat_interval: Some(Duration { seconds: 9, nanos: 0 }), ..RaftProtocol::default() };
    for (name, spec, manifest, denied) in [
        ("g", plain(1001, 1), json!({"partitions": 1001}), vec!["spec.partitions"]),
        ("g", plain(1, 22), json!({"size": 22}), vec!["spec.template.spec.size"]),
        (
            "g",
            raft(1, 1, &slow),
            json!({"config": "heartbeatInterval: 9s"}),
            vec!["spec.template.spec.config.heartbeatInterval"],
        ),
        (
            "g",
            plain(u32::MAX, u32::MAX),
            json!({"partitions": u32::MAX, "size": u32::MAX}),
            vec!["spec.partitions", "spec.template.spec.size"],
        ),
        ("No_name", plain(1, 1), json!({}), vec!["metadata.name"]),
        ("a-name-that-is-longer-than-the-name-of-a-partition-can-be", plain(1, 1), json!({}), vec!["metadata.name"]),
    ] {
        let refused = one.create(name, spec).expect_err("denied");
        let mut template = json!({"protocol": "raft"});
        for (key, value) in manifest.as_object().expect("an object").iter().filter(|(key, _)| *key != "partitions") {
            template[key] = value.clone();
        }
        let mut manifest = json!({"template": {"spec": template}, "partitions": manifest["partitions"]});
        manifest.as_object_mut().expect("an object").retain(|_, value| !value.is_null());
        let printed = kubectl.feed_fails(&["create", "--validate=false", "-f", "-"], &set(name, &manifest).to_string());
        let printed = printed.trim_end();
        assert!(printed.starts_with("The PartitionSet "), "{printed}");
        assert_eq!((refused.code(), refused.message()), (Code::InvalidArgument, printed));
        assert_eq!(fields(&refused), denied, "{refused:?}");
    }
}

#[test]
fn to_create_a_group_again_is_no_error_unless_it_is_another_one() {
    let (_namespace, kubectl, [one, other]) = place("again");
    let timed = RaftProtocol { election_timeout: Some(Duration { seconds: 60, nanos: 0 }), ..RaftProtocol::default() };
    one.create("g", raft(0, 3, &timed)).expect("created");
    for client in [&one, &other] {
        client.create("g", raft(1, 3, &timed)).expect("the same");
    }
    let refused = other.create("g", plain(2, 1)).expect_err("another one");
    assert_eq!(refused.code(), Code::AlreadyExists, "{refused:?}");
    for difference in ["partitions is 1, not 2", "partition_size is 3, not 1", r#"{"electionTimeout":"60s"}, not {}"#] {
        assert!(refused.message().contains(difference), "{difference}: {refused:?}");
    }
    let refused = other.create(
        "g",
        PartitionGroupSpec {
            protocol: Some(any("atomix.protocols.log.LogProtocol", &log::LogProtocol::default())),
            ..plain(1, 3)
        },
    );
    assert!(refused.expect_err("another one").message().contains("protocol is raft, not log"));

    // Whoever wrote it, and whatever else it says.
    let config = "# slowly\nelection_timeout: 1m\nstorage: {level: DISK}\n";
    let spec =
        json!({"partitionSize": 3, "template": {"spec": {"protocol": "raft", "config": config, "image": "r:1"}}});
    kubectl.create_stdin(&set("k", &spec).to_string());
    one.create("k", raft(1, 3, &timed)).expect("the same");
}

#[test]
fn what_kubectl_makes_is_a_group_and_the_other_way_round() {
    let (_namespace, kubectl, [one, other]) = place("kubectl");
    let config =
        "memberGroupStrategy: ZONE_AWARE\nstorage: {directory: /d, segmentSize: 1024}\ncompaction: {age: 24h, size: 7}";
    kubectl.create_stdin(
        &set("k", &json!({"partitions": 2, "template": {"spec": {"protocol": "log", "config": config}}})).to_string(),
    );
    let options = log::LogProtocol {
        member_group_strategy: 2,
        storage: Some(log::StorageSpec { directory: "/d".to_owned(), segment_size: 1024, ..Default::default() }),
        compaction: Some(log::CompactionSpec {
            age: Some(Duration { seconds: 86_400, nanos: 0 }),
            size: 7,
            ..Default::default()
        }),
    };
    let protocol = Some(any("atomix.protocols.log.LogProtocol", &options));
    for client in [&one, &other] {
        let group = only(client.get("k").expect("found"));
        assert_eq!(
            group.spec,
            Some(PartitionGroupSpec { partitions: 2, partition_size: 1, protocol: protocol.clone() })
        );
    }
    one.create("g", PartitionGroupSpec { partitions: 1, partition_size: 1, protocol }).expect("created");
    let stored = kubectl.get_json(&["partitionset", "g"]);
    assert_eq!(
        stored["spec"]["template"]["spec"]["config"],
        "compaction:\n  age: 86400s\n  size: 7\nmemberGroupStrategy: ZONE_AWARE\nstorage:\n  directory: /d\n  segmentSize: 1024\n"
    );
    // It becomes what any set becomes.
    kubectl.wait_until(&["partition", "g-1"], SOON, |partitions| !partitions.is_empty());
    other.delete("g").expect("deleted");
    kubectl.fails(&["get", "partitionset", "g"]);
    kubectl.ok(&["delete", "partitionset", "k"]);
    let missing = one.delete("k").expect_err("gone");
    assert_eq!(missing.code(), Code::NotFound, "{missing:?}");
}

#[test]
fn a_group_that_is_being_deleted_is_gone_for_clients() {
    let (namespace, kubectl, [one, other]) = place("ending");
    one.create("g", plain(1, 1)).expect("created");
    let finalizers = |list: Value| {
        let patch = json!({"metadata": {"finalizers": list}}).to_string();
        kubectl.ok(&["patch", "partitionset", "g", "--type=merge", "-p", &patch]);
    };
    finalizers(json!(["example.org/held"]));
    one.delete("g").expect("on its way out");
    assert_eq!(one.get("g").expect("an answer"), []);
    assert_eq!(one.names(), [""; 0]);
    for client in [&one, &other] {
        let refused = client.create("g", plain(1, 1)).expect_err("not gone yet");
        assert_eq!(refused.code(), Code::Aborted, "{refused:?}");
        // The answer to that came from the API server.
        assert_eq!(client.get("g").expect("an answer"), []);
    }
    kubectl.ok(&["delete", "namespace", namespace.name(), "--wait=false"]);
    let refused = one.create("h", plain(1, 1)).expect_err("in a namespace that ends");
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused:?}");
    finalizers(json!([]));
}

#[test]
fn the_api_server_is_read_for_a_group_that_the_cache_lacks_and_once_for_all_callers() {
    let (namespace, _, [one, _]) = place("reads");
    one.create("g", plain(3, 1)).expect("created");
    let reads = |verb: &str| {
        let audit = ground().control_plane.audit_stages();
        let ours =
            audit.iter().filter(|entry| entry.namespace == namespace.name() && entry.resource == "partitionsets");
        ours.filter(|entry| entry.verb == verb).count()
    };
    let before = (reads("get"), reads("list"));
    for _ in 0..100 {
        only(one.get("g").expect("found"));
    }
    assert_eq!((reads("get"), reads("list")), before, "the cache has it");
    // As many as may wait for a read at a time.
    assert_eq!(one.at_once(90, "none").len(), 90);
    assert_eq!(one.at_once(90, "").len(), 90);
    // Callers that arrive before a read begins share it. Lists come from the cache.
    let (gets, lists) = (reads("get") - before.0, reads("list") - before.1);
    assert!((1..=45).contains(&gets) && lists == 0, "{gets} gets, {lists} lists");
}

#[test]
fn what_one_replica_has_just_not_found_is_found_there_once_another_has_made_it() {
    let (_namespace, _, [one, other]) = place("turns");
    for round in 0..20 {
        assert_eq!(other.get("g").expect("an answer"), [], "round {round}");
        one.create("g", plain(2, 1)).expect("created");
        assert_eq!(only(other.get("g").expect("an answer")).partitions.len(), 2, "round {round}");
        other.delete("g").expect("deleted");
        assert_eq!(other.get("g").expect("an answer"), [], "round {round}");
    }
}
