//! Of several replicas one reconciles, whatever happens to it.

use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use webhook_tests::{AuditEntry, Controller, EventKind, Kubectl, Namespace, Signal, is_ready};

use crate::support::{Ground, ground};

/// Longer than anything here takes on a busy machine; a Lease lasts for 15 s.
const SOON: Duration = Duration::from_secs(300);
/// For how long nobody but its holder may take a Lease.
const LEASE: Duration = Duration::from_secs(15);
/// Partitions that take the leader some seconds.
const MANY: u32 = 200;
/// Most requests that a leader has under way: of ten partitions, the client Service, the headless one, the budget, and the
/// files or what follows them.
const UNDER_WAY: usize = 10 * 4;
const LEASE_ARGUMENTS: [&str; 4] = ["lease", "atomix-controller", "-n", "kube-system"];

/// Sets of partitions of one pod: many objects, few pods.
fn many(name: &str, partitions: u32) -> String {
    json!({
        "apiVersion": "k8s.atomix.io/v1alpha1", "kind": "PartitionSet", "metadata": {"name": name},
        "spec": {"partitions": partitions, "template": {"spec": {"protocol": "log", "size": 1}}},
    })
    .to_string()
}

/// Creates a set of many partitions, and returns when the leader is in the midst of its work.
fn let_begin(kubectl: &Kubectl) {
    // First: until kubectl has started, all might be done.
    let mut made = kubectl.watch(&["statefulsets"]);
    let deadline = Instant::now() + SOON;
    while made.next(deadline).expect("a beginning").kind != EventKind::Synced {}
    kubectl.create_stdin(&many("w", MANY));
    while made.state().len() <= 5 {
        made.next(deadline).expect("more StatefulSets");
    }
}

fn await_ready(kubectl: &Kubectl, set: &str) {
    kubectl.wait_until(&["partitionset", set], SOON, |sets| sets.first().is_some_and(is_ready));
}

/// Waits until the Lease is held by one of these, and returns by which.
fn await_holder(kubectl: &Kubectl, among: &[&str]) -> String {
    let mut holder = String::new();
    kubectl.wait_until(&LEASE_ARGUMENTS, SOON, |leases| {
        let identity = leases.first().and_then(|lease| lease["spec"]["holderIdentity"].as_str()).unwrap_or_default();
        // The name of the pod, and what distinguishes this process from others of that name.
        let name = identity.rsplit_once('_').map_or("", |(name, _)| name);
        holder = among.iter().find(|wanted| **wanted == name).map_or(String::new(), |name| (*name).to_owned());
        !holder.is_empty()
    });
    holder
}

/// Waits until this replica says itself that it leads: the Lease shows it a moment earlier.
fn await_leading(replica: &Controller) {
    let deadline = Instant::now() + SOON;
    while !replica.leads() {
        assert!(Instant::now() < deadline, "{}", replica.log());
        sleep(Duration::from_millis(20));
    }
}

/// What this replica wrote but for the Lease itself.
fn writes_of<'a>(audit: &'a [AuditEntry], name: &'a str) -> impl Iterator<Item = &'a AuditEntry> {
    audit.iter().filter(move |entry| {
        entry.is_of(name) && entry.is_write() && !matches!(entry.resource.as_str(), "leases" | "selfsubjectreviews")
    })
}

/// Two replicas of which the first leads; the other one answers the webhooks.
fn leader_and_follower(ground: &Ground) -> (Controller, Controller) {
    let start = |port| {
        let options = webhook_tests::StartOptions { webhook_port: port, ..Default::default() };
        let mut controller = ground.installation.start_with(options).expect("a controller");
        controller.wait_ready().expect("a ready controller");
        controller
    };
    let leader = start(Some(webhook_tests::free_port()));
    await_holder(&ground.kubectl(), &[leader.name()]);
    let follower = start(None);
    assert!(!follower.leads());
    (leader, follower)
}

#[test]
fn a_leader_that_is_stopped_with_sigterm_hands_over_at_once() {
    let ground = ground();
    let kubectl = ground.kubectl();
    let (mut leader, follower) = leader_and_follower(&ground);
    let mut lease = kubectl.watch(&LEASE_ARGUMENTS);
    while lease.next(Instant::now() + SOON).expect("the Lease").kind != EventKind::Synced {}
    let namespace = Namespace::new(&kubectl, "handed-over");
    let_begin(&namespace.kubectl());
    let begun = Instant::now();
    leader.signal(Signal::Term);
    let mut held_by = |name: &str| {
        let event = lease.next(begun + SOON).expect("another holder");
        event.object["spec"]["holderIdentity"].as_str().is_some_and(|holder| holder.starts_with(name))
    };
    while !held_by(follower.name()) {}
    let took = begun.elapsed();
    println!("leadership handed over in {took:?}");
    // It is milliseconds; waiting for the Lease to expire would be much more.
    assert!(took < LEASE, "{took:?}\n{}", leader.log());
    // Once: a second signal would end it at once.
    let deadline = begun + SOON;
    let status = loop {
        if let Some(status) = leader.ended().expect("a state") {
            break status;
        }
        assert!(Instant::now() < deadline, "{}", leader.log());
        sleep(Duration::from_millis(20));
    };
    assert!(status.success(), "{status}\n{}", leader.log());
    await_leading(&follower);

    // The other one goes on where the first one was.
    await_ready(&namespace.kubectl(), "w");
    let audit = ground.control_plane.audit();
    let made = |name| writes_of(&audit, name).filter(|entry| entry.namespace == namespace.name()).count();
    assert!(made(leader.name()) > 5 && made(follower.name()) > 5);
    assert_has_read_the_sets_before_it_wrote(&audit, follower.name());
}

/// From the Lease on, a new leader lists the PartitionSets once, of the latest version, and before it writes anything:
/// its watch may be late.
#[track_caller]
fn assert_has_read_the_sets_before_it_wrote(audit: &[AuditEntry], leader: &str) {
    let taken = audit.iter().find(|entry| {
        entry.is_of(leader) && entry.is_write() && entry.name == "atomix-controller" && entry.resource == "leases"
    });
    let taken = &taken.expect("a Lease").completed;
    let lists = audit.iter().filter(|entry| {
        entry.is_of(leader) && entry.verb == "list" && entry.resource == "partitionsets" && entry.received > *taken
    });
    let lists: Vec<&AuditEntry> = lists.collect();
    assert_eq!(lists.len(), 1, "{lists:#?}");
    assert!(!lists[0].uri.contains("resourceVersion"), "{lists:#?}");
    let first = writes_of(audit, leader).map(|entry| &entry.received).filter(|received| *received > taken).min();
    assert!(first.is_some_and(|first| lists[0].completed <= *first), "{first:?} {lists:#?}");
}

#[test]
fn a_leader_that_was_frozen_for_longer_than_its_lease_writes_nothing_when_it_goes_on() {
    let ground = ground();
    let namespace = Namespace::new(&ground.kubectl(), "frozen");
    let kubectl = namespace.kubectl();
    let (leader, follower) = leader_and_follower(&ground);

    let_begin(&kubectl);
    leader.signal(Signal::Stop);
    let frozen = Instant::now();
    let made = kubectl.get_json(&["statefulsets"])["items"].as_array().expect("a list").len();
    assert!(made < MANY as usize, "all was done before it was frozen");
    assert_eq!(await_holder(&kubectl, &[follower.name()]), follower.name());
    println!("taken over {:?} after the leader was frozen, with {made} of {MANY} StatefulSets made", frozen.elapsed());
    await_ready(&kubectl, "w");
    let before = ground.control_plane.audit();
    assert!(writes_of(&before, leader.name()).count() > 5 && writes_of(&before, follower.name()).count() > 5);
    let versions = objects(&kubectl);

    leader.signal(Signal::Cont);
    let deadline = Instant::now() + SOON;
    while !leader.log().contains("no longer leading") {
        assert!(Instant::now() < deadline, "{}", leader.log());
        sleep(Duration::from_millis(20));
    }
    assert!(!leader.leads());
    // Everything that it does at once, it has done when another set is ready.
    let barrier = Namespace::new(&ground.kubectl(), "barrier");
    barrier.kubectl().create_stdin(&many("w", 1));
    await_ready(&barrier.kubectl(), "w");
    let after = ground.control_plane.audit();
    let late: Vec<_> = writes_of(&after, leader.name()).skip(writes_of(&before, leader.name()).count()).collect();
    println!("writes of the former leader after it went on: {late:#?}");
    // What was with the network when it was frozen, and is refused: see fence.rs. Each worker has few requests under way.
    assert!(late.len() <= UNDER_WAY, "{late:#?}");
    let taken: Vec<_> = late.iter().filter(|entry| entry.code < 400).collect();
    assert!(taken.iter().all(|entry| entry.resource == "events") && taken.len() <= 1, "{taken:#?}");
    assert_eq!(objects(&kubectl), versions, "something was changed");
    assert_eq!(leader.get("/readyz").expect("an answer").status, 200);
    assert!(follower.leads());
}

/// What the controllers write, by kind and name: the version where nobody else writes, else their own part and when it
/// was written.
fn objects(kubectl: &Kubectl) -> Vec<(String, String, Value)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let found = |kinds: &str, version: fn(&Value) -> Value| {
        let found = kubectl.get_json(&[kinds, "--show-managed-fields"]);
        let items = found["items"].as_array().expect("a list").iter();
        let of = |item: &Value| {
            let metadata = &item["metadata"];
            (text(&item["kind"]), text(&metadata["name"]), version(metadata))
        };
        items.map(of).collect::<Vec<_>>()
    };
    let own = found("partitionsets,partitions,configmaps,services", |metadata| metadata["resourceVersion"].clone());
    let shared = found("statefulsets,poddisruptionbudgets,endpoints,endpointslices", |metadata| {
        let parts = metadata["managedFields"].as_array().into_iter().flatten();
        parts.filter(|part| part["manager"] == "atomix-controller").cloned().collect()
    });
    assert!(
        shared.iter().filter(|(.., part)| *part != json!([])).count() > MANY as usize,
        "whose are they? {shared:#?}"
    );
    [own, shared].concat()
}

#[test]
fn a_lease_that_somebody_takes_or_deletes_costs_the_leader_nothing_but_its_place() {
    let ground = ground();
    let kubectl = ground.kubectl();
    let mut controller = ground.installation.start().expect("a controller");
    controller.wait_ready().expect("a ready controller");
    await_holder(&kubectl, &[controller.name()]);
    await_leading(&controller);

    // Deleted: it is made anew, by the one who holds it.
    kubectl.ok(&["delete", "lease", "atomix-controller", "-n", "kube-system"]);
    await_holder(&kubectl, &[controller.name()]);
    assert!(controller.leads() && !controller.log().contains("no longer leading"), "{}", controller.log());

    // Taken by a holder that never renews it: the controller stands aside, lives on, and comes back.
    let stranger = json!({"spec": {"holderIdentity": "stranger_1", "leaseDurationSeconds": 5}}).to_string();
    kubectl.ok(&["patch", "lease", "atomix-controller", "-n", "kube-system", "--type=merge", "-p", &stranger]);
    await_holder(&kubectl, &[controller.name()]);
    await_leading(&controller);
    let log = controller.log();
    assert!(log.contains("no longer leading"), "{log}");
    assert_eq!(log.matches("leading: this replica reconciles").count(), 2, "{log}");
    assert_eq!(controller.ended().expect("a state"), None);
    assert_eq!(controller.get("/readyz").expect("an answer").status, 200);

    let namespace = Namespace::new(&kubectl, "back");
    namespace.kubectl().create_stdin(&many("w", 2));
    await_ready(&namespace.kubectl(), "w");
}
