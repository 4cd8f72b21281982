//! A set shrinks although some of what it has, or should have, can never be complete.

use std::collections::BTreeSet;
use std::time::Instant;

use serde_json::{Value, json};
use webhook_tests::{Kubectl, Watch, removal_consent};

use crate::names::{await_collision, foreign_service, replaced_by_a_foreign};
use crate::support::{SOON, addresses, await_ready, condition, create_ready, sandbox, set, text};

fn shrink(kubectl: &Kubectl, partitions: u32) {
    let patch = json!({
        "metadata": {"annotations": removal_consent(kubectl, "w", partitions)},
        "spec": {"partitions": partitions},
    });
    kubectl.ok(&["patch", "partitionset", "w", "--type=merge", "-p", &patch.to_string()]);
}

/// How many endpoints a slice had, from each of its events up to the one that satisfies the predicate.
#[track_caller]
pub fn lengths_until(slices: &mut Watch, last: impl Fn(&Value) -> bool) -> BTreeSet<usize> {
    let (deadline, mut lengths) = (Instant::now() + SOON, BTreeSet::new());
    loop {
        let event = slices.next(deadline).expect("a slice that satisfies the predicate");
        if event.object.is_object() {
            lengths.insert(addresses(&event.object).len());
            if last(&event.object) {
                return lengths;
            }
        }
    }
}

#[test]
fn a_set_for_which_a_quota_has_no_room_shrinks_to_what_fits_and_is_ready() {
    let (_namespace, kubectl) = sandbox("quota");
    kubectl.ok(&["create", "quota", "few", "--hard=services=8"]);
    kubectl.wait_until(&["resourcequota", "few"], SOON, |found| found[0]["status"]["hard"]["services"] == "8");
    kubectl.create_stdin(&set("w", 6, "log", 1));
    kubectl.wait_until(&["resourcequota", "few"], SOON, |found| found[0]["status"]["used"]["services"] == "8");
    kubectl.wait_until(&["partitions"], SOON, |found| {
        let short =
            |partition: &Value| condition(partition, "Ready").is_some_and(|ready| ready["reason"] == "QuotaExceeded");
        found.len() == 6 && found.iter().any(short)
    });

    shrink(&kubectl, 3);
    kubectl.wait_until(&["partitions"], SOON, |found| {
        found.iter().map(|partition| text(partition, "/metadata/name")).eq(["w-1", "w-2", "w-3"])
    });
    await_ready(&kubectl, "w");
    assert_eq!(addresses(&kubectl.get_json(&["endpointslice", "w-ipv4"])).len(), 3);
}

#[test]
fn a_set_shrinks_while_the_name_of_a_service_that_stays_is_somebody_elses() {
    let (_namespace, kubectl) = sandbox("foreign");
    create_ready(&kubectl, &set("w", 4, "log", 1), "w");
    let former = kubectl.get_json(&["endpointslice", "w-ipv4"]);
    let mut slices = kubectl.watch(&["endpointslice", "w-ipv4"]);
    let whole = lengths_until(&mut slices, |slice| slice["metadata"]["uid"] == former["metadata"]["uid"]);
    assert_eq!(whole, BTreeSet::from([4]));
    replaced_by_a_foreign(&kubectl, "w", "service", "w-2", &foreign_service("w-2"));
    await_collision(&kubectl, "partition", "w-2", r#"Service "w-2" exists and has no owner"#);

    shrink(&kubectl, 3);
    kubectl.wait_until(&["partitions"], SOON, |found| found.len() == 3);
    let service = kubectl.get_json(&["service", "w-2"]);
    assert_eq!(text(&service, "/spec/selector/app"), "theirs");
    let lengths = lengths_until(&mut slices, |slice| addresses(slice).len() == 3);
    assert!(lengths.is_subset(&BTreeSet::from([3, 4])), "{lengths:?}");
    // Those that stay are found where they were.
    let now = kubectl.get_json(&["endpointslice", "w-ipv4"]);
    assert_eq!(addresses(&now), addresses(&former)[..3]);

    kubectl.ok(&["delete", "service", "w-2"]);
    await_ready(&kubectl, "w");
    assert_eq!(addresses(&kubectl.get_json(&["endpointslice", "w-ipv4"])).len(), 3);
}
