//! The composition root: what the process consists of, in which order it starts and stops.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::header::{HeaderValue, USER_AGENT};
use kube::{Client, Config};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::SetOnce;
use tokio_util::sync::CancellationToken;

use crate::admission::{self, Admission, identity, server};
use crate::api::PartitionSet;
use crate::api::names::ObjectKey;
use crate::cli::{GrpcAuth, Run};
use crate::controller::{self, FIELD_MANAGER, Manager};
use crate::events::Events;
use crate::grpc;
use crate::leader::{Elector, Term};
use crate::listener;
use crate::primary::{Hub, KnownPartitions, Store, Sweeper};
use crate::proxy;
use crate::replicas::{NoRandomness, Presence, ReplicaId};
use crate::runtime::Runtime;
use crate::runtime::metrics::{ProcessMetrics, Registry};
use crate::runtime::readiness::{self, Gate, Readiness};
use crate::runtime::shutdown::{Shutdown, Stage};
use crate::runtime::tasks::{Failure, Supervisor};
use crate::store::sets::Sets;
use crate::store::{self, Caches, Triggers};
use crate::tls::{self, Tls, TlsMetrics};

/// Read timeout of connections to the API server. A watch receives a bookmark every minute, so a connection without data
/// for longer than two of them is dead. Nothing else detects a connection that was not closed.
const READ_TIMEOUT: Duration = Duration::from_secs(150);
/// Wait before the next attempt to read the controller's own user name from the API server.
const IDENTITY_RETRY: Duration = Duration::from_secs(1);

/// Longest that stopping may take after the drain: what is under way has 20 s, see the servers' limits. A task that has
/// failed may be one that another waits for.
const STOP: Duration = Duration::from_secs(30);

/// Files that may be open beside the connections to the webhooks and to the Atomix API: connections to the API server,
/// and those of the runtime.
const OTHER_FILES: usize = 256;
/// gRPC connections that are accepted however few files may be open.
const FEWEST_CONNECTIONS: usize = 64;

/// Why the process cannot start, or had to end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no usable way to the API server.
    #[error("finding the API server")]
    Client(#[from] kube::Error),
    /// The way to the API server is one that this program cannot go.
    #[error(transparent)]
    Proxied(#[from] proxy::Proxied),
    /// An address cannot be listened on.
    #[error("listening on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The descriptors of the Atomix API cannot be read.
    #[error("reading the descriptors of the Atomix API")]
    Reflection(#[from] tonic_reflection::server::Error),
    /// This replica cannot choose an identity of its own.
    #[error("choosing an identity")]
    Identity(#[from] NoRandomness),
    /// Signals cannot be waited for.
    #[error("waiting for signals")]
    Signals(#[source] std::io::Error),
    /// No TLS.
    #[error(transparent)]
    Tls(#[from] tls::Error),
    /// A second signal came before everything had stopped.
    #[error("a second signal ended the process before everything had stopped")]
    ForcedShutdown,
    /// Something did not stop.
    #[error("not everything has stopped in time")]
    Overdue,
    /// A task has failed, and without it the process would only look alive.
    #[error(transparent)]
    Task(#[from] Failure),
}

/// Runs everything until the process receives SIGTERM or SIGINT, or a task fails; a second signal ends it at once.
///
/// # Errors
/// [`Error`] if it cannot start, or a task has failed. What fails otherwise is tried again and reported, not returned.
pub async fn run(options: Run) -> Result<(), Error> {
    let registry = Registry::default();
    let metrics = registry.register::<ProcessMetrics>();
    metrics.count_panics();
    let supervisor = Supervisor::new(metrics);
    let abandon = CancellationToken::new();
    on_signals(&supervisor, abandon.clone())?;
    let most = options.drain + STOP;
    let overdue = async {
        supervisor.stopping().cancelled().await;
        tokio::time::sleep(most).await;
    };
    let result = tokio::select! {
        biased;
        () = abandon.cancelled() => Err(Error::ForcedShutdown),
        result = run_until(options, registry, &supervisor) => result,
        () = overdue => Err(Error::Overdue),
    };
    supervisor.failure().map_or(result, |failure| Err(failure.into()))
}

async fn run_until(options: Run, registry: Registry, supervisor: &Supervisor) -> Result<(), Error> {
    let (readiness, shutdown) = (Readiness::new(), Shutdown::new(supervisor));
    let webhook_listener = listen(options.webhook.address)?;
    let health_listener = listen(options.metrics_address)?;
    let grpc_listener = listen(options.grpc.address)?;
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        webhooks = %options.webhook.address,
        metrics = %options.metrics_address,
        grpc = %options.grpc.address,
        controller = options.controller_name,
        namespace = options.controller_namespace,
        watching = %options.scope(),
        "starting"
    );
    // Probes are answered from the start, and until the very end; ready only when all that it takes is registered.
    let assembled = readiness.gate("start");
    let probes = shutdown.tasks(Stage::Probe);
    probes.spawn("health server", serve_health(health_listener, &readiness, &registry, probes.stopping()));
    let runtime = Runtime { client: connect(&options).await?, registry, readiness, shutdown };
    assemble(options, &runtime, (webhook_listener, grpc_listener)).await?;
    assembled.open();
    supervisor.stopping().cancelled().await;
    runtime.readiness.drain();
    runtime.shutdown.run().await;
    tracing::info!("stopped");
    Ok(())
}

/// Starts everything but health and metrics.
async fn assemble(
    options: Run,
    runtime: &Runtime,
    (webhook_listener, grpc_listener): (TcpListener, TcpListener),
) -> Result<(), Error> {
    let Runtime { client, registry, readiness, .. } = runtime;
    let (serving, draining) = (runtime.tasks(Stage::Serve), runtime.tasks(Stage::Drain));
    let presence = Arc::new(presence(&options, runtime)?);
    serving.spawn("presence", Arc::clone(&presence).run(serving.stopping().clone()));
    let tls_metrics = registry.register::<TlsMetrics>();
    let recorder = (serving.supervisor(), "event recorder of certificates");
    let events = Events::start(client.clone(), FIELD_MANAGER, options.pod_name.clone(), recorder);
    let tls = tls::start(options.webhook_tls(), runtime, &presence, events, &tls_metrics)?;
    let caches = Arc::new(Caches::default());
    let own_username = Arc::new(SetOnce::new());
    let account = readiness.gate("own account");
    serving.spawn_finite("own account", learn_username(client.clone(), Arc::clone(&own_username), account));

    let alive = readiness.alive("webhook server");
    let admission = Admission {
        sets: Arc::new(KnownSets(Arc::clone(&caches))),
        own_username: Arc::clone(&own_username),
        metrics: registry.register(),
    };
    let webhooks = server::serve(
        webhook_listener,
        tls.server_config(),
        admission::router(&admission),
        Arc::clone(&admission.metrics),
        webhook_limits(&options),
        draining.stopping().clone(),
    );
    draining.spawn("webhook server", async move {
        webhooks.await;
        drop(alive);
    });

    let triggers = Triggers::default();
    let known = Sets::new(client.clone(), Arc::clone(&caches), triggers.sets.clone());
    serving.spawn_endless("confirm partitionsets", known.clone().confirm_after_interruptions());
    let groups = grpc::Groups::new(client.clone(), known.clone(), options.scope(), options.cluster_domain.clone());
    let elections = elections(&options, runtime, &caches, &presence);
    let sweeper = Sweeper::new(Arc::clone(&elections));
    serving.spawn_endless("candidacy sweeper", sweeper.clone().run());
    draining.spawn("withdrawal of candidacies", withdraw(Arc::clone(&elections), draining.stopping().clone()));

    let api = grpc::Service {
        access: Arc::new(access(&options, client)),
        groups: Arc::new(groups),
        elections: Arc::new(grpc::Elections::new(Arc::clone(&elections), options.scope())),
    };
    let grpc_tls =
        options.grpc.tls().map(|from| grpc::tls::start(&from, &options.controller_namespace, runtime, &tls_metrics));
    serve_grpc(&options, runtime, (grpc_listener, grpc_tls), api, &caches).await?;

    let listener = Arc::new(move |key: &ObjectKey| elections.changed(key));
    let synced = store::start(runtime, &options.scope(), &options.controller_name, &caches, &triggers, listener);
    let manager = Manager::new(
        runtime,
        caches,
        known,
        triggers,
        controller::Options {
            settings: Arc::new(options.settings()),
            scope: options.scope(),
            pod_name: options.pod_name.clone(),
            workers: usize::from(options.partitions.workers),
        },
    );
    let work = LeaderWork { manager, sweeper, tls };
    let able = able_to_lead(synced, own_username);
    draining
        .spawn("elector", campaign(options, runtime.clone(), presence.id(), work, able, draining.stopping().clone()));
    Ok(())
}

/// Serves health and metrics.
fn serve_health(
    listener: TcpListener,
    readiness: &Readiness,
    registry: &Registry,
    stop: &CancellationToken,
) -> impl Future<Output = ()> + Send + use<> {
    let server = readiness::serve(listener, readiness.clone(), registry.clone(), stop.clone().cancelled_owned());
    async move {
        if let Err(error) = server.await {
            tracing::warn!(%error, "serving health and metrics");
        }
    }
}

/// The client of all components. It has no retries of its own: every caller decides what a refusal means, and has its
/// own back-off. The user agent names the replica in the API server's audit log.
async fn connect(options: &Run) -> Result<Client, Error> {
    let mut config = Config::infer().await.map_err(kube::Error::InferConfig)?;
    if let Some(variable) = proxy::bypass(&mut config)? {
        tracing::warn!(variable, "a proxy is named and not used: the API server is connected to directly");
    }
    config.default_retry = false;
    // Longer than the pauses of any watch. Without it, a list would never end if the API server accepts requests and
    // does not answer.
    config.read_timeout = Some(READ_TIMEOUT);
    let agent = format!("atomix-controller/{} ({})", env!("CARGO_PKG_VERSION"), options.replica());
    config.headers.extend(HeaderValue::try_from(agent).ok().map(|agent| (USER_AGENT, agent)));
    Ok(Client::try_from(config)?)
}

/// Publishes to the other replicas that this one lives.
fn presence(options: &Run, runtime: &Runtime) -> Result<Presence, Error> {
    let (namespace, name) = (&options.controller_namespace, &options.controller_name);
    let replica = (options.replica(), ReplicaId::random()?);
    Ok(Presence::new(
        runtime.client.clone(),
        namespace,
        name,
        replica,
        runtime.supervisor().clone(),
        runtime.registry.register(),
    ))
}

/// The streams by which nodes stand for election here.
fn elections(options: &Run, runtime: &Runtime, caches: &Arc<Caches>, presence: &Arc<Presence>) -> Arc<Hub> {
    let metrics = runtime.registry.register();
    let controller = options.settings().identity();
    let known = Arc::new(KnownPartitions::new(Arc::clone(caches), controller.clone()));
    let store = Store::new(runtime.client.clone(), controller, options.scope(), known, Arc::clone(&metrics));
    Hub::new(store, Arc::clone(presence), metrics)
}

/// Ends all streams when the process stops; their nodes go to another replica.
async fn withdraw(elections: Arc<Hub>, stop: CancellationToken) {
    stop.cancelled().await;
    elections.stop().await;
}

/// What callers of the Atomix API may do.
fn access(options: &Run, client: &Client) -> grpc::Access {
    match options.grpc.auth {
        GrpcAuth::None => options.access(),
        GrpcAuth::Kubernetes => options.access().authorized_by(client.clone()),
    }
}

/// Serves the Atomix API.
async fn serve_grpc(
    options: &Run,
    runtime: &Runtime,
    (listener, tls): (TcpListener, grpc::server::Tls),
    api: grpc::Service,
    caches: &Caches,
) -> Result<(), Error> {
    let (tasks, readiness) = (runtime.tasks(Stage::Drain), &runtime.readiness);
    let stop = tasks.stopping();
    api.access.report(tls.is_some());
    let reporter = grpc::health::Reporter::new().await;
    let routes = grpc::routes::routes(api, reporter.service())?;
    tasks.spawn("gRPC health", reporter.run(readiness.clone(), caches.sets_freshness.subscribe(), stop.clone()));
    let alive = readiness.alive("gRPC server");
    let metrics = runtime.registry.register();
    let server = grpc::server::serve(listener, tls, routes, metrics, grpc_limits(options), stop.clone());
    tasks.spawn("gRPC server", async move {
        server.await;
        drop(alive);
    });
    Ok(())
}

/// Limits of the webhook server, which may take half of the files that the process may open.
fn webhook_limits(options: &Run) -> server::Limits {
    let limits = server::Limits { drain: options.drain, ..server::Limits::default() };
    let files = listener::raise_limit().unwrap_or(usize::MAX);
    server::Limits { connections: limits.connections.min(files / 2), ..limits }
}

/// What the server of the Atomix API puts up with, as far as the process may open so many files.
fn grpc_limits(options: &Run) -> grpc::server::Limits {
    let limits = grpc::server::Limits { drain: options.drain, ..grpc::server::Limits::default() };
    let files = listener::raise_limit().unwrap_or(usize::MAX);
    let others = OTHER_FILES + webhook_limits(options).connections;
    let connections = limits.connections.min(files.saturating_sub(others)).max(FEWEST_CONNECTIONS);
    if connections < limits.connections {
        tracing::warn!(
            files,
            connections,
            wanted = limits.connections,
            "few files may be open, so few gRPC connections"
        );
    }
    grpc::server::Limits { connections, ..limits }
}

/// What only the replica that leads does.
struct LeaderWork {
    manager: Manager,
    sweeper: Sweeper,
    tls: Tls,
}

/// Campaigns for leadership once this replica is `able` to lead, and does the work of the leader while it leads.
async fn campaign(
    options: Run,
    runtime: Runtime,
    id: ReplicaId,
    work: LeaderWork,
    able: impl Future<Output = ()>,
    stop: CancellationToken,
) {
    let LeaderWork { manager, sweeper, tls } = work;
    if stop.run_until_cancelled(able).await.is_none() {
        return;
    }
    let elector = Elector::new(
        runtime.client.clone(),
        &options.controller_namespace,
        &options.controller_name,
        (options.replica(), id),
        runtime.registry.register(),
    );
    let lead = |term: Term| {
        let (supervisor, ending) = (runtime.supervisor(), term.ending.clone());
        let (work, sweeping) = (manager.clone().lead(term.clone()), sweeper.sweep_all());
        let tls = supervisor.supervise("certificates of the leader", &ending, tls.clone().lead(term));
        supervisor.spawn("leader", &ending, async move {
            tokio::join!(work, tls);
            drop(sweeping);
        })
    };
    elector.run(stop, lead).await;
}

/// Waits until the first lists of all watches are in, and the own user name is known. A leader with half a cache would try
/// to create what exists; one whose webhook does not know it would have each of its Partitions refused.
async fn able_to_lead(synced: impl Future<Output = ()>, own_username: Arc<SetOnce<String>>) {
    synced.await;
    own_username.wait().await;
}

/// Learns by which name the API server knows this process: only that user may write Partitions.
async fn learn_username(client: Client, own_username: Arc<SetOnce<String>>, gate: Gate) {
    loop {
        match identity::own_username(client.clone()).await {
            Ok(name) => {
                tracing::info!(user = name, "the API server knows this controller by name");
                // It was not known before: nothing else sets it.
                drop(own_username.set(name));
                gate.open();
                return;
            }
            Err(error) => {
                tracing::warn!(%error, "own user name unknown, asking again");
                gate.explain(&error);
            }
        }
        tokio::time::sleep(IDENTITY_RETRY).await;
    }
}

fn listen(address: SocketAddr) -> Result<TcpListener, Error> {
    listener::listen(address).map_err(|source| Error::Listen { address, source })
}

fn on_signals(supervisor: &Supervisor, abandon: CancellationToken) -> Result<(), Error> {
    let mut terminate = signal(SignalKind::terminate()).map_err(Error::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Error::Signals)?;
    let stop = supervisor.stopping();
    let signals = {
        let stop = stop.clone();
        async move {
            for token in [stop, abandon] {
                let name = tokio::select! { _ = terminate.recv() => "SIGTERM", _ = interrupt.recv() => "SIGINT" };
                tracing::info!(signal = name, "stopping");
                token.cancel();
            }
        }
    };
    // Shutdown does not wait for this task: a second signal may come until the very end.
    drop(supervisor.spawn("signals", stop, signals));
    Ok(())
}

/// The watch cache as the webhooks see it.
struct KnownSets(Arc<Caches>);

impl admission::Sets for KnownSets {
    fn get(&self, namespace: &str, name: &str) -> Option<Arc<PartitionSet>> {
        self.0.sets.get(&ObjectKey::new(namespace, name))
    }
}
