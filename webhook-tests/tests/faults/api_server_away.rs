//! The API server is away for three minutes, for the controller alone: it goes
//! on with what it can do without, and catches up when the API server is back.

use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::json;
use webhook_tests::{ControlPlane, Installation, Link, Namespace, StartOptions};

use crate::api::Api;
use crate::support::{SOON, await_ready, endpoints, items, says_ready, set};

const AWAY: Duration = Duration::from_secs(180);
/// Between two looks at the controller meanwhile.
const LOOK: Duration = Duration::from_millis(500);
/// Lines of log that three minutes of attempts are worth: the Lease is tried every 2 s, and watches are logged once.
const LINES: usize = 400;

#[test]
fn the_api_server_may_be_away_for_three_minutes() {
    let control_plane = ControlPlane::start().expect("a control plane");
    let installation = Installation::new(&control_plane).expect("an installation");
    let link = Link::new(&control_plane).expect("a link");
    let options = StartOptions { server: Some(link.server()), ..StartOptions::default() };
    let mut controller = installation.start_with(options).expect("a controller");
    controller.wait_ready().expect("a ready controller");
    let namespace = Namespace::new(control_plane.kubectl(), "away");
    let kubectl = namespace.kubectl();
    kubectl.create_stdin(&set("w", 3, 2).to_string());
    await_ready(&kubectl, "w");
    let before = endpoints(&kubectl, "w");
    assert_eq!(before.len(), 2, "{before:#?}");
    let (cpu, memory, lines) = (controller.cpu_time(), controller.rss_bytes(), controller.log().lines().count());

    let api = Api::new(&controller);
    api.await_current();
    assert!(api.is_up());
    assert_eq!(api.partitions(namespace.name(), "w"), 3);

    link.cut();
    let cut = Instant::now();
    // Others still have the API server, and that still has the webhooks.
    let rejected = kubectl.fails(&["patch", "partitionset", "w", "--type=merge", "-p", r#"{"spec":{"partitions":1}}"#]);
    assert!(rejected.contains("allow-partition-removal"), "{rejected}");
    let grown = json!({"spec": {"partitions": 5}}).to_string();
    kubectl.ok(&["patch", "partitionset", "w", "--type=merge", "-p", &grown]);
    kubectl.ok(&["delete", "service", "w-2-hs"]);
    while cut.elapsed() < AWAY {
        assert!(says_ready(&controller), "{:?}: {:?}", cut.elapsed(), controller.get("/readyz?verbose"));
        assert_eq!(controller.ended().expect("a state"), None);
        // Over gRPC too: it is there, and answers from what it knows, which is what was true before.
        assert!(api.is_up(), "{:?}", cut.elapsed());
        assert_eq!(api.partitions(namespace.name(), "w"), 3);
        sleep(LOOK);
    }
    assert!(!api.is_current(), "it says that what it reads is current");
    assert_eq!(endpoints(&kubectl, "w"), before, "changed while nobody could have");
    assert!(!controller.leads());
    let (cpu, log) = (controller.cpu_time().saturating_sub(cpu), controller.log());
    let said = log.lines().count() - lines;
    println!(
        "in {AWAY:?} without the API server: {cpu:?} of CPU time, {said} lines of log, {memory} bytes before, {} after",
        controller.rss_bytes()
    );
    assert!(cpu < AWAY / 18, "it is busy with nothing: {cpu:?}");
    assert!(said < LINES, "{said} lines:\n{log}");

    link.mend();
    let mended = Instant::now();
    await_ready(&kubectl, "w");
    println!("caught up {:?} after the API server was back", mended.elapsed());
    assert_eq!(items(&kubectl, &["partitions"]).len(), 5);
    // The watch of Services may be the last to begin again: only then is it known that one was deleted.
    kubectl.wait_until(&["services"], SOON, |services| services.len() == 2 * 5 + 1);
    api.await_current();
    assert_eq!(api.partitions(namespace.name(), "w"), 5);
    assert!(api.is_up() && controller.leads());
}
