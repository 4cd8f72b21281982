//! A replica goes while requests keep coming: in order, or not.

use std::time::{Duration, Instant};

use webhook_tests::{Controller, StartOptions};

use crate::load::{Load, failed, summary};
use crate::support::ground;

/// What a rolling update without one failed request has to get through.
const ENOUGH: usize = 2000;
const CLIENTS: usize = 8;

/// Later than most nodes of a cluster observe that a pod leaves, and sooner than its drain ends.
const LAG: Duration = Duration::from_secs(2);

/// The shipped drain instead of the tests' own.
fn shipped_drain() -> StartOptions {
    StartOptions { arguments: vec!["--drain=5s".to_owned()], ..StartOptions::default() }
}

/// Reviews that a replica has answered.
fn reviews(controller: &Controller) -> u64 {
    let metrics = controller.get("/metrics").expect("metrics").body;
    let lines = metrics.lines().filter(|line| line.starts_with("atomix_admission_requests_total{"));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
}

#[test]
fn a_rolling_restart_under_load_fails_no_request() {
    let ground = ground();
    let mut replicas = ground.started(ground.installation.replicas_with(2, shipped_drain(), LAG));
    let load = Load::start(&ground.control_plane, CLIENTS);
    load.await_answers(200);
    let mut before: Vec<String> = Vec::new();
    for _ in 0..2 {
        let oldest = &replicas.controllers[0];
        assert!(reviews(oldest) > 0, "{} had no part in it", oldest.name());
        let answered = load.answered();
        let (old, status) = replicas.replace_oldest().expect("another replica");
        assert!(status.success(), "{old}: {status}");
        // More than were under way when it began.
        assert!(load.answered() > answered + CLIENTS, "there was no load while {old} went");
        before.push(old);
    }
    load.await_answers(ENOUGH.max(load.answered() + 200));
    let sent = load.finish();
    println!("rolling restart: {}", summary(&sent));
    let failures = failed(&sent);
    assert!(failures.is_empty(), "{} of {} failed: {:#?}", failures.len(), sent.len(), failures[0]);
    assert!(sent.len() >= ENOUGH, "only {} requests", sent.len());
    assert_eq!(replicas.controllers.len(), 2);
    for controller in &replicas.controllers {
        assert!(!before.iter().any(|old| old == controller.name()), "{} was not replaced", controller.name());
        assert!(reviews(controller) > 0, "{} had no part in it", controller.name());
    }
}

#[test]
fn when_a_replica_is_killed_only_what_it_had_before_it_fails() {
    let ground = ground();
    let mut replicas = ground.started(ground.installation.replicas(2));
    let load = Load::start(&ground.control_plane, CLIENTS);
    load.await_answers(300);
    let dead = replicas.controllers[0].name().to_owned();
    assert!(reviews(&replicas.controllers[0]) > 0, "{dead} had no part in it");
    let killed = Instant::now();
    replicas.controllers[0].kill().expect("an end");
    replicas.balancer().wait_until(|ready| !ready.contains(&dead)).expect("one is left");
    let noticed = Instant::now();
    load.await_answers(load.answered() + 1000);
    let sent = load.finish();
    println!("kill: {}; noticed after {:?}", summary(&sent), noticed - killed);
    for failure in failed(&sent) {
        assert!(failure.at < noticed, "sent {:?} after the death was noticed: {failure:?}", failure.at - noticed);
        assert!(failure.at + failure.took > killed, "before the death: {failure:?}");
    }
    let after = sent.iter().filter(|sent| sent.at > noticed).count();
    assert!(after >= 900, "only {after} requests afterwards");
}
