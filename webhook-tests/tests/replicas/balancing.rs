//! The stand-in for the Service itself: what the other tests here rely on.

use webhook_tests::Kubectl;

use crate::support::{ground, set};

const DRY: [&str; 4] = ["create", "--dry-run=server", "-f", "-"];

fn admitted(kubectl: &Kubectl) {
    kubectl.feed_ok(&DRY, &set("admitted"));
}

#[test]
fn connections_go_to_ready_replicas_only_and_are_refused_without_one() {
    let ground = ground();
    let kubectl = ground.kubectl();
    let mut replicas = ground.started(ground.installation.replicas(2));
    admitted(&kubectl);

    let first = replicas.controllers[0].name().to_owned();
    assert!(replicas.controllers[0].stop().expect("an end").success());
    replicas.balancer().wait_until(|ready| !ready.contains(&first)).expect("one is left");
    assert_eq!(replicas.balancer().ready(), [replicas.controllers[1].name()]);
    admitted(&kubectl);

    replicas.controllers[1].kill().expect("an end");
    replicas.balancer().wait_until(<[_]>::is_empty).expect("none is left");
    let refused = kubectl.feed_fails(&DRY, &set("refused"));
    assert!(refused.contains("connection refused"), "{refused}");

    replicas.add().expect("another");
    admitted(&kubectl);
}
