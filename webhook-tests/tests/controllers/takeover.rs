//! Sets that the version before stored are taken over as they are: no pod is replaced, no write is refused, and none
//! changes what is not status. The objects are in `fixtures/fa14319`.

use std::collections::BTreeMap;
use std::fs;
use std::sync::LazyLock;

use serde_json::Value;
use webhook_tests::{ControlPlane, Installation, Kubectl, is_ready, items};

use crate::support::restart::{Outcome, barrier, objects, repairs};
use crate::support::{SOON, text};

/// The files, which are called by their sets' protocols, or by what created the set.
const FILES: [&str; 4] = ["raft", "backup", "log", "grpc"];

/// What became of the objects of each file, and the writes of the controller that were refused.
struct TakenOver {
    outcomes: BTreeMap<&'static str, Outcome>,
    refused: Vec<String>,
}

static TAKEN_OVER: LazyLock<TakenOver> = LazyLock::new(take_over);

fn fixture(file: &str) -> Vec<Value> {
    let path = format!("{}/tests/controllers/fixtures/fa14319/{file}.yaml", env!("CARGO_MANIFEST_DIR"));
    let yaml = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    serde_saphyr::from_str(&yaml).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Waits until Kubernetes' own controllers have seen what was restored.
fn settle(kubectl: &Kubectl) {
    kubectl.wait_until(&["statefulsets"], SOON, |sets| {
        sets.iter().all(|set| {
            let status = &set["status"];
            status["observedGeneration"] == set["metadata"]["generation"]
                && status["readyReplicas"] == set["spec"]["replicas"]
        })
    });
    kubectl.wait_until(&["services", "-l", "partition"], SOON, |services| {
        let slices = items(kubectl, &["endpointslices", "-l", "endpointslice.kubernetes.io/managed-by"]);
        let service = |slice: &Value| text(slice, "/metadata/labels/kubernetes.io~1service-name").to_owned();
        let served: Vec<String> = slices.iter().map(service).collect();
        services.iter().all(|service| served.iter().any(|name| name == text(service, "/metadata/name")))
    });
}

fn take_over() -> TakenOver {
    let control_plane = ControlPlane::start().expect("a control plane");
    let installation = Installation::new(&control_plane).expect("an installation");
    let places: Vec<(&'static str, Kubectl)> = FILES
        .into_iter()
        .map(|file| {
            let stored = fixture(file);
            // Configuration files and their hashes hold the name of the namespace.
            let namespace = format!("takeover-{file}");
            control_plane.kubectl().ok(&["create", "namespace", &namespace]);
            control_plane.restore(&stored).expect("stored objects");
            (file, control_plane.kubectl().in_namespace(&namespace))
        })
        .collect();
    for (_, kubectl) in &places {
        settle(kubectl);
    }
    let before: Vec<_> = places.iter().map(|(_, kubectl)| (objects(kubectl), repairs(kubectl))).collect();

    let mut controller = installation.start().expect("a controller");
    controller.wait_ready().expect("a ready controller");
    barrier(&control_plane);
    barrier(&control_plane);
    let audit = control_plane.audit();
    let outcome = |((file, kubectl), (before, reported)): (&(&'static str, Kubectl), (_, Vec<Value>))| {
        let writes = audit.iter().filter(|entry| entry.is_write() && entry.namespace == kubectl.namespace());
        let writes =
            writes.map(|entry| format!("{} {}/{} {}", entry.verb, entry.resource, entry.subresource, entry.name));
        let repairs = repairs(kubectl).into_iter().filter(|event| !reported.contains(event)).collect();
        (*file, Outcome { before, after: objects(kubectl), repairs, writes: writes.collect() })
    };
    let outcomes = places.iter().zip(before).map(outcome).collect();
    let refused = audit.iter().filter(|entry| entry.is_write() && entry.code >= 400 && entry.resource != "leases");
    TakenOver { outcomes, refused: refused.map(|entry| format!("{entry:?}")).collect() }
}

/// An object without what changes with its status.
fn lasting(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(fields) = object.as_object_mut() {
        fields.remove("status");
    }
    if let Some(metadata) = object["metadata"].as_object_mut() {
        metadata.retain(|field, _| field != "resourceVersion" && field != "managedFields");
    }
    object
}

/// Checks that every object of a file is the one that was stored, with the same content, and that the set is Ready.
#[track_caller]
fn assert_taken_over(file: &str) -> &'static Outcome {
    let outcome = &TAKEN_OVER.outcomes[file];
    for stored in fixture(file) {
        let namespaced = stored["metadata"]["namespace"].is_string();
        let (kind, name) = (text(&stored, "/kind"), text(&stored, "/metadata/name"));
        if namespaced && !matches!(kind, "ControllerRevision" | "PersistentVolumeClaim") {
            let now = outcome.of(kind, name);
            // Kubernetes says in annotations when it has seen a pod or a Service; the stored form is what counts.
            assert_eq!(lasting(now), lasting(&stored), "{kind} {name}");
        }
    }
    assert_eq!(outcome.before.keys().collect::<Vec<_>>(), outcome.after.keys().collect::<Vec<_>>());
    assert!(outcome.repairs.is_empty(), "{:#?}", outcome.repairs);
    for (name, object) in &outcome.after {
        if name.starts_with("Partition") {
            assert!(is_ready(object), "{object:#}");
        }
    }
    outcome
}

#[test]
fn a_grown_and_rolled_raft_set_with_storage_is_taken_over() {
    assert_taken_over("raft").assert_unchanged();
}

#[test]
fn a_log_set_with_every_field_whose_pods_kubectl_restarted_is_taken_over() {
    assert_taken_over("log").assert_unchanged();
}

#[test]
fn a_group_that_a_client_created_is_taken_over() {
    assert_taken_over("grpc").assert_unchanged();
}

#[test]
fn a_backup_set_is_taken_over_and_its_election_goes_on_from_the_term_that_is_stored() {
    let outcome = assert_taken_over("backup");
    // The members whose streams ended with the former replica are no candidates any more.
    let is_of_election = |write: &&String| *write == "patch partitions/status backup-1";
    assert_eq!(outcome.writes.iter().filter(|write| !is_of_election(write)).count(), 0, "{:#?}", outcome.writes);
    let election = |objects: &BTreeMap<String, Value>| objects["Partition/backup-1"]["status"]["election"].clone();
    let (before, after) = (election(&outcome.before), election(&outcome.after));
    assert!(before["term"].as_u64() > Some(0), "{before}");
    assert!(after["term"].as_u64() >= before["term"].as_u64(), "{before} {after}");
}

#[test]
fn no_write_of_the_next_version_is_refused() {
    assert_eq!(TAKEN_OVER.refused, Vec::<String>::new());
}
