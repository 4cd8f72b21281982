//! What the API promises of elections, sentence by sentence.

use std::time::Instant;

use serde_json::json;
use tonic::Code;

use crate::support::{Received, SOON, Stream, ground, short};
use webhook_tests::{Kubectl, items};

#[test]
fn a_member_hears_the_first_term_in_which_it_stands_and_then_each_change() {
    let ground = ground();
    let set = ground.set("receives", 1, 3);
    let [one, other] = &ground.replicas;
    let first = set.stand(one, 1, 1, "1 w-1-1");
    // Entered elsewhere, received everywhere.
    let second = set.stand(other, 1, 0, "1 w-1-1 w-1-0");
    first.receives("1 w-1-1 w-1-0");
    let third = set.stand(one, 1, 2, "1 w-1-1 w-1-0 w-1-2");
    assert_eq!(short(&set.record(1)), "1 w-1-1 w-1-0 w-1-2");
    // Who is not primary leaves: the term stays.
    second.receives("1 w-1-1 w-1-0 w-1-2");
    drop(second);
    first.receives("1 w-1-1 w-1-2");
    third.receives("1 w-1-1 w-1-2");
    // The primary leaves.
    first.is_quiet();
    drop(first);
    third.receives("2 w-1-2");
    assert_eq!(short(&set.record(1)), "2 w-1-2");
    // No candidate is left, and one comes: that is another term, of the same member too.
    drop(third);
    set.await_record(1, SOON, |record| record["candidates"] == json!([]));
    assert_eq!(short(&set.record(1)), "2");
    drop(set.stand(other, 1, 2, "3 w-1-2"));
}

#[test]
fn kubectl_shows_who_is_primary() {
    let ground = ground();
    let set = ground.set("shown", 2, 1);
    let _stream = set.stand(&ground.replicas[0], 2, 0, "1 w-2-0");
    let table = set.kubectl().ok(&["get", "partitions", "-o", "wide"]);
    let row = |name: &str| {
        let line = table.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        line.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    assert!(row("NAME").contains(&"PRIMARY".to_owned()), "{table}");
    assert!(row("w-2").contains(&"w-2-0".to_owned()) && !row("w-1").contains(&"w-1-0".to_owned()), "{table}");
}

#[test]
fn a_newer_stream_of_the_same_member_takes_the_place_of_the_older() {
    let ground = ground();
    let set = ground.set("newer", 1, 2);
    let [one, other] = &ground.replicas;
    let first = set.stand(one, 1, 0, "1 w-1-0");
    let second = set.stand(one, 1, 1, "1 w-1-0 w-1-1");
    // On another replica, and on the same one.
    let newer = set.enter(other, 1, 0);
    assert_eq!(first.ends().0, Code::Aborted);
    second.receives("2 w-1-1 w-1-0");
    newer.receives("2 w-1-1 w-1-0");
    let newest = set.enter(other, 1, 0);
    let (code, message) = newer.ends();
    assert_eq!((code, message.contains("newer stream")), (Code::Aborted, true), "{message}");
    newest.receives("2 w-1-1 w-1-0");
    drop(second);
    newest.receives("3 w-1-0");
    // One that has ended takes nobody with it.
    drop((first, newer));
    newest.is_quiet();
}

#[test]
fn who_cannot_be_a_candidate_is_told_why() {
    let ground = ground();
    let set = ground.set("refused", 1, 2);
    let refused = |partition: i32, member: &str| {
        let stream = Stream::open(ground.replicas[0].grpc_addr(), set.namespace(), partition, member);
        let (code, message) = stream.ends();
        (code, message)
    };
    let namespace = set.namespace();
    for (partition, member, code, message) in [
        (7, "w-7-0", Code::NotFound, format!("partition {namespace}/w-7 does not exist")),
        (
            0,
            "w-0-0",
            Code::InvalidArgument,
            "partition_id.partition: Invalid value: 0: must be greater than or equal to 1".to_owned(),
        ),
        (1, "", Code::InvalidArgument, "member: Required value".to_owned()),
        (
            1,
            "w-1-2",
            Code::InvalidArgument,
            r#"member: Invalid value: "w-1-2": must be one of the partition's pods: w-1-0, w-1-1"#.to_owned(),
        ),
        (
            1,
            "w-2-0",
            Code::InvalidArgument,
            r#"member: Invalid value: "w-2-0": must be one of the partition's pods: w-1-0, w-1-1"#.to_owned(),
        ),
    ] {
        assert_eq!(refused(partition, member), (code, message));
    }
    for (elsewhere, code, message) in [
        ("no-such-namespace", Code::NotFound, "partition no-such-namespace/w-1 does not exist"),
        ("", Code::NotFound, "partition default/w-1 does not exist"),
        ("a/partitions?b=", Code::InvalidArgument, "partition_id.group.namespace: "),
    ] {
        let stream = Stream::open(ground.replicas[0].grpc_addr(), elsewhere, 1, "w-1-0");
        let (refused, why) = stream.ends();
        assert_eq!((refused, why.starts_with(message)), (code, true), "{why}");
    }
    assert!(set.record(1).is_null());
}

#[test]
fn streams_end_with_their_partition() {
    let ground = ground();
    let set = ground.set("deleted", 2, 3);
    let [one, other] = &ground.replicas;
    let stays = set.stand(one, 1, 0, "1 w-1-0");
    let goes = set.stand(other, 1, 2, "1 w-1-0 w-1-2");
    let of_another = set.stand(one, 2, 0, "1 w-2-0");
    let kubectl = set.kubectl();
    let patch = json!({"spec": {"partitionSize": 2, "template": {"spec": {"size": 2}}}}).to_string();
    kubectl.ok(&["patch", "partitionset", "w", "--type=merge", "-p", &patch]);
    let (code, message) = goes.ends();
    assert_eq!((code, message.contains("smaller")), (Code::Aborted, true), "{message}");
    stays.receives("1 w-1-0");
    kubectl.ok(&["delete", "partitionset", "w"]);
    for stream in [stays, of_another] {
        assert_eq!(stream.ends().0, Code::NotFound);
    }
    assert_eq!(set.enter(one, 1, 0).ends().0, Code::NotFound);
}

#[test]
fn a_partition_that_is_made_anew_begins_with_the_first_term() {
    let ground = ground();
    let set = ground.set("anew", 1, 1);
    drop(set.stand(&ground.replicas[0], 1, 0, "1 w-1-0"));
    let former = set.stand(&ground.replicas[0], 1, 0, "2 w-1-0");
    set.kubectl().ok(&["delete", "partition", "w-1"]);
    assert_eq!(former.ends().0, Code::NotFound);
    set.kubectl().wait_until(&["partitions"], SOON, |partitions| partitions.len() == 1);
    // As soon as a replica knows it.
    let begun = Instant::now();
    let first = loop {
        match set.enter(&ground.replicas[1], 1, 0).first() {
            Received::Term(term) => break term,
            Received::End(status) => {
                let transient = matches!(status.code(), Code::NotFound | Code::Unavailable);
                assert!(transient && begun.elapsed() < SOON, "{status:?}");
            }
        }
    };
    assert_eq!((first.term, &*first.primary), (1, "w-1-0"));
}

#[test]
fn controllers_and_elections_leave_each_others_status_alone() {
    let ground = ground();
    let set = ground.set("status", 1, 2);
    let kubectl = set.kubectl();
    let _stream = set.stand(&ground.replicas[1], 1, 0, "1 w-1-0");
    let record = set.record(1);
    // The controllers write what they see of the pods.
    let stage = |stage: &str| {
        kubectl.ok(&["annotate", "pod", "w-1-1", "--overwrite", &format!("webhook-tests.atomix.io/stage={stage}")]);
    };
    stage("never-ready");
    kubectl.wait_until(&["partition", "w-1"], SOON, |partitions| partitions[0]["status"]["readyReplicas"] == 1);
    stage("ready");
    let partition =
        kubectl.wait_until(&["partition", "w-1"], SOON, |partitions| partitions[0]["status"]["readyReplicas"] == 2);
    assert_eq!(partition[0]["status"]["election"], record);

    // What elections write, they write once, and it makes the controllers write nothing. What these still had to write,
    // they have written when another set is ready.
    let _barrier = ground.set("barrier", 1, 1);
    let settled = of_the_controllers(&kubectl);
    let before = ground.control_plane.audit().len();
    for _ in 0..5 {
        drop(set.stand(&ground.replicas[0], 1, 1, "1 w-1-0 w-1-1"));
        set.await_record(1, SOON, |record| record["candidates"] == json!(["w-1-0"]));
    }
    let audit = ground.control_plane.audit();
    let written = audit[before..].iter().filter(|entry| {
        let reads = ["get", "list", "watch"].contains(&&*entry.verb);
        // One that lost a race wrote nothing.
        entry.namespace == set.namespace() && entry.resource == "partitions" && !reads && entry.code == 200
    });
    let written: Vec<_> = written.map(|entry| (&*entry.verb, &*entry.subresource)).collect();
    assert_eq!(written, [("patch", "status"); 10]);
    assert_eq!(of_the_controllers(&kubectl), settled);
}

/// What the controllers have written of the partition.
fn of_the_controllers(kubectl: &Kubectl) -> serde_json::Value {
    let mut status = items(kubectl, &["partitions"])[0]["status"].clone();
    status.as_object_mut().expect("a status").remove("election");
    status
}
