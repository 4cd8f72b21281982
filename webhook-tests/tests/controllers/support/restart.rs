//! Sets that live through a restart of the controller, and what that has changed. It takes a control plane and a
//! controller of its own: one restart is for all of them.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use serde_json::Value;
use webhook_tests::{ControlPlane, Installation, Kubectl, Namespace};

use super::policy::Policy;
use super::{await_ready, create_ready, items, set, text};

/// A set `w` that is Ready when the controller restarts.
pub struct Case {
    /// Prefix of its namespace.
    pub name: &'static str,
    /// The set, as YAML.
    pub yaml: String,
    /// Policies that are in force before there is a set.
    pub policies: fn(&Kubectl) -> Vec<Policy>,
    /// What is done to the set when it is Ready.
    pub then: fn(&Kubectl),
}

/// Every kind of object of which the restart may write or replace one.
const KINDS: &str =
    "partitionsets,partitions,configmaps,statefulsets,services,poddisruptionbudgets,endpointslices,endpoints,pods";

/// What became of the set.
pub struct Outcome {
    /// Its objects by kind and name, before the restart and after it.
    pub before: BTreeMap<String, Value>,
    pub after: BTreeMap<String, Value>,
    /// Events since then of something that was put right.
    pub repairs: Vec<Value>,
    /// The requests of the new controller that asked to change something.
    pub writes: Vec<String>,
}

impl Outcome {
    /// Checks that nothing has been written, reported or replaced.
    #[track_caller]
    pub fn assert_unchanged(&self) {
        assert!(self.writes.is_empty(), "{:#?}", self.writes);
        assert!(self.repairs.is_empty(), "{:#?}", self.repairs);
        for (name, before) in &self.before {
            assert_eq!(Some(before), self.after.get(name), "{name}");
        }
        assert_eq!(self.before.len(), self.after.len());
    }

    /// An object after the restart.
    #[track_caller]
    pub fn of(&self, kind: &str, name: &str) -> &Value {
        self.after.get(&format!("{kind}/{name}")).unwrap_or_else(|| panic!("no {kind} {name}"))
    }
}

pub fn objects(kubectl: &Kubectl) -> BTreeMap<String, Value> {
    let objects = items(kubectl, &[KINDS]);
    objects
        .into_iter()
        .map(|object| (format!("{}/{}", text(&object, "/kind"), text(&object, "/metadata/name")), object))
        .collect()
}

/// Events of something that was put right.
pub fn repairs(kubectl: &Kubectl) -> Vec<Value> {
    let mut events = items(kubectl, &["events.events.k8s.io"]);
    events.retain(|event| matches!(text(event, "/reason"), "Restored" | "Recreated" | "PartitionsUpdated" | "Rolling"));
    events
}

/// Returns when the controller has done all that it had to do before: a set that is made now is complete.
pub fn barrier(control_plane: &ControlPlane) {
    let namespace = Namespace::new(control_plane.kubectl(), "barrier");
    create_ready(&namespace.kubectl(), &set("barrier", 1, "raft", 1), "barrier");
}

/// Makes all sets, restarts the controller once, and says what became of each.
fn restart(cases: Vec<Case>) -> BTreeMap<&'static str, Outcome> {
    let control_plane = ControlPlane::start().expect("a control plane");
    let installation = Installation::new(&control_plane).expect("an installation");
    let mut controller = installation.start().expect("a controller");
    controller.wait_ready().expect("a ready controller");
    let made: Vec<_> = cases
        .into_iter()
        .map(|case| {
            let namespace = Namespace::new(control_plane.kubectl(), case.name);
            let kubectl = namespace.kubectl();
            let policies = (case.policies)(&kubectl);
            kubectl.create_stdin(&case.yaml);
            (case, namespace, kubectl, policies)
        })
        .collect();
    for (case, _, kubectl, _) in &made {
        await_ready(kubectl, "w");
        (case.then)(kubectl);
        await_ready(kubectl, "w");
    }
    barrier(&control_plane);
    let before: Vec<_> = made.iter().map(|(_, _, kubectl, _)| (objects(kubectl), repairs(kubectl))).collect();
    assert!(controller.stop().expect("an end").success());
    let stopped = control_plane.audit().len();
    let mut controller = installation.start().expect("another controller");
    controller.wait_ready().expect("a ready controller");
    barrier(&control_plane);
    barrier(&control_plane);
    let audit = control_plane.audit();
    let outcome = |((case, namespace, kubectl, _), before): (&(Case, Namespace, Kubectl, Vec<Policy>), _)| {
        let of_the_namespace = audit[stopped..].iter().filter(|entry| entry.namespace == namespace.name());
        let of_the_controller = of_the_namespace.filter(|entry| entry.user == installation.user() && entry.is_write());
        let writes = of_the_controller.map(|entry| format!("{} {} {}", entry.verb, entry.resource, entry.name));
        let (before, known): (BTreeMap<String, Value>, Vec<Value>) = before;
        let repairs = repairs(kubectl).into_iter().filter(|event| !known.contains(event)).collect();
        (case.name, Outcome { before, after: objects(kubectl), repairs, writes: writes.collect() })
    };
    made.iter().zip(before).map(outcome).collect()
}

/// What became of one of the sets. The first caller makes them all.
#[track_caller]
pub fn outcome(name: &str, cases: fn() -> Vec<Case>) -> &'static Outcome {
    static OUTCOMES: OnceLock<BTreeMap<&'static str, Outcome>> = OnceLock::new();
    OUTCOMES.get_or_init(|| restart(cases())).get(name).unwrap_or_else(|| panic!("no set {name}"))
}
