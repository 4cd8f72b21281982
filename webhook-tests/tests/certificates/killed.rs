//! The leader dies in the midst of a rotation, at each of its steps.

use std::time::Duration;

use webhook_tests::Replicas;

use crate::support::{CONFIGURATIONS, decoded, ground, quick};
use crate::wire::Wire;

/// Kills the replica that leads, and starts another in its place.
fn kill_leader(replicas: &mut Replicas<'_>) {
    let leader = replicas.controllers.iter().position(webhook_tests::Controller::leads).expect("a leader");
    let mut leader = replicas.controllers.remove(leader);
    leader.kill().expect("its end");
    replicas.balancer().remove(leader.name());
    replicas.add().expect("another replica");
}

#[test]
fn a_rotation_goes_on_whenever_the_leader_dies() {
    let ground = ground();
    // Long enough to be killed in.
    let options = quick(&["--ca-hold-down=3s"]);
    let started = ground.installation.replicas_with(2, options, Duration::ZERO);
    let mut replicas = started.expect("replicas");
    let wire = Wire::start(&ground, 50, false);
    ground.annotate("k8s.atomix.io/rotate-ca=a test");
    for phase in ["Published", "Promoted"] {
        ground.await_secret(|secret| decoded(secret, "phase") == phase);
        kill_leader(&mut replicas);
    }
    let secret = ground.await_generation(2);
    // With the last write just made.
    kill_leader(&mut replicas);
    for kind in CONFIGURATIONS {
        ground.await_bundle(kind, &decoded(&secret, "current.crt"));
    }
    ground.assert_admission_works();
    wire.await_connections(500);
    let made = wire.finish();
    println!("{made}");
    assert!(made.failed.is_empty(), "{}", made.failed[0]);
    assert!(made.connections >= 500 && made.changes >= 2, "{made}");
}
