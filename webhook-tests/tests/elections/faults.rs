//! What elections survive: a replica that stops, is killed, is frozen, or loses the API server.

use std::time::{Duration, Instant};

use serde_json::json;
use tonic::Code;
use webhook_tests::{Link, Signal, StartOptions, text};

use crate::support::{SOON, Stream, ground, short};

/// For how long a dead replica's candidates may stand: half of it, and whatever a busy machine takes to notice.
const NO_GHOST_AFTER: Duration = Duration::from_secs(60);
/// A ping is sent after ten seconds and answered within ten more, or the host has vanished; and whatever a busy machine
/// takes. It cannot have been noticed much sooner.
const VANISHED_AFTER: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(60));
/// A replica that can reach the API server again looks twice in that time whether others are dead.
const LOOKED_AROUND: Duration = Duration::from_secs(4);

/// The replicas that have announced themselves, by pod.
fn announced() -> Vec<String> {
    let lease = ground().installation.kubectl().get_json(&["lease", "atomix-controller-replicas"]);
    let annotations = lease["metadata"]["annotations"].as_object().expect("annotations");
    let said = annotations.values().map(|value| value.as_str().expect("a text"));
    said.map(|said| text(&serde_json::from_str(said).expect("JSON"), "/pod").to_owned()).collect()
}

#[test]
fn a_replica_that_stops_withdraws_its_candidates_and_sends_their_nodes_to_another() {
    let ground = ground();
    let set = ground.set("stops", 1, 2);
    let mut stops = ground.replica(StartOptions::default());
    assert!(announced().contains(&stops.name().to_owned()));
    let goes = set.stand(&stops, 1, 0, "1 w-1-0");
    let stays = set.stand(&ground.replicas[0], 1, 1, "1 w-1-0 w-1-1");
    assert!(stops.stop().expect("an end").success(), "{}", stops.log());
    let (code, message) = goes.ends();
    assert_eq!((code, message.contains("another one answers")), (Code::Unavailable, true), "{message}");
    stays.receives("2 w-1-1");
    assert_eq!(short(&set.record(1)), "2 w-1-1");
    assert!(!announced().contains(&stops.name().to_owned()));
    // Its node comes back elsewhere.
    set.enter(&ground.replicas[1], 1, 0).receives("2 w-1-1 w-1-0");
}

#[test]
fn candidates_of_a_replica_that_is_killed_are_gone_in_time() {
    let ground = ground();
    let set = ground.set("killed", 2, 2);
    let mut killed = ground.replica(StartOptions::default());
    let _first = set.stand(&killed, 1, 0, "1 w-1-0");
    let _alone = set.stand(&killed, 2, 0, "1 w-2-0");
    let second = set.stand(&ground.replicas[1], 1, 1, "1 w-1-0 w-1-1");
    killed.kill().expect("an end");
    let begun = Instant::now();
    second.hears_within("2 w-1-1", NO_GHOST_AFTER);
    // Nobody has a stream of this one.
    set.await_record(2, NO_GHOST_AFTER.saturating_sub(begun.elapsed()), |record| record["candidates"] == json!([]));
    println!("no dead candidate {:?} after the replica was killed", begun.elapsed());
    assert_eq!(short(&set.record(2)), "1");
}

#[test]
fn a_candidate_whose_host_has_vanished_is_gone_in_time() {
    let ground = ground();
    let set = ground.set("vanished", 1, 2);
    let link = Link::to(ground.replicas[0].grpc_addr()).expect("a link");
    let vanishes = Stream::open(link.address(), set.namespace(), 1, "w-1-0");
    vanishes.receives("1 w-1-0");
    let stays = set.stand(&ground.replicas[1], 1, 1, "1 w-1-0 w-1-1");
    vanishes.receives("1 w-1-0 w-1-1");
    link.freeze();
    let begun = Instant::now();
    stays.hears_within("2 w-1-1", VANISHED_AFTER.1);
    let noticed = begun.elapsed();
    println!("gone {noticed:?} after its host had vanished");
    assert!(noticed > VANISHED_AFTER.0, "it has not vanished, but left");
    // It received nothing.
    vanishes.is_quiet();
}

#[test]
fn a_replica_that_was_taken_for_dead_enters_its_candidates_anew() {
    let ground = ground();
    let set = ground.set("frozen", 1, 2);
    let frozen = ground.replica(StartOptions::default());
    let first = set.stand(&frozen, 1, 0, "1 w-1-0");
    let second = set.stand(&ground.replicas[1], 1, 1, "1 w-1-0 w-1-1");
    frozen.signal(Signal::Stop);
    second.receives("2 w-1-1");
    frozen.signal(Signal::Cont);
    // Its own stream has lived through it, if its node was as patient as this one.
    second.receives("2 w-1-1 w-1-0");
    first.receives("2 w-1-1 w-1-0");
}

#[test]
fn a_term_outlives_the_api_server_and_nobody_dies_for_who_is_cut_off_from_it() {
    let ground = ground();
    let set = ground.set("away", 2, 3);
    let link = Link::new(ground.control_plane).expect("a link");
    let cut_off = ground.replica(StartOptions { server: Some(link.server()), ..StartOptions::default() });
    let primary = set.stand(&cut_off, 1, 0, "1 w-1-0");
    let elsewhere = set.stand(&ground.replicas[0], 2, 1, "1 w-2-1");
    let beside = set.stand(&cut_off, 2, 2, "1 w-2-1 w-2-2");
    elsewhere.receives("1 w-2-1 w-2-2");

    link.cut();
    let waits = set.enter(&cut_off, 1, 1);
    // The others cannot distinguish it from a dead one.
    elsewhere.receives("1 w-2-1");
    set.await_record(1, SOON, |record| record["candidates"] == json!([]));
    for stream in [&primary, &beside, &waits] {
        stream.is_quiet();
    }
    link.mend();
    // Those that were dropped enter anew, after the one that has waited.
    waits.receives("2 w-1-1 w-1-0");
    primary.receives("2 w-1-1 w-1-0");
    // Who was silent only for the replica that was cut off is no dead candidate: no other term has begun.
    elsewhere.receives("1 w-2-1 w-2-2");
    elsewhere.is_quiet_for(LOOKED_AROUND);
    // For its own replica it had never been away.
    beside.is_quiet();
}
