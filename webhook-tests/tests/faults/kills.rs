//! Killed at any point of its work, the controller goes on where it was.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, RandomState};
use std::thread::sleep;
use std::time::{Duration, Instant};

use webhook_tests::{ControlPlane, Installation, Kubectl, Namespace};

use crate::support::{SOON, await_ready, items, set, text};

const ROUNDS: usize = 10;
const PARTITIONS: u32 = 100;
/// A partition of one pod has these five: Partition, ConfigMap, StatefulSet and two Services.
const WRITES: usize = PARTITIONS as usize * 5;

#[test]
fn a_controller_that_is_killed_while_it_creates_100_partitions_completes_them_and_makes_none_twice() {
    let control_plane = ControlPlane::start().expect("a control plane");
    let installation = Installation::new(&control_plane).expect("an installation");
    let mut controller = installation.start().expect("a controller");
    controller.wait_ready().expect("a ready controller");

    for round in 0..ROUNDS {
        let namespace = Namespace::new(control_plane.kubectl(), "killed");
        let kubectl = namespace.kubectl();
        // Anywhere between the first object and the last.
        let random = usize::try_from(RandomState::new().hash_one(round) % 1_000_000).expect("small");
        let after = 1 + random % WRITES;
        kubectl.create_stdin(&set("w", PARTITIONS, 1).to_string());
        let deadline = Instant::now() + SOON;
        let created =
            || control_plane.count_audit(|entry| entry.verb == "create" && entry.namespace == namespace.name());
        while created() < after {
            assert!(Instant::now() < deadline, "{} objects are made, and not {after}\n{}", created(), controller.log());
            sleep(Duration::from_millis(5));
        }
        controller.kill().expect("an end");
        let made = created();
        // It is known to be dead: nobody need wait for its Lease to expire.
        let free = r#"{"spec": {"holderIdentity": ""}}"#;
        installation.kubectl().ok(&["patch", "lease", "atomix-controller", "--type=merge", "-p", free]);

        let begun = Instant::now();
        controller = installation.start().expect("another controller");
        controller.wait_ready().expect("a ready controller");
        await_ready(&kubectl, "w");
        println!("round {round}: killed after {made} objects, all ready {:?} after the restart", begun.elapsed());
        assert_complete(&kubectl);
        assert_made_once(&control_plane, namespace.name());
    }
}

/// Exactly what a set of [`PARTITIONS`] partitions has.
fn assert_complete(kubectl: &Kubectl) {
    let names = |kind: &str| -> BTreeSet<String> {
        let found = items(kubectl, &[kind]);
        found.iter().map(|item| item["metadata"]["name"].as_str().expect("a name").to_owned()).collect()
    };
    let of_each = |suffix: &str| (1..=PARTITIONS).map(|index| format!("w-{index}{suffix}")).collect::<BTreeSet<_>>();
    assert_eq!(names("partitions"), of_each(""));
    assert_eq!(names("statefulsets"), of_each(""));
    assert_eq!(names("pods"), of_each("-0"));
    let files: BTreeSet<_> = names("configmaps").into_iter().filter(|name| name != "kube-root-ca.crt").collect();
    assert_eq!(files, of_each("-config"));
    let mut services = of_each("");
    services.extend(of_each("-hs"));
    services.insert("w".to_owned());
    assert_eq!(names("services"), services);
    assert!(names("poddisruptionbudgets").is_empty());
    assert_eq!(names("endpoints").iter().filter(|name| *name == "w").count(), 1);

    let addresses: BTreeMap<String, String> = items(kubectl, &["services"])
        .iter()
        .map(|service| (text(service, "/metadata/name").to_owned(), text(service, "/spec/clusterIP").to_owned()))
        .collect();
    let slices = items(kubectl, &["endpointslices", "-l", "kubernetes.io/service-name=w"]);
    assert_eq!(slices.len(), 1, "{slices:#?}");
    let endpoints = slices[0]["endpoints"].as_array().expect("endpoints");
    assert_eq!(endpoints.len(), PARTITIONS as usize);
    for (endpoint, index) in endpoints.iter().zip(1..) {
        assert_eq!(endpoint["hostname"], format!("w-{index}"));
        assert_eq!(text(endpoint, "/addresses/0"), addresses[&format!("w-{index}")]);
    }
}

fn assert_made_once(control_plane: &ControlPlane, namespace: &str) {
    let mut made: BTreeMap<(String, String), usize> = BTreeMap::new();
    for entry in control_plane.audit() {
        let of_a_set = !matches!(entry.resource.as_str(), "events");
        if entry.verb == "create" && entry.code == 201 && entry.namespace == namespace && of_a_set {
            *made.entry((entry.resource, entry.name)).or_default() += 1;
        }
    }
    let twice: Vec<_> = made.iter().filter(|(_, count)| **count > 1).collect();
    assert!(twice.is_empty(), "{twice:#?}");
    // Those whose answer nobody waited for any more are not on record as made.
    assert!(made.len() > WRITES - 50, "{made:#?}");
}
