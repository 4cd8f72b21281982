//! Clocks of other machines that are ahead of the controller's.

use serde_json::{Value, json};
use webhook_tests::Kubectl;

use crate::rolling::patch_template;
use crate::support::{SOON, await_ready, create_ready, sandbox, set, text};

/// Moves the time since which an object is Ready into the future, as a clock does that is ahead.
fn put_ahead(kubectl: &Kubectl, kind: &str, name: &str) {
    const LATER: &str = "2099-01-01T00:00:00Z";
    let object = kubectl.get_json(&[kind, name]);
    let conditions = object["status"]["conditions"].as_array().expect("conditions");
    let index = conditions.iter().position(|condition| condition["type"] == "Ready").expect("a condition");
    let since = format!("/status/conditions/{index}/lastTransitionTime");
    let patch = json!([{"op": "replace", "path": since, "value": LATER}]).to_string();
    kubectl.ok(&["patch", kind, name, "--subresource=status", "--type=json", "-p", &patch]);
}

#[test]
fn a_clock_that_is_ahead_delays_a_roll_by_no_more_than_the_ten_seconds_of_the_wait() {
    let (_namespace, kubectl) = sandbox("clock-ahead");
    create_ready(&kubectl, &set("w", 2, "raft", 1), "w");
    // The clock of a former leader, and that of a pod's host.
    put_ahead(&kubectl, "partition", "w-1");
    put_ahead(&kubectl, "pod", "w-2-0");
    patch_template(&kubectl, &json!({"image": "node:2"}));
    kubectl.wait_until(&["pods"], SOON, |pods: &[Value]| {
        pods.len() == 2 && pods.iter().all(|pod| text(pod, "/spec/containers/0/image") == "node:2")
    });
    await_ready(&kubectl, "w");
}
