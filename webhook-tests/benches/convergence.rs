//! `make bench`: how fast a set becomes objects and ready pods, and what that costs, beside a client that does nothing
//! but create the same objects. Figures of a shared machine are worth something only within one run.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use futures::{StreamExt, TryStreamExt, stream};
use kube::api::{Api, ApiResource, DynamicObject, ListParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::GroupVersionKind;
use kube::{Client, Config};
use serde_json::{Value, json};
use webhook_tests::{AuditEntry, ControlPlane, Controller, Installation, Namespace, Signal, is_ready, process};

const USAGE: &str = "usage: cargo bench -p webhook-tests --bench convergence [-- PARTITIONS [SIZE]]";

/// Requests that the plain client has under way at a time.
const CONCURRENCY: usize = 16;

/// The longest that anything is waited for.
const PATIENCE: Duration = Duration::from_secs(600);

/// Between two looks at how much has been made.
const LOOK: Duration = Duration::from_millis(200);

const SECONDS_A_DAY: f64 = 24.0 * 3600.0;

/// The kinds of which a partition has one or more, in the order in which the plain client makes them.
const KINDS: [(&str, &str, &str); 5] = [
    ("k8s.atomix.io", "v1alpha1", "Partition"),
    ("", "v1", "Service"),
    ("", "v1", "ConfigMap"),
    ("apps", "v1", "StatefulSet"),
    ("policy", "v1", "PodDisruptionBudget"),
];

fn main() -> Result<()> {
    let numbers = webhook_tests::arguments::numbers(USAGE)?;
    let partitions = numbers.first().copied().unwrap_or(100);
    let size = numbers.get(1).copied().unwrap_or(3);
    ensure!((1..=1000).contains(&partitions) && (1..=21).contains(&size) && numbers.len() <= 2, USAGE);
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    println!("{partitions} partitions of {size}, controller and control plane on the same machine\n");
    runtime.block_on(objects_alone(partitions, size))?;
    runtime.block_on(with_pods(partitions, size))
}

/// While nothing is made of the objects: pods take so much of the machine that what the controller adds is lost in it.
async fn objects_alone(partitions: u32, size: u32) -> Result<()> {
    let control_plane = ControlPlane::start()?;
    let installation = Installation::new(&control_plane)?;
    let controller = warm_controller(&control_plane, &installation).await?;
    let [made, plain] = ["made", "plain"].map(|name| Namespace::new(control_plane.kubectl(), name));
    let frozen = Frozen::controller_manager(&control_plane)?;
    let start = Start::of(&control_plane, &controller)?;
    create_set(&control_plane, &made, partitions, size).await?;
    let client = client(&control_plane, None).await?;
    for kind in KINDS {
        let each = match kind.2 {
            "Service" => 2,
            // One pod needs no budget.
            "PodDisruptionBudget" if size == 1 => 0,
            _ => 1,
        };
        let all = each * partitions as usize;
        while count(&api(&client, kind, made.name())).await? < all {
            ensure!(start.begun.elapsed() < PATIENCE, "the objects were not made in time");
            tokio::time::sleep(LOOK).await;
        }
    }
    let cpu = controller.cpu_time().saturating_sub(start.cpu);
    let objects = start.last_created(&start.requests(&control_plane, &made));
    let children = children(&control_plane, &made, &plain).await?;
    let count = children.len();
    let took = create_plainly(&control_plane, &installation, &plain, children).await?.as_secs_f64();
    drop(frozen);
    println!("without Kubernetes' own controllers, to all {count} objects");
    println!("the controller            {objects:8.2} s");
    println!("CPU of the controller     {:8.2} ms a partition", cpu.as_secs_f64() * 1000.0 / f64::from(partitions));
    println!("a plain client            {took:8.2} s, {CONCURRENCY} requests under way");
    println!("plain / controller        {:8.2}\n", took / objects);
    Ok(())
}

async fn with_pods(partitions: u32, size: u32) -> Result<()> {
    let control_plane = ControlPlane::start()?;
    let installation = Installation::new(&control_plane)?;
    let controller = warm_controller(&control_plane, &installation).await?;
    println!("with pods\nresident memory before    {:8.1} MB", megabytes(controller.rss_bytes()));
    let made = Namespace::new(control_plane.kubectl(), "made");
    let measured = converge(&control_plane, &controller, &made, partitions, size).await?;
    measured.print(partitions);

    let plain = Namespace::new(control_plane.kubectl(), "plain");
    let children = children(&control_plane, &made, &plain).await?;
    let count = children.len();
    let begun = Instant::now();
    let took = create_plainly(&control_plane, &installation, &plain, children).await?;
    let all_ready = |sets: &[Value]| {
        sets.len() == partitions as usize && sets.iter().all(|set| set["status"]["readyReplicas"] == size)
    };
    plain.kubectl().try_wait_until(&["statefulsets"], PATIENCE, all_ready)?;
    let ready = begun.elapsed().as_secs_f64();
    println!("the same {count} objects, created by a plain client with {CONCURRENCY} requests under way");
    println!("time to all objects       {:8.2} s", took.as_secs_f64());
    println!("time to ready             {ready:8.2} s");
    println!("plain / controller        {:8.2} objects", took.as_secs_f64() / measured.objects);
    println!("                          {:8.2} ready\n", ready / measured.ready);

    restart(&control_plane, &installation, controller)
}

/// A controller for which nothing happens any more that happens only once: connections, the first leadership, kubectl's
/// discovery.
async fn warm_controller(control_plane: &ControlPlane, installation: &Installation) -> Result<Controller> {
    let mut controller = installation.start()?;
    controller.wait_ready()?;
    let warm = Namespace::new(control_plane.kubectl(), "warm");
    converge(control_plane, &controller, &warm, 1, 1).await?;
    Ok(controller)
}

/// Kubernetes' controller manager, stopped until this is dropped.
struct Frozen(u32);

impl Frozen {
    fn controller_manager(control_plane: &ControlPlane) -> Result<Self> {
        let components = process::children(control_plane.supervisor_pid())?;
        let is_it = |pid: &u32| process::command_line(*pid).contains("kube-controller-manager");
        let pid = components.into_iter().find(is_it).context("no controller manager")?;
        process::signal(pid, Signal::Stop)?;
        Ok(Self(pid))
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        // If it fails, the control plane ends all the same: it kills what does not end.
        let _ = process::signal(self.0, Signal::Cont);
    }
}

/// How things were before a set was created.
struct Start {
    begun: Instant,
    clock: f64,
    cpu: Duration,
    /// Requests that the audit log had.
    audited: usize,
}

impl Start {
    fn of(control_plane: &ControlPlane, controller: &Controller) -> Result<Self> {
        let (cpu, audited) = (controller.cpu_time(), control_plane.audit().len());
        Ok(Self { begun: Instant::now(), clock: time_of_day(SystemTime::now())?, cpu, audited })
    }

    /// The requests of the controller since.
    fn requests(&self, control_plane: &ControlPlane, namespace: &Namespace) -> Vec<AuditEntry> {
        let mut audit = control_plane.audit().split_off(self.audited);
        audit.retain(|entry| entry.namespace == namespace.name());
        audit
    }

    /// Seconds until the last object was created. The group's endpoints are what is known of the objects.
    fn last_created(&self, requests: &[AuditEntry]) -> f64 {
        let others = ["events", "endpoints", "endpointslices"];
        let created =
            requests.iter().filter(|entry| entry.verb == "create" && !others.contains(&entry.resource.as_str()));
        created.map(|entry| (seconds(&entry.completed) - self.clock).rem_euclid(SECONDS_A_DAY)).fold(0.0, f64::max)
    }
}

async fn create_set(control_plane: &ControlPlane, namespace: &Namespace, partitions: u32, size: u32) -> Result<()> {
    let sets =
        api(&client(control_plane, None).await?, ("k8s.atomix.io", "v1alpha1", "PartitionSet"), namespace.name());
    let set: DynamicObject = serde_json::from_value(json!({
        "apiVersion": "k8s.atomix.io/v1alpha1", "kind": "PartitionSet", "metadata": {"name": "bench"},
        "spec": {"partitions": partitions, "template": {"spec": {"protocol": "raft", "size": size}}},
    }))?;
    sets.create(&PostParams::default(), &set).await?;
    Ok(())
}

/// What a set came to.
struct Measured {
    /// Seconds until the last object was made, and until the set was ready.
    objects: f64,
    ready: f64,
    cpu: Duration,
    memory: u64,
    requests: BTreeMap<(String, String), usize>,
}

/// Creates a set and waits until it is ready.
async fn converge(
    control_plane: &ControlPlane,
    controller: &Controller,
    namespace: &Namespace,
    partitions: u32,
    size: u32,
) -> Result<Measured> {
    let start = Start::of(control_plane, controller)?;
    create_set(control_plane, namespace, partitions, size).await?;
    let kubectl = namespace.kubectl();
    kubectl.try_wait_until(&["partitionsets", "bench"], PATIENCE, |sets| sets.first().is_some_and(is_ready))?;
    let ready = start.begun.elapsed().as_secs_f64();
    let (cpu, memory) = (controller.cpu_time().saturating_sub(start.cpu), controller.rss_bytes());
    let ours = start.requests(control_plane, namespace);
    let objects = start.last_created(&ours);
    let mut requests = BTreeMap::new();
    for entry in ours {
        let resource = [entry.resource.as_str(), entry.subresource.as_str()].join("/");
        *requests.entry((entry.verb.clone(), resource.trim_end_matches('/').to_owned())).or_default() += 1;
    }
    Ok(Measured { objects, ready, cpu, memory, requests })
}

impl Measured {
    fn print(&self, partitions: u32) {
        let each = f64::from(partitions);
        println!("time to all objects       {:8.2} s", self.objects);
        println!("time to ready             {:8.2} s", self.ready);
        println!("CPU of the controller     {:8.2} ms a partition", self.cpu.as_secs_f64() * 1000.0 / each);
        println!("resident memory after     {:8.1} MB", megabytes(self.memory));
        println!("requests of the controller");
        let mut writes = 0;
        for ((verb, resource), count) in &self.requests {
            println!("  {verb:8} {resource:32} {count:6}");
            if resource != "events" {
                writes += count;
            }
        }
        println!("  without events, {:.2} a partition\n", f64::from(u32::try_from(writes).unwrap_or(u32::MAX)) / each);
    }
}

/// The children of all partitions, as they would have to be created in another namespace.
async fn children(control_plane: &ControlPlane, from: &Namespace, to: &Namespace) -> Result<Vec<Value>> {
    let client = client(control_plane, None).await?;
    let of_partitions = ListParams::default().labels("type=partition");
    let mut all = Vec::new();
    for kind in KINDS {
        for object in api(&client, kind, from.name()).list(&of_partitions).await? {
            let mut object = serde_json::to_value(object)?;
            let metadata = &object["metadata"];
            object["metadata"] = json!({
                "name": metadata["name"], "labels": metadata["labels"], "annotations": metadata["annotations"],
                "namespace": to.name(),
            });
            if kind.2 == "Partition" {
                // Else the controller would make children for it.
                object["metadata"]["annotations"]["k8s.atomix.io/controller"] = "nobody.nowhere".into();
            }
            let fields = object.as_object_mut().context("an object")?;
            fields.remove("status");
            fields.insert("apiVersion".to_owned(), format!("{}/{}", kind.0, kind.1).trim_start_matches('/').into());
            fields.insert("kind".to_owned(), kind.2.into());
            if kind.2 == "Service" && object["spec"]["clusterIP"] != "None" {
                let spec = object["spec"].as_object_mut().context("a spec")?;
                spec.retain(|field, _| field != "clusterIP" && field != "clusterIPs");
            }
            all.push(object);
        }
    }
    Ok(all)
}

/// How many objects there are, at the cost of one: the API server says how many remain.
async fn count(objects: &Api<DynamicObject>) -> Result<usize> {
    let one = objects.list_metadata(&ListParams::default().limit(1)).await?;
    Ok(one.items.len() + usize::try_from(one.metadata.remaining_item_count.unwrap_or_default())?)
}

/// Creates objects as the controller, which alone may make partitions, and as fast as the API server takes them.
async fn create_plainly(
    control_plane: &ControlPlane,
    installation: &Installation,
    namespace: &Namespace,
    objects: Vec<Value>,
) -> Result<Duration> {
    let client = client(control_plane, Some(installation.user())).await?;
    let created = AtomicUsize::new(0);
    let wanted = objects.len();
    let begun = Instant::now();
    stream::iter(objects)
        .map(|object| async {
            let kind = KINDS.into_iter().find(|kind| object["kind"] == kind.2).context("a known kind")?;
            let object: DynamicObject = serde_json::from_value(object)?;
            api(&client, kind, namespace.name()).create(&PostParams::default(), &object).await?;
            created.fetch_add(1, Ordering::Relaxed);
            anyhow::Ok(())
        })
        .buffer_unordered(CONCURRENCY)
        .try_collect::<Vec<()>>()
        .await?;
    let took = begun.elapsed();
    ensure!(created.load(Ordering::Relaxed) == wanted, "some objects were not created");
    Ok(took)
}

/// A new process finds everything as it should be.
fn restart(control_plane: &ControlPlane, installation: &Installation, mut controller: Controller) -> Result<()> {
    controller.stop()?;
    let before = control_plane.audit().len();
    let begun = Instant::now();
    let mut controller = installation.start()?;
    controller.wait_ready()?;
    let ready = begun.elapsed();
    let barrier = Namespace::new(control_plane.kubectl(), "barrier");
    let kubectl = barrier.kubectl();
    kubectl.create_stdin(
        "{apiVersion: k8s.atomix.io/v1alpha1, kind: PartitionSet, metadata: {name: last}, \
         spec: {template: {spec: {protocol: raft}}}}",
    );
    kubectl.try_wait_until(&["partitionsets", "last"], PATIENCE, |sets| sets.first().is_some_and(is_ready))?;
    let audit = control_plane.audit();
    let writes = audit[before..]
        .iter()
        .filter(|entry| entry.is_write() && entry.namespace != barrier.name())
        .filter(|entry| !matches!(entry.resource.as_str(), "leases" | "selfsubjectreviews"))
        .count();
    println!("the controller once more, with all of it there");
    println!("time to ready             {:8.2} s", ready.as_secs_f64());
    println!("writes                    {writes:8}");
    println!("resident memory           {:8.1} MB", megabytes(controller.rss_bytes()));
    Ok(())
}

async fn client(control_plane: &ControlPlane, user: Option<String>) -> Result<Client> {
    let kubeconfig = Kubeconfig::read_from(control_plane.kubeconfig())?;
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    config.auth_info.impersonate = user;
    Ok(Client::try_from(config)?)
}

fn api(client: &Client, (group, version, kind): (&str, &str, &str), namespace: &str) -> Api<DynamicObject> {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
    Api::namespaced_with(client.clone(), namespace, &resource)
}

#[allow(clippy::cast_precision_loss, reason = "printed with one decimal")]
fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

fn time_of_day(time: SystemTime) -> Result<f64> {
    Ok(time.duration_since(UNIX_EPOCH)?.as_secs_f64().rem_euclid(SECONDS_A_DAY))
}

/// The time of day of an RFC 3339 timestamp in UTC, in seconds.
fn seconds(timestamp: &str) -> f64 {
    let clock = timestamp.split(['T', 'Z']).nth(1).unwrap_or_default();
    clock.split(':').fold(0.0, |sum, part| sum * 60.0 + part.parse::<f64>().unwrap_or(f64::NAN))
}
