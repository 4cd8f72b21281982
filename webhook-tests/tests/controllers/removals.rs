//! What is removed, or replaced, follows what the user wants by then and not what was planned, and comes to an end.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use webhook_tests::{AuditEntry, Kubectl, harness, removal_consent};

use crate::refusals::evictions;
use crate::rolling::patch_template;
use crate::support::policy::Policy;
use crate::support::{SOON, addresses, await_ready, condition, create_ready, items, sandbox, set, text};

const MANY: usize = 40;

fn shrink(kubectl: &Kubectl, partitions: u32) {
    let patch = json!({
        "metadata": {"annotations": removal_consent(kubectl, "w", partitions)},
        "spec": {"partitions": partitions},
    });
    kubectl.ok(&["patch", "partitionset", "w", "--type=merge", "-p", &patch.to_string()]);
}

/// Uids of the Partitions that are there and stay, by name.
fn uids(partitions: &[Value]) -> BTreeMap<String, String> {
    let stay = partitions.iter().filter(|partition| partition["metadata"]["deletionTimestamp"].is_null());
    stay.map(|one| (text(one, "/metadata/name").to_owned(), text(one, "/metadata/uid").to_owned())).collect()
}

/// The controller's deletions of Partitions in the namespace.
fn deletions(kubectl: &Kubectl) -> Vec<AuditEntry> {
    let of_the_controller = harness().installation().user();
    let mut audit = harness().control_plane().audit();
    audit.retain(|entry| {
        entry.user == of_the_controller
            && entry.namespace == kubectl.namespace()
            && (&*entry.resource, &*entry.verb) == ("partitions", "delete")
    });
    audit
}

/// Seconds of the day, in UTC: of now, and of an RFC 3339 timestamp.
fn now() -> f64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time");
    since.as_secs_f64() % (24.0 * 3600.0)
}

fn seconds(timestamp: &str) -> f64 {
    let clock = timestamp.split(['T', 'Z']).nth(1).expect("a time");
    clock.split(':').fold(0.0, |sum, part| sum * 60.0 + part.parse::<f64>().expect("a number"))
}

/// Agrees to shrink a set of many partitions to one, and does something else as soon as the first are gone. Returns the
/// Partitions that there were at first and how many of them were deleted; at most one deletion began after the change.
fn interrupt(kubectl: &Kubectl, change: impl Fn(&Kubectl)) -> (BTreeMap<String, String>, usize) {
    let many = u32::try_from(MANY).expect("a number");
    create_ready(kubectl, &set("w", many, "log", 1), "w");
    let before = uids(&items(kubectl, &["partitions"]));
    shrink(kubectl, 1);
    kubectl.wait_until(&["partitions"], SOON, |partitions| uids(partitions).len() < MANY);
    change(kubectl);
    let answered = now();
    // The answer of the set that is made afterwards comes after all that had begun.
    let (_other, barrier) = sandbox("barrier");
    create_ready(&barrier, &set("w", 1, "log", 1), "w");
    let since = |entry: &&AuditEntry| (seconds(&entry.received) - answered).rem_euclid(24.0 * 3600.0) < 12.0 * 3600.0;
    let deletions = deletions(kubectl);
    let late = deletions.iter().filter(since).count();
    println!("{} of {MANY} partitions were deleted, {late} of them later", deletions.len());
    // One may have been on its way.
    assert!(late <= 1, "{late} deletions began after the set said otherwise");
    assert!(deletions.len() + 1 < MANY, "nothing was left to be kept");
    (before, deletions.len())
}

/// How many of these Partitions are not there any more.
fn gone(kubectl: &Kubectl, before: &BTreeMap<String, String>) -> usize {
    let now = uids(&items(kubectl, &["partitions"]));
    before.iter().filter(|(name, uid)| now.get(*name) != Some(uid)).count()
}

#[test]
fn partitions_that_the_set_wants_again_while_others_are_removed_stay_as_they_are() {
    let (_namespace, kubectl) = sandbox("wanted-again");
    let (before, deleted) = interrupt(&kubectl, |kubectl| {
        kubectl.ok(&["scale", "partitionset", "w", &format!("--replicas={MANY}")]);
    });
    let set = await_ready(&kubectl, "w");
    assert_eq!(set["status"]["readyPartitions"], MANY);
    assert_eq!(gone(&kubectl, &before), deleted);
    assert_eq!(items(&kubectl, &["partitions"]).len(), MANY);
    assert_eq!(addresses(&kubectl.get_json(&["endpointslice", "w-ipv4"])).len(), MANY);
    let events = items(&kubectl, &["events.events.k8s.io"]);
    let recreated: Vec<_> = events.iter().filter(|event| event["reason"] == "Recreated").collect();
    assert!(recreated.is_empty(), "{recreated:#?}");
}

#[test]
fn no_partition_is_removed_after_the_set_was_paused() {
    let (_namespace, kubectl) = sandbox("paused-again");
    let (before, deleted) = interrupt(&kubectl, |kubectl| {
        kubectl.ok(&["annotate", "partitionset", "w", "k8s.atomix.io/paused=true"]);
    });
    assert_eq!(gone(&kubectl, &before), deleted);
    kubectl.ok(&["annotate", "partitionset", "w", "k8s.atomix.io/paused-"]);
    await_ready(&kubectl, "w");
    assert_eq!(items(&kubectl, &["partitions"]).len(), 1);
}

#[test]
fn no_partition_is_removed_after_the_consent_was_taken_back() {
    let (_namespace, kubectl) = sandbox("taken-back");
    let (before, deleted) = interrupt(&kubectl, |kubectl| {
        kubectl.ok(&["annotate", "partitionset", "w", "k8s.atomix.io/allow-partition-removal-"]);
    });
    assert_eq!(gone(&kubectl, &before), deleted);
}

/// Each new revision of a StatefulSet is stored as another one than the StatefulSet controller asked for: it makes one more
/// whenever it looks.
const ANOTHER_REVISION: &str =
    r#"[JSONPatch{op: "add", path: "/data/spec/template/metadata/annotations/by-policy", value: "yes"}]"#;

#[test]
fn pods_that_are_outdated_again_after_they_were_replaced_stop_the_roll() {
    let (_namespace, kubectl) = sandbox("moving-revision");
    create_ready(&kubectl, &set("w", 1, "log", 3), "w");
    let policy = Policy::mutating(&kubectl, &[("apps", "controllerrevisions")], &["CREATE"], ANOTHER_REVISION);
    patch_template(&kubectl, &json!({"image": "node:2"}));
    let found = kubectl.wait_until(&["partition", "w-1"], SOON, |found| {
        condition(&found[0], "Stalled").is_some_and(|stalled| stalled["reason"] == "PodsStayOutdated")
    });
    let stalled = condition(&found[0], "Stalled").expect("a condition");
    for word in ["pod w-1-", "was replaced and is outdated again", "ControllerRevisions"] {
        assert!(text(stalled, "/message").contains(word), "{stalled}");
    }
    // It does not go on by itself, while the revision does.
    let (_other, barrier) = sandbox("barrier");
    create_ready(&barrier, &set("w", 1, "raft", 1), "w");
    let replaced = evictions(&kubectl);
    assert!(replaced <= 3, "{replaced} evictions at one generation of the StatefulSet");

    policy.remove();
    patch_template(&kubectl, &json!({"image": "node:3"}));
    let set = await_ready(&kubectl, "w");
    assert!(condition(&set, "Stalled").is_none());
    let pods = items(&kubectl, &["pods"]);
    assert!(pods.iter().all(|pod| text(pod, "/spec/containers/0/image") == "node:3"), "{pods:#?}");
    assert!(evictions(&kubectl) <= replaced + 3);
}
