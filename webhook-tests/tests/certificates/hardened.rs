//! A cluster that has taken away what every user may do by default: the binding `system:basic-user`.

use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::json;
use webhook_tests::Controller;

use crate::check::check;
use crate::support::{Ground, SOON, ground, quick};

const BINDING: [&str; 2] = ["clusterrolebinding", "system:basic-user"];
const ROLE: [&str; 2] = ["clusterrole", "atomix-controller"];
const PAUSE: Duration = Duration::from_millis(20);

/// Waits until the API server knows that the controller may not ask who it is; others may not either.
fn await_refusal(ground: &Ground, account: &str) {
    let account = format!("--as=system:serviceaccount:{account}");
    let deadline = Instant::now() + SOON;
    while ground.kubectl().run(&["auth", "whoami", &account]).status.success() {
        assert!(Instant::now() < deadline, "{account} may still ask who it is");
        sleep(PAUSE);
    }
}

/// The lines of `/readyz` about what is waited for.
fn waited_for(controller: &Controller) -> Vec<String> {
    let report = controller.get("/readyz?verbose").map(|answer| answer.body).unwrap_or_default();
    report.lines().filter(|line| line.starts_with("[-] ")).map(str::to_owned).collect()
}

#[test]
fn the_controller_knows_its_name_by_its_own_right_and_says_what_is_missing_without_it() {
    let ground = ground();
    let kubectl = ground.kubectl();
    kubectl.ok(&["delete", BINDING[0], BINDING[1]]);
    await_refusal(&ground, "default:default");
    let mut controller = ground.installation.start_with(quick(&[])).expect("a controller");
    controller.wait_ready().expect("ready with the rights of the manifest");
    let output = check(&ground, None, &[]);
    assert!(output.status.success() && output.stdout.starts_with("ok       rights "), "{}", output.stdout);
    assert!(controller.stop().expect("an end").success());

    // Without the right it waits, names it, and does not lead.
    let rules = kubectl.get_json(&ROLE)["rules"].as_array().expect("rules").clone();
    let granted = |rule: &serde_json::Value| rule["apiGroups"] == json!(["authentication.k8s.io"]);
    let index = rules.iter().position(granted).expect("the right");
    let patch =
        |operation| kubectl.ok(&["patch", ROLE[0], ROLE[1], "--type=json", "-p", &json!([operation]).to_string()]);
    patch(json!({"op": "remove", "path": format!("/rules/{index}")}));
    await_refusal(&ground, "kube-system:atomix-controller");
    let mut controller = ground.installation.start_with(quick(&[])).expect("a controller");
    let deadline = Instant::now() + SOON;
    let waits = loop {
        let waits = waited_for(&controller);
        if waits.len() == 1 && waits[0].contains("cannot create resource") {
            break waits;
        }
        assert!(Instant::now() < deadline, "{waits:#?}");
        sleep(PAUSE);
    };
    assert!(waits[0].contains("own account") && waits[0].contains("selfsubjectreviews"), "{waits:#?}");
    assert_eq!(kubectl.get_json(&["lease", "atomix-controller"])["spec"]["holderIdentity"], "");
    let output = check(&ground, None, &[]);
    let rights = output.stdout.lines().next().unwrap_or_default();
    assert!(rights.starts_with("FAILED   rights "), "{}", output.stdout);
    assert!(rights.contains("kube-system:atomix-controller may not create selfsubjectreviews.authentication.k8s.io. "));

    patch(json!({"op": "add", "path": format!("/rules/{index}"), "value": rules[index]}));
    controller.wait_ready().expect("ready with the right");
    let deadline = Instant::now() + SOON;
    while !controller.leads() {
        assert!(Instant::now() < deadline, "no replica leads");
        sleep(PAUSE);
    }
    kubectl.ok(&["create", BINDING[0], BINDING[1], "--clusterrole=system:basic-user", "--group=system:authenticated"]);
}
