//! Every object that a set consists of, compared whole with the files below
//! `expected/`.
//!
//! After an intended change, write those files anew and look at the difference:
//!
//! ```sh
//! UPDATE_EXPECTED=1 cargo test -p webhook-tests --test controllers children
//! git diff webhook-tests/tests/controllers/expected
//! ```

use std::fs;

use serde_json::Value;
use webhook_tests::{Kubectl, binaries};

use crate::support::objects::{Object, of_group, of_partition};
use crate::support::whole::{Whole, assert_same, compare, expected};
use crate::support::{SOON, addresses, await_ready, create_ready, items, sandbox, set, text};

const EVERYTHING: &str = include_str!("fixtures/journal.yaml");

fn compare_all(kubectl: &Kubectl, fixture: &str, objects: &[Object]) {
    for (object, actual) in objects.iter().zip(Whole::new(kubectl).all(kubectl, objects)) {
        compare(fixture, object, &actual);
    }
}

#[test]
fn the_seed_documents_set_has_exactly_the_objects_of_the_contract() {
    let (_namespace, kubectl) = sandbox("seed");
    let example = fs::read_to_string(binaries::workspace().join("deploy/examples/raft.yaml")).expect("the example");
    create_ready(&kubectl, &example, "raft");

    compare_all(&kubectl, "seed", &of_group("raft"));
    compare_all(&kubectl, "seed", &of_partition("raft", 1));

    // The others differ from the first by its number, and in nothing else.
    let whole = Whole::new(&kubectl);
    for index in 2..=6 {
        let others = of_partition("raft", index);
        for ((first, other), actual) in of_partition("raft", 1).iter().zip(&others).zip(whole.all(&kubectl, &others)) {
            assert_same(other, &of_another_index(&expected("seed", first), index), &actual);
        }
    }
}

/// What partition 1 has, for another partition.
fn of_another_index(first: &Value, index: u32) -> Value {
    let text = first
        .to_string()
        .replace("raft-1", &format!("raft-{index}"))
        .replace(r#"partition":"1""#, &format!(r#"partition":"{index}""#))
        .replace(r#"{\"partition\":1,"#, &format!(r#"{{\"partition\":{index},"#));
    serde_json::from_str(&text).expect("JSON")
}

#[test]
fn everything_that_a_set_can_say_reaches_its_objects() {
    let (_namespace, kubectl) = sandbox("everything");
    kubectl.create_stdin("apiVersion: v1\nkind: Secret\nmetadata: {name: registry}\n");
    create_ready(&kubectl, EVERYTHING, "journal");

    compare_all(&kubectl, "everything", &of_group("journal"));
    compare_all(&kubectl, "everything", &of_partition("journal", 1));
}

#[test]
fn the_nodes_files_are_byte_for_byte_those_of_the_contract() {
    let (_namespace, kubectl) = sandbox("files");
    let namespace = kubectl.namespace();
    let set = "
        apiVersion: k8s.atomix.io/v1alpha1
        kind: PartitionSet
        metadata: {name: g}
        spec:
          template:
            metadata: {annotations: {k8s.atomix.io/member-ports: MEMBER-PORTS}}
            spec: {protocol: raft, size: 1, config: \"CONFIG\"}";
    let member =
        |ports: &str| format!(r#"{{"id":"g-1-0","host":"g-1-0.g-1-hs.{namespace}.svc.cluster.local",{ports}}}"#);
    let cases = [
        ("split", r#""port":5679,"apiPort":5678,"protocolPort":5679"#, "", "{}"),
        ("shared", r#""port":5678"#, "electionTimeout: 2500ms", r#"{"electionTimeout":"2.5s"}"#),
        // The original wrote durations as numbers of nanoseconds, which the nodes refuse.
        (
            "shared",
            r#""port":5678"#,
            "{election_timeout: 1m, heartbeatInterval: 500ms, storage: {level: MAPPED}}",
            r#"{"electionTimeout":"60s","heartbeatInterval":"0.5s","storage":{"level":"MAPPED"}}"#,
        ),
    ];
    for (form, ports, config, protocol) in cases {
        kubectl.apply_stdin(&set.replace("MEMBER-PORTS", form).replace("CONFIG", config));
        let partition = format!(
            r#"{{"partition":{{"partition":1,"group":{{"name":"g","namespace":"{namespace}"}}}},"controller":{{"id":"atomix-controller","host":"atomix-controller.kube-system.svc.cluster.local","port":5679}},"members":[{}]}}"#,
            member(ports)
        );
        kubectl.wait_until(&["configmaps", "g-1-config"], SOON, |found| {
            found.first().is_some_and(|files| {
                text(files, "/data/partition.json") == partition && text(files, "/data/protocol.json") == protocol
            })
        });
    }
}

#[test]
fn a_disruption_budget_selects_the_pods_that_it_is_for() {
    // The original's had no selector: it protected nothing.
    let (_namespace, kubectl) = sandbox("budget");
    create_ready(&kubectl, &set("w", 1, "raft", 5), "w");
    kubectl.wait_until(&["poddisruptionbudget", "w-1-pdb"], SOON, |found| {
        let status = &found[0]["status"];
        status["expectedPods"] == 5 && status["currentHealthy"] == 5 && status["disruptionsAllowed"] == 2
    });
}

#[test]
fn groups_of_one_name_in_two_namespaces_have_nothing_in_common() {
    // The original mixed them.
    let ((_one, first), (_two, second)) = (sandbox("one"), sandbox("two"));
    first.create_stdin(&set("w", 2, "raft", 1));
    create_ready(&second, &set("w", 3, "backup", 1), "w");
    await_ready(&first, "w");
    for (kubectl, count, protocol) in [(&first, 2, "raft"), (&second, 3, "backup")] {
        let partitions = items(kubectl, &["partitions"]);
        assert_eq!(partitions.len(), count);
        assert!(partitions.iter().all(|partition| partition["spec"]["protocol"] == protocol));
        // Each address is that of a Service of its own namespace, in the order of the partitions.
        let slice = Whole::new(kubectl).all(kubectl, &[("endpointslice", "w-ipv4".to_owned())]).remove(0);
        let expected: Vec<String> = (1..=count).map(|index| format!("CLUSTER-IP of w-{index}")).collect();
        assert_eq!(addresses(&slice), expected);
    }
}
