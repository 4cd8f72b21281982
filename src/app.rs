//! The composition root: what the process consists of, in which order it starts and stops.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use kube::Client;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::admission::{self, Admission, identity, server};
use crate::api::PartitionSet;
use crate::api::names::ObjectKey;
use crate::cli::Run;
use crate::controller::caches::Synced;
use crate::controller::ensure::Writer;
use crate::controller::pacing::Pacing;
use crate::controller::partition_set::KeptDigests;
use crate::controller::{Caches, Context, FIELD_MANAGER, partition, partition_set};
use crate::events::Events;
use crate::health::{self, Gate, Readiness};
use crate::metrics::Metrics;
use crate::queue::{Outcome, Queue};
use crate::tls::{self, Names};

/// PartitionSets that are reconciled at the same time.
const SET_WORKERS: usize = 4;
/// Wait before the API server is asked again who this controller is.
const IDENTITY_RETRY: Duration = Duration::from_secs(1);

/// Why the process cannot start, or had to end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no usable way to the API server.
    #[error("finding the API server")]
    Client(#[from] kube::Error),
    /// An address cannot be listened on.
    #[error("listening on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// Signals cannot be waited for.
    #[error("waiting for signals")]
    Signals(#[source] std::io::Error),
    /// No TLS.
    #[error(transparent)]
    Tls(#[from] tls::Error),
    /// A second signal came before everything had stopped.
    #[error("told to stop twice: ended before everything had stopped")]
    Impatient,
}

/// Runs everything until the process is told to stop by SIGTERM or SIGINT; a second signal ends it at once.
///
/// # Errors
/// [`Error`] if it cannot start. What fails later is tried again and reported, not returned.
pub async fn run(options: Run) -> Result<(), Error> {
    let (stop, abandon) = (CancellationToken::new(), CancellationToken::new());
    on_signals(stop.clone(), abandon.clone())?;
    match abandon.run_until_cancelled(run_until(options, stop)).await {
        Some(result) => result,
        None => Err(Error::Impatient),
    }
}

async fn run_until(options: Run, stop: CancellationToken) -> Result<(), Error> {
    let tasks = TaskTracker::new();
    let (metrics, readiness) = (Metrics::new(), Readiness::new());
    metrics.count_panics();
    let webhook_listener = listen(options.webhook_address).await?;
    let health_listener = listen(options.metrics_address).await?;
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        webhooks = %options.webhook_address,
        metrics = %options.metrics_address,
        controller = options.controller_name,
        namespace = options.controller_namespace,
        "starting"
    );
    // Probes are answered from the start, and until the very end; ready only when all that it takes is registered.
    let assembled = readiness.gate("start");
    let health_stop = CancellationToken::new();
    let health = tokio::spawn(health::serve(
        health_listener,
        readiness.clone(),
        Arc::clone(&metrics),
        health_stop.clone().cancelled_owned(),
    ));

    let client = Client::try_default().await?;
    let names = Names::new(&options.controller_name, &options.controller_namespace, &options.cluster_domain);
    let tls = tls::start(client.clone(), names, &readiness, Arc::clone(&metrics), &stop)?;
    let caches = Arc::new(Caches::default());
    let own_username = Arc::new(OnceLock::new());
    let account = readiness.gate("own account");
    spawn_until(&tasks, &stop, learn_username(client.clone(), Arc::clone(&own_username), account));

    let alive = readiness.alive("webhook server");
    let admission =
        Admission { sets: Arc::new(KnownSets(Arc::clone(&caches))), own_username, metrics: Arc::clone(&metrics) };
    let webhooks = server::serve(
        webhook_listener,
        tls.server_config(),
        admission::router(admission),
        Arc::clone(&metrics),
        server::Limits::default(),
        stop.clone(),
    );
    tasks.spawn(async move {
        webhooks.await;
        drop(alive);
    });

    start_controllers(&options, client, &caches, &readiness, &metrics, &tasks, &stop);
    assembled.open();
    stop.cancelled().await;
    readiness.drain();
    tasks.close();
    tasks.wait().await;
    tls.stopped().await;
    health_stop.cancel();
    if let Ok(Err(error)) = health.await {
        tracing::warn!(%error, "the metrics server ended");
    }
    tracing::info!("stopped");
    Ok(())
}

fn start_controllers(
    options: &Run,
    client: Client,
    caches: &Arc<Caches>,
    readiness: &Readiness,
    metrics: &Arc<Metrics>,
    tasks: &TaskTracker,
    stop: &CancellationToken,
) {
    let (sets, set_queue) = Queue::new();
    let (partitions, partition_queue) = Queue::new();
    let (synced, all_synced) = tokio::sync::mpsc::channel::<()>(1);
    let gate = |kind: &str| -> Synced {
        let (gate, synced) = (readiness.gate(format!("cache: {kind}")), synced.clone());
        Box::new(move || {
            gate.open();
            drop(synced);
        })
    };
    let triggers = (sets.clone(), partitions.clone());
    let watches = Arc::clone(caches).watch(client.clone(), &options.controller_name, triggers, gate);
    drop(synced);
    spawn_until(tasks, stop, watches);

    let context = Arc::new(Context {
        writer: Writer::new(client.clone(), Arc::clone(metrics)),
        caches: Arc::clone(caches),
        settings: options.settings(),
        events: Events::start(client.clone(), FIELD_MANAGER, options.pod_name.clone()),
        metrics: Arc::clone(metrics),
        sets,
        partitions,
        pacing: Pacing::default(),
        digests: KeptDigests::default(),
        client,
    });
    let (stop, workers) = (stop.clone(), usize::from(options.workers));
    tasks.spawn(async move {
        // Reconciling against half a cache would try to create what exists.
        if stop.run_until_cancelled(first_lists(all_synced)).await.is_none() {
            return;
        }
        let sets = set_queue.run(SET_WORKERS, stop.clone(), |key| {
            counted(&context.metrics, "partition_set", Box::pin(partition_set::reconcile(&context, key)))
        });
        let partitions = partition_queue.run(workers, stop.clone(), |key| {
            counted(&context.metrics, "partition", Box::pin(partition::reconcile(&context, key)))
        });
        tokio::join!(sets, partitions);
    });
}

/// Waits until every sender is gone: each watch drops its own with its first list.
async fn first_lists(mut all_synced: tokio::sync::mpsc::Receiver<()>) {
    while all_synced.recv().await.is_some() {}
}

async fn counted(metrics: &Metrics, controller: &'static str, work: impl Future<Output = Outcome>) -> Outcome {
    let start = Instant::now();
    let outcome = work.await;
    metrics.reconciled(controller, outcome != Outcome::Failed, start.elapsed());
    outcome
}

fn spawn_until(tasks: &TaskTracker, stop: &CancellationToken, work: impl Future<Output = ()> + Send + 'static) {
    let stop = stop.clone();
    tasks.spawn(async move {
        stop.run_until_cancelled(work).await;
    });
}

/// Learns by which name the API server knows this process: only that user may write Partitions.
async fn learn_username(client: Client, own_username: Arc<OnceLock<String>>, gate: Gate) {
    loop {
        match identity::own_username(client.clone()).await {
            Ok(name) => {
                tracing::info!(user = name, "the API server knows this controller by name");
                own_username.get_or_init(|| name);
                gate.open();
                return;
            }
            Err(error) => tracing::warn!(%error, "own user name unknown, asking again"),
        }
        tokio::time::sleep(IDENTITY_RETRY).await;
    }
}

async fn listen(address: SocketAddr) -> Result<TcpListener, Error> {
    TcpListener::bind(address).await.map_err(|source| Error::Listen { address, source })
}

fn on_signals(stop: CancellationToken, abandon: CancellationToken) -> Result<(), Error> {
    let mut terminate = signal(SignalKind::terminate()).map_err(Error::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Error::Signals)?;
    tokio::spawn(async move {
        for token in [stop, abandon] {
            let name = tokio::select! { _ = terminate.recv() => "SIGTERM", _ = interrupt.recv() => "SIGINT" };
            tracing::info!(signal = name, "stopping");
            token.cancel();
        }
    });
    Ok(())
}

/// The watch cache as the webhooks see it.
struct KnownSets(Arc<Caches>);

impl admission::Sets for KnownSets {
    fn get(&self, namespace: &str, name: &str) -> Option<Arc<PartitionSet>> {
        self.0.sets.get(&ObjectKey::new(namespace, name))
    }
}
