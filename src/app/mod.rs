//! The composition root: what the process consists of, in which order it starts and stops.

mod connection_limits;
mod leading;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use self::leading::{LeaderWork, able_to_lead, campaign};
use crate::api::names::ObjectKey;
use crate::cli::{GrpcAuth, Run};
use crate::controller::{self, FIELD_MANAGER, Manager};
use crate::events::Events;
use crate::primary::{Hub, Store, Sweeper};
use crate::replicas::{NoRandomness, Presence};
use crate::runtime::Runtime;
use crate::runtime::log_filter::LogFilter;
use crate::runtime::metrics::{ProcessMetrics, Registry};
use crate::runtime::readiness::{self, Readiness};
use crate::runtime::shutdown::{Shutdown, Stage};
use crate::runtime::signals;
use crate::runtime::tasks::{Failure, Supervisor};
use crate::store::sets::Sets;
use crate::store::{self, Caches, Triggers};
use crate::tls::{self, TlsMetrics};
use crate::{admission, client, grpc, listener};

/// Longest that stopping may take after the drain: what is under way has 20 s, see the servers' limits. A task that has
/// failed may be one that another waits for.
const STOP: Duration = Duration::from_secs(30);

/// Why the process cannot start, or had to end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no client of the API server.
    #[error(transparent)]
    Client(#[from] client::Error),
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
pub async fn run(options: Run, log_filter: LogFilter) -> Result<(), Error> {
    let registry = Registry::default();
    let metrics = registry.register::<ProcessMetrics>();
    metrics.count_panics();
    let supervisor = Supervisor::new(metrics);
    let abandon = CancellationToken::new();
    signals::handle(&supervisor, abandon.clone()).map_err(Error::Signals)?;
    if let Some(file) = options.log_filter_file.clone() {
        let stop = supervisor.stopping();
        drop(supervisor.spawn("log filter", stop, log_filter.follow(file, stop.clone())));
    }
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
    let (readiness, shutdown) = (Readiness::default(), Shutdown::new(supervisor));
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
    let runtime = Runtime { client: client::connect(options.replica()).await?, registry, readiness, shutdown };
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
    let Runtime { client, registry, .. } = runtime;
    let (serving, draining) = (runtime.tasks(Stage::Serve), runtime.tasks(Stage::Drain));
    let (name, namespace, scope) = (&options.controller_name, &options.controller_namespace, options.scope());
    let (webhook_limits, grpc_limits) = connection_limits::limits(options.drain);
    let (caches, triggers) = (Arc::new(Caches::default()), Triggers::default());

    let presence = Presence::start(runtime, namespace, name, options.replica())?;
    let tls_metrics = registry.register::<TlsMetrics>();
    let recorder = (serving.supervisor(), "event recorder of certificates");
    let events = Events::start(client.clone(), FIELD_MANAGER, options.pod_name.clone(), recorder);
    let tls = tls::start(options.webhook_tls(), runtime, &presence, events, &tls_metrics);
    let own_username = admission::start(runtime, (webhook_listener, tls.server_config()), &caches, webhook_limits);

    let sets = Sets::new(client.clone(), Arc::clone(&caches), triggers.sets.clone());
    serving.spawn_endless("confirm partitionsets", sets.clone().confirm_after_interruptions());
    let elections = elections(&options, runtime, &caches, &presence);
    let sweeper = Sweeper::new(Arc::clone(&elections));
    serving.spawn_endless("candidacy sweeper", sweeper.clone().run());
    draining.spawn("withdrawal of candidacies", withdraw(Arc::clone(&elections), draining.stopping().clone()));
    let groups = grpc::Groups::new(client.clone(), sets.clone(), scope.clone(), options.cluster_domain.clone());
    let api = grpc::Service {
        access: Arc::new(access(&options, client)),
        groups: Arc::new(groups),
        elections: Arc::new(grpc::Elections::new(Arc::clone(&elections), scope.clone())),
    };
    let grpc_tls = options.grpc.tls().map(|from| grpc::tls::start(&from, namespace, runtime, &tls_metrics));
    let reads = caches.sets_freshness.subscribe();
    grpc::start(runtime, (grpc_listener, grpc_tls), api, reads, grpc_limits).await?;

    let listener = Arc::new(move |key: &ObjectKey| elections.changed(key));
    let synced = store::start(runtime, &scope, name, &caches, &triggers, listener);
    let settings = controller::Options {
        settings: Arc::new(options.settings()),
        scope,
        pod_name: options.pod_name.clone(),
        workers: usize::from(options.partitions.workers),
    };
    let manager = Manager::new(runtime, caches, sets, triggers, settings);
    let work = LeaderWork { manager, sweeper, tls };
    let able = able_to_lead(synced, own_username);
    let stop = draining.stopping().clone();
    draining.spawn("elector", campaign(options, runtime.clone(), presence.id(), work, able, stop));
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

/// The streams by which nodes stand for election here.
fn elections(options: &Run, runtime: &Runtime, caches: &Arc<Caches>, presence: &Arc<Presence>) -> Arc<Hub> {
    let metrics = runtime.registry.register();
    let controller = options.settings().identity();
    let store =
        Store::new(runtime.client.clone(), controller, options.scope(), Arc::clone(caches), Arc::clone(&metrics));
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

fn listen(address: SocketAddr) -> Result<TcpListener, Error> {
    listener::listen(address).map_err(|source| Error::Listen { address, source })
}
