//! What the controller asks of the API server: little while it works, and
//! nothing when there is nothing to do.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use webhook_tests::{AuditEntry, ControlPlane, Installation, Namespace};

use crate::rbac::{assert_never_refused, tally};
use crate::support::{await_ready, create_ready, set};

const PARTITIONS: u32 = 20;
/// Writes of one partition: its six objects, and its status when it is made and when it is ready.
const OF_A_PARTITION: usize = 6 + 2;
/// Writes of a set: its three objects, and its status when it is made and when it is ready.
const OF_THE_SET: usize = 3 + 2;

/// Least seconds between two statuses of which the second says no more than how far things are: three, of which a busy
/// API server may take away one by taking the first late.
const PROGRESS: f64 = 2.0;

/// Writes but for events, which nobody waits for.
fn writes(entries: &[AuditEntry]) -> Vec<&AuditEntry> {
    entries.iter().filter(|entry| entry.is_write() && entry.resource != "events").collect()
}

/// Returns when the controller has done all that it had to do before: a set that is made now is complete.
fn let_it_settle(control_plane: &ControlPlane) {
    let namespace = Namespace::new(control_plane.kubectl(), "barrier");
    create_ready(&namespace.kubectl(), &set("barrier", 1, "raft", 1), "barrier");
}

#[test]
fn a_set_costs_few_writes_and_no_reads_and_then_nothing_also_after_a_restart() {
    let control_plane = ControlPlane::start().expect("a control plane");
    let installation = Installation::new(&control_plane).expect("an installation");
    let mut controller = installation.start().expect("a controller");
    controller.wait_ready().expect("a ready controller");

    let namespace = Namespace::new(control_plane.kubectl(), "twenty");
    let kubectl = namespace.kubectl();
    let before = control_plane.audit().len();
    let begun = Instant::now();
    create_ready(&kubectl, &set("w", PARTITIONS, "raft", 3), "w");
    println!("{PARTITIONS} partitions of 3 ready after {:?}", begun.elapsed());
    let_it_settle(&control_plane);

    let of_the_namespace = |entries: &[AuditEntry]| -> Vec<AuditEntry> {
        entries.iter().filter(|entry| entry.namespace == namespace.name()).cloned().collect()
    };
    let made = of_the_namespace(&control_plane.audit()[before..]);
    let count = writes(&made).len();
    println!("{count} writes, {:.2} for each partition: {:#?}", as_f64(count) / f64::from(PARTITIONS), tally(&made));
    let most = PARTITIONS as usize * OF_A_PARTITION + OF_THE_SET + told_of_progress(&made);
    assert!(count <= most, "{count} writes and not at most {most}: {:#?}", tally(&made));
    let others: Vec<_> = made.iter().filter(|entry| !entry.is_write()).collect();
    assert!(others.is_empty(), "reads: {others:#?}");
    let failed: Vec<_> = made.iter().filter(|entry| entry.code >= 400).collect();
    assert!(failed.is_empty(), "writes in vain: {failed:#?}");

    // Nothing changes, and nothing is written.
    let settled = control_plane.audit().len();
    let_it_settle(&control_plane);
    let steady = of_the_namespace(&control_plane.audit()[settled..]);
    assert!(steady.is_empty(), "{steady:#?}");
    println!("resident memory: {:.1} MB", as_f64(usize::try_from(controller.rss_bytes()).expect("a size")) / 1e6);

    // A new process finds everything as it should be.
    assert!(controller.stop().expect("an end").success());
    let stopped = control_plane.audit().len();
    let begun = Instant::now();
    let mut controller = installation.start().expect("another controller");
    controller.wait_ready().expect("a ready controller");
    println!("ready {:?} after its start", begun.elapsed());
    assert!(begun.elapsed() < Duration::from_secs(30));
    let_it_settle(&control_plane);
    await_ready(&kubectl, "w");
    let audit = control_plane.audit();
    let restarted = writes(&audit[stopped..]);
    let needless: Vec<_> = restarted
        .iter()
        .filter(|entry| !entry.namespace.starts_with("barrier"))
        .filter(|entry| !matches!(entry.resource.as_str(), "selfsubjectreviews" | "leases"))
        .collect();
    assert!(needless.is_empty(), "written at the start: {needless:#?}");

    assert_never_refused(&audit);
}

/// Writes of a status that say how far things are, and no more. There are none on a machine where a partition is ready
/// within [`PROGRESS`] of its first status; here they may be one in that time.
fn told_of_progress(made: &[AuditEntry]) -> usize {
    let mut writes: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for entry in made.iter().filter(|entry| entry.subresource == "status") {
        writes.entry(&entry.name).or_default().push(seconds(&entry.received));
    }
    writes
        .values()
        .map(|times| {
            let progress = times.len().saturating_sub(2);
            let took = (times[times.len() - 1] - times[0]).rem_euclid(24.0 * 3600.0);
            assert!(as_f64(progress) <= took / PROGRESS, "{progress} writes of mere progress in {took} s");
            progress
        })
        .sum()
}

/// The time of day of an RFC 3339 timestamp, in seconds.
fn seconds(timestamp: &str) -> f64 {
    let clock = timestamp.split(['T', 'Z']).nth(1).expect("a time");
    clock.split(':').fold(0.0, |sum, part| sum * 60.0 + part.parse::<f64>().expect("a number"))
}

fn as_f64(count: usize) -> f64 {
    f64::from(u32::try_from(count).expect("a small number"))
}
