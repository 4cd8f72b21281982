//! How one replica ends on a signal.

use std::thread;
use std::time::{Duration, Instant};

use webhook_tests::{Controller, Signal, StartOptions};

use crate::support::ground;
use crate::wire::{Wire, review};

/// Longer than anything here takes on a busy machine.
const SOON: Duration = Duration::from_secs(60);

fn with_drain(drain: &str) -> StartOptions {
    StartOptions { arguments: vec![format!("--drain={drain}")], ..StartOptions::default() }
}

/// Waits until it says that it drains.
#[track_caller]
fn await_not_ready(controller: &Controller) {
    let deadline = Instant::now() + SOON;
    loop {
        let answer = controller.get("/readyz").expect("an answer");
        if answer.status == 503 && answer.body.contains("shutdown: draining") {
            return;
        }
        assert!(Instant::now() < deadline, "{answer:?}");
        thread::sleep(Duration::from_millis(1));
    }
}

#[track_caller]
fn end_of(controller: &mut Controller) -> Option<i32> {
    let deadline = Instant::now() + SOON;
    loop {
        if let Some(status) = controller.ended().expect("a status") {
            return status.code();
        }
        assert!(Instant::now() < deadline, "it goes on");
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_replica_that_is_told_to_end_is_not_ready_at_once_and_answers_until_its_drain_is_over() {
    const DRAIN: Duration = Duration::from_secs(20);
    let ground = ground();
    let mut controller = ground.installation.start_with(with_drain("20s")).expect("a controller");
    controller.wait_ready().expect("ready");
    let wire = Wire::new(&ground);
    let address = controller.webhook_addr();
    let mut kept = wire.connect(address).expect("a connection");
    assert!(!kept.post("/mutate", &review("before", 0)).expect("an answer").closes);
    let mut idle = wire.connect(address).expect("a connection");
    assert!(!idle.post("/mutate", &review("idle", 0)).expect("an answer").closes);

    let signalled = Instant::now();
    controller.signal(Signal::Term);
    await_not_ready(&controller);
    let mut new = wire.connect(address).expect("a connection while it drains");
    for connection in [&mut kept, &mut new] {
        let answer = connection.post("/mutate", &review("during", 0)).expect("an answer while it drains");
        assert!(answer.closes, "{answer:?}");
        assert_eq!(answer.response()["allowed"], true);
        assert!(connection.is_closed());
    }
    assert!(signalled.elapsed() < DRAIN, "the machine is too slow for this test");
    // What is kept and not used is not closed before the end.
    assert!(idle.is_closed());
    assert!(signalled.elapsed() >= DRAIN, "closed after {:?}", signalled.elapsed());
    assert_eq!(end_of(&mut controller), Some(0), "{}", controller.log());
    assert!(signalled.elapsed() < DRAIN + Duration::from_secs(20), "ended after {:?}", signalled.elapsed());
    assert!(wire.connect(address).is_err());
}

#[test]
fn a_replica_that_is_told_twice_ends_at_once() {
    let ground = ground();
    let mut controller = ground.installation.start_with(with_drain("5m")).expect("a controller");
    controller.wait_ready().expect("ready");
    controller.signal(Signal::Term);
    await_not_ready(&controller);
    controller.signal(Signal::Term);
    assert_eq!(end_of(&mut controller), Some(1), "{}", controller.log());
}
