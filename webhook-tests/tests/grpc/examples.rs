//! The examples of how the API is secured are what an API server takes.

use webhook_tests::{Kubectl, binaries};

use crate::support::ground;

/// Applies one of the shipped examples.
pub fn apply(kubectl: &Kubectl, example: &str) {
    let file = binaries::workspace().join("deploy/examples").join(example);
    kubectl.ok(&["apply", "-f", &file.to_string_lossy()]);
}

#[test]
fn the_network_policy_leaves_the_webhooks_open_and_selects_the_controllers_pods() {
    let kubectl = ground().control_plane.kubectl().in_namespace("kube-system");
    apply(&kubectl, "grpc-network-policy.yaml");
    let policy = kubectl.get_json(&["networkpolicy", "atomix-controller"]);
    let deployment = kubectl.get_json(&["deployment", "atomix-controller"]);
    assert_eq!(policy["spec"]["podSelector"], deployment["spec"]["selector"]);
    let rules = policy["spec"]["ingress"].as_array().expect("rules");
    let open: Vec<_> = rules
        .iter()
        .filter(|rule| rule["from"].is_null())
        .flat_map(|rule| rule["ports"].as_array().expect("ports").clone())
        .map(|port| port["port"].clone())
        .collect();
    assert_eq!(open, ["webhook", "metrics"]);
    let ports = deployment["spec"]["template"]["spec"]["containers"][0]["ports"].as_array().expect("ports").clone();
    for rule in rules {
        for port in rule["ports"].as_array().expect("ports") {
            assert!(ports.iter().any(|named| named["name"] == port["port"]), "{port}");
        }
    }
}
