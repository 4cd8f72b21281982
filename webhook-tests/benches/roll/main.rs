//! `make roll`: two replicas of another version are replaced one at a time by those of this version, and back, while sets
//! are written, groups are read, created and deleted, and members stand for election. It fails if any of that fails, a
//! pod is replaced, or a write of the controller is refused.

#![allow(missing_docs, reason = "a program")]

mod calls;
mod elections;
#[path = "../../tests/replicas/load.rs"]
mod load;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use webhook_tests::{
    AuditEntry, Balancer, ControlPlane, Controller, Installation, MANIFEST, Namespace, Replicas, StartOptions,
    binaries, free_port, is_ready, items, text,
};

use crate::calls::Calls;
use crate::elections::Elections;
use crate::load::{Load, failed, summary};

const USAGE: &str = "usage: cargo bench -p webhook-tests --bench roll -- BINARY [MANIFEST], of the other version";

/// The set that is there throughout.
pub const SET: &str = "w";
const PARTITIONS: i32 = 2;
const SIZE: u32 = 3;

const CLIENTS: usize = 4;
/// Later than most nodes of a cluster learn that a pod leaves, and sooner than its drain ends.
const LAG: Duration = Duration::from_secs(2);
/// Between two replacements.
const PAUSE: Duration = Duration::from_secs(3);
/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(180);

fn main() -> Result<()> {
    let mut arguments = webhook_tests::arguments::arguments().map(PathBuf::from);
    let program = arguments.next().context(USAGE)?;
    let shipped = binaries::workspace().join(MANIFEST);
    let manifest = arguments.next().unwrap_or_else(|| shipped.clone());
    ensure!(program.is_file() && manifest.is_file() && arguments.next().is_none(), USAGE);
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let _inside = runtime.enter();

    let control_plane = ControlPlane::start()?;
    let mut ground = Ground::new(&control_plane, program.clone(), &manifest)?;
    let before = ground.objects();
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, ground.port));
    let audited = control_plane.audit().len();

    let load = Load::start(&control_plane, CLIENTS);
    let calls = Calls::start(address, CLIENTS, ground.namespace.name(), ground.scratch.name());
    let elections = Elections::start(address, ground.namespace.name(), PARTITIONS, SIZE);
    load.await_answers(100);
    for (version, program, manifest) in
        [("this version", None, &shipped), ("the other version", Some(program), &manifest)]
    {
        ground.roll(version, program, manifest, &elections)?;
    }
    let sent = load.finish();
    let (made, mut failures) = runtime.block_on(calls.finish());
    let (streams, seen) = elections.finish();

    println!("admission: {}", summary(&sent));
    println!("gRPC: {made} calls, {} failed", failures.len());
    println!("elections: {streams} streams; terms {:?}; ended by {:?}", seen.primaries, seen.ends);
    failures.extend(failed(&sent).iter().map(|sent| format!("{sent:?}")));
    failures.extend(seen.failures);
    failures.extend(before.differences(&ground.objects()));
    let audit = &control_plane.audit()[audited..];
    print_writes(audit, ground.namespace.name());
    failures.extend(refused(audit));
    for failure in &failures {
        println!("FAILED: {failure}");
    }
    ensure!(failures.is_empty(), "{} failures", failures.len());
    println!("nothing has failed");
    Ok(())
}

/// Replicas behind two balancers, and a set of which no pod may go.
struct Ground {
    installation: &'static Installation,
    replicas: Replicas<'static>,
    grpc: Balancer,
    port: u16,
    namespace: Namespace,
    scratch: Namespace,
}

impl Ground {
    fn new(control_plane: &ControlPlane, program: PathBuf, manifest: &Path) -> Result<Self> {
        // For as long as the process runs.
        let installation: &Installation = Box::leak(Box::new(Installation::of_manifest(control_plane, manifest)?));
        let replicas = installation.replicas_with(2, options(Some(program)), LAG)?;
        let port = free_port();
        let grpc = Balancer::new(port, LAG)?;
        for replica in &replicas.controllers {
            grpc.add_at(replica, replica.grpc_addr());
        }
        grpc.wait_until(|ready| ready.len() == replicas.controllers.len())?;
        let [namespace, scratch] = ["roll", "scratch"].map(|name| Namespace::new(control_plane.kubectl(), name));
        let kubectl = namespace.kubectl();
        kubectl.create_stdin(&format!(
            "{{apiVersion: k8s.atomix.io/v1alpha1, kind: PartitionSet, metadata: {{name: {SET}}}, \
              spec: {{partitions: {PARTITIONS}, template: {{spec: {{protocol: log, size: {SIZE}}}}}}}}}"
        ));
        kubectl.try_wait_until(&["partitionset", SET], PATIENCE, |sets| sets.first().is_some_and(is_ready))?;
        Ok(Self { installation, replicas, grpc, port, namespace, scratch })
    }

    /// Replaces both replicas, as a rolling update without unavailable replicas does.
    fn roll(&mut self, version: &str, program: Option<PathBuf>, manifest: &Path, elections: &Elections) -> Result<()> {
        self.installation = Box::leak(Box::new(self.installation.upgraded(manifest)?));
        self.replicas.continue_with(self.installation, options(program));
        for _ in 0..2 {
            thread::sleep(PAUSE);
            let begun = Instant::now();
            let new = self.replicas.add()?;
            let replica = self.replicas.find(&new).context("the new replica")?;
            self.grpc.add_at(replica, replica.grpc_addr());
            self.grpc.wait_until(|ready| ready.contains(&new))?;
            let mut old = self.replicas.controllers.remove(0);
            let status = old.stop()?;
            ensure!(status.success(), "{} ended with {status}", old.name());
            self.replicas.balancer().remove(old.name());
            self.grpc.remove(old.name());
            println!("{} is replaced by {new} of {version} after {:.1?}", old.name(), begun.elapsed());
        }
        let deadline = Instant::now() + PATIENCE;
        while !self.replicas.controllers.iter().any(Controller::leads) {
            ensure!(Instant::now() < deadline, "no replica of {version} leads");
            thread::sleep(Duration::from_millis(20));
        }
        thread::sleep(PAUSE);
        println!("{version} leads; {} election streams so far", elections.seen().0);
        Ok(())
    }

    fn objects(&self) -> Objects {
        let found = items(&self.namespace.kubectl(), &["partitionsets,partitions,statefulsets,pods"]);
        let of = |object: &Value| {
            let key = format!("{} {}", text(object, "/kind"), text(object, "/metadata/name"));
            (key, format!("uid {}, generation {}", object["metadata"]["uid"], object["metadata"]["generation"]))
        };
        Objects(found.iter().map(of).collect())
    }
}

fn options(program: Option<PathBuf>) -> StartOptions {
    StartOptions { program, arguments: vec!["--drain=5s".to_owned()], ..StartOptions::default() }
}

/// Uid and generation of each object.
struct Objects(BTreeMap<String, String>);

impl Objects {
    fn differences(&self, now: &Self) -> Vec<String> {
        let changed = self.0.iter().filter(|(key, was)| now.0.get(*key) != Some(was));
        changed.map(|(key, was)| format!("{key}: {was}, and now {:?}", now.0.get(key))).collect()
    }
}

/// Writes of the controllers that the API server refused, but for conflicts, after which they read and write again, and
/// for the status of what the load has just deleted.
fn refused(audit: &[AuditEntry]) -> Vec<String> {
    let is_expected = |entry: &AuditEntry| entry.code == 409 || entry.code == 404 && entry.subresource == "status";
    let refused = audit.iter().filter(|entry| entry.is_write() && entry.code >= 400 && !is_expected(entry));
    refused.map(|entry| format!("{} of {}: {}", entry.verb, entry.uri, entry.code)).collect()
}

fn print_writes(audit: &[AuditEntry], namespace: &str) {
    let mut writes: BTreeMap<String, usize> = BTreeMap::new();
    for entry in audit.iter().filter(|entry| entry.is_write() && entry.namespace == namespace) {
        *writes
            .entry(format!("{} {}/{} {}", entry.verb, entry.resource, entry.subresource, entry.code))
            .or_default() += 1;
    }
    println!("writes of the controllers about the set: {writes:?}");
}

/// Locks, also after a panic of another thread.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
