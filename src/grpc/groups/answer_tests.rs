use super::*;
use crate::api::PartitionSetSpec;

fn set(partitions: Option<i64>, size: Option<i64>, protocol: &str, config: Option<&str>) -> PartitionSet {
    let mut spec = PartitionSetSpec { partitions, ..Default::default() };
    spec.template.spec.size = size;
    spec.template.spec.protocol = protocol.to_owned();
    spec.template.spec.config = config.map(str::to_owned);
    PartitionSet::new("atx", spec)
}

#[test]
fn an_answer_has_every_partition_at_the_address_of_its_service() {
    let group = Group::of(&set(Some(11), Some(3), "log", None)).unwrap().answer("ns", "atx", "example.org");
    assert_eq!(group.id, Some(PartitionGroupId { name: "atx".to_owned(), namespace: "ns".to_owned() }));
    let ids: Vec<i32> = group.partitions.iter().map(|partition| partition.partition_id).collect();
    assert_eq!(ids, (1..=11).collect::<Vec<_>>());
    let endpoint = PartitionEndpoint { host: "atx-11.ns.svc.example.org".to_owned(), port: 5678 };
    assert_eq!(group.partitions[10].endpoints, [endpoint]);
    let most = Group::of(&set(Some(MAX_PARTITIONS), Some(1), "raft", None)).unwrap().answer("ns", "atx", "example.org");
    for (index, partition) in (1..).zip(&most.partitions) {
        let host = &partition.endpoints[0].host;
        assert_eq!(*host, names::service_host(&names::partition("atx", index), "ns", "example.org"));
    }
}

#[test]
fn what_the_user_left_out_is_answered_as_its_default() {
    let spec = Group::of(&set(None, None, "raft", None)).unwrap().answer("ns", "atx", "x").spec.unwrap();
    let protocol = spec.protocol.unwrap();
    assert_eq!((spec.partitions, spec.partition_size), (1, 1));
    assert_eq!(
        (protocol.type_url.as_str(), protocol.value),
        ("type.googleapis.com/atomix.protocols.raft.RaftProtocol", vec![])
    );
    let mut alias = set(None, None, "raft", None);
    alias.spec.partition_size = Some(5);
    assert_eq!(Group::of(&alias).unwrap().size, 5);
}

#[test]
fn options_that_cannot_be_read_do_not_hide_the_group() {
    let group = Group::of(&set(Some(2), Some(1), "raft", Some("electionTimout: 5s"))).unwrap();
    let answer = group.answer("ns", "atx", "x");
    assert_eq!(answer.partitions.len(), 2);
    let protocol = answer.spec.unwrap().protocol.unwrap();
    assert_eq!(
        (protocol.type_url.as_str(), protocol.value),
        ("type.googleapis.com/atomix.protocols.raft.RaftProtocol", vec![])
    );
}

#[test]
fn a_set_that_no_client_could_use_is_refused_with_what_is_wrong() {
    for (partitions, size, protocol, field) in [
        (0, 1, "raft", "spec.partitions"),
        (-3, 1, "raft", "spec.partitions"),
        (1001, 1, "raft", "spec.partitions"),
        (i64::MAX, 1, "raft", "spec.partitions"),
        (1, 0, "raft", "spec.template.spec.size"),
        (1, -1, "raft", "spec.template.spec.size"),
        (1, 1, "paxos", "spec.template.spec.protocol"),
    ] {
        let violations = Group::of(&set(Some(partitions), Some(size), protocol, None)).unwrap_err();
        assert!(violations.iter().any(|violation| violation.field == field), "{violations:?}");
    }
    // Too many members, and too long a name, are wrong as well: clients can use the group all the same.
    assert!(Group::of(&set(Some(1), Some(99), "raft", None)).is_ok());
}

#[test]
fn groups_differ_by_what_clients_ask_for_and_by_nothing_else() {
    let group = |partitions, size, protocol, config| Group::of(&set(partitions, size, protocol, config)).unwrap();
    let existing = group(None, Some(3), "raft", Some("# as we like it\nelection_timeout: 1m"));
    assert_eq!(existing.differences(&group(Some(1), Some(3), "raft", Some("{electionTimeout: 60s}"))), [""; 0]);
    assert_eq!(
        existing.differences(&group(Some(2), None, "raft", Some("electionTimeout: 5s"))),
        [
            "partitions is 1, not 2",
            "partition_size is 3, not 1",
            r#"configuration is {"electionTimeout":"60s"}, not {"electionTimeout":"5s"}"#,
        ]
    );
    assert_eq!(existing.differences(&group(None, Some(3), "log", None)), ["protocol is raft, not log"]);
    let broken = group(None, Some(3), "raft", Some("["));
    assert_eq!(broken.differences(&group(None, Some(3), "raft", None)), ["configuration is unreadable, not {}"]);
    let mut other_image = set(None, Some(3), "raft", None);
    other_image.spec.template.spec.image = Some("r:2".to_owned());
    assert_eq!(Group::of(&other_image).unwrap().differences(&group(None, Some(3), "raft", None)), [""; 0]);
}
