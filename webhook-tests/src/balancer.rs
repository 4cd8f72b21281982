use std::io::ErrorKind::{TimedOut, WouldBlock};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet, spawn_blocking};
use tokio::time::{sleep, timeout};

use crate::controller::Controller;
use crate::http;

/// Between two questions to a replica whether it is ready.
const POLL: Duration = Duration::from_millis(20);
/// How long a replica may take to say that it is ready. One that is stopped does not say so.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);
/// As the kubelet's `failureThreshold`: on a busy machine, one answer that is late says nothing.
const TIMEOUTS: u32 = 3;
/// How long a state of readiness is waited for.
const PATIENCE: Duration = Duration::from_secs(180);

/// Plays kube-proxy for several replicas on one port: each new connection goes
/// to the next replica that is ready by its own `/readyz`, and stays there
/// whatever becomes of that replica's readiness. While no replica is ready,
/// connections are refused.
///
/// Dropping it closes every connection.
#[derive(Debug)]
pub struct Balancer {
    shared: Arc<Shared>,
    probes: Mutex<Vec<(String, JoinHandle<()>)>>,
    /// Taken out only at the end: everything above runs on it.
    runtime: Option<Runtime>,
}

#[derive(Debug)]
struct Shared {
    port: u16,
    lag: Duration,
    backends: Mutex<Vec<Arc<Backend>>>,
    next: AtomicUsize,
    /// The names of the replicas that get new connections.
    ready: watch::Sender<Vec<String>>,
}

#[derive(Debug)]
struct Backend {
    name: String,
    address: SocketAddr,
    metrics: SocketAddr,
    ready: AtomicBool,
}

impl Balancer {
    /// Listens on a loopback port as soon as a replica is ready. What becomes
    /// of a replica's readiness is heeded `lag` later: in a cluster, too, news
    /// takes its time from the pod to every node.
    ///
    /// # Errors
    ///
    /// If no thread can be started.
    pub fn new(port: u16, lag: Duration) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("balancer")
            .enable_all()
            .build()
            .context("starting the balancer")?;
        let shared = Arc::new(Shared {
            port,
            lag,
            backends: Mutex::default(),
            next: AtomicUsize::new(0),
            ready: watch::Sender::new(Vec::new()),
        });
        runtime.spawn(Arc::clone(&shared).run());
        Ok(Self { shared, probes: Mutex::default(), runtime: Some(runtime) })
    }

    /// Sends connections to the webhooks of this replica, too, whenever it is ready.
    ///
    /// # Panics
    ///
    /// Never while it is in use: the runtime ends with it.
    pub fn add(&self, controller: &Controller) {
        self.add_at(controller, controller.webhook_addr());
    }

    /// As [`Balancer::add`], to another of its addresses.
    ///
    /// # Panics
    ///
    /// As [`Balancer::add`].
    pub fn add_at(&self, controller: &Controller, address: SocketAddr) {
        let backend = Arc::new(Backend {
            name: controller.name().to_owned(),
            address,
            metrics: controller.metrics_addr(),
            ready: AtomicBool::new(false),
        });
        lock(&self.shared.backends).push(Arc::clone(&backend));
        let probe = self.runtime().spawn(Arc::clone(&self.shared).probe(Arc::clone(&backend)));
        lock(&self.probes).push((backend.name.clone(), probe));
    }

    /// Sends no more connections to a replica. Those that it has stay.
    pub fn remove(&self, name: &str) {
        lock(&self.probes).retain(|(probed, probe)| {
            let keep = probed != name;
            if !keep {
                probe.abort();
            }
            keep
        });
        lock(&self.shared.backends).retain(|backend| backend.name != name);
        self.shared.publish();
    }

    /// The names of the replicas that get new connections, in the order in
    /// which they were added.
    #[must_use]
    pub fn ready(&self) -> Vec<String> {
        self.shared.ready.borrow().clone()
    }

    /// Waits until the replicas that get new connections are as wanted.
    ///
    /// # Errors
    ///
    /// If they are not in three minutes.
    pub fn wait_until(&self, wanted: impl Fn(&[String]) -> bool) -> Result<()> {
        let mut ready = self.shared.ready.subscribe();
        let reached =
            self.runtime().block_on(async { timeout(PATIENCE, ready.wait_for(|ready| wanted(ready))).await.is_ok() });
        reached.then_some(()).ok_or_else(|| anyhow!("ready after {PATIENCE:?}: {:?}", self.ready()))
    }

    fn runtime(&self) -> &Runtime {
        self.runtime.as_ref().expect("a runtime until the end")
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Shared {
    async fn run(self: Arc<Self>) {
        let mut ready = self.ready.subscribe();
        let mut connections = JoinSet::new();
        // Without an end: the runtime ends it.
        while ready.wait_for(|ready| !ready.is_empty()).await.is_ok() {
            let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, self.port)).await else {
                sleep(POLL).await;
                continue;
            };
            loop {
                tokio::select! {
                    Ok((client, _)) = listener.accept() => {
                        connections.spawn(Arc::clone(&self).carry(client));
                    }
                    Some(_) = connections.join_next() => {}
                    none_ready = ready.wait_for(Vec::is_empty) => {
                        let _ = none_ready;
                        break;
                    }
                }
            }
        }
    }

    async fn carry(self: Arc<Self>, mut client: TcpStream) {
        let Some(address) = self.choose() else { return };
        // A replica that has just died is not noticed yet: such connections fail, as they do in a cluster.
        let Ok(mut server) = TcpStream::connect(address).await else { return };
        let _ = (client.set_nodelay(true), server.set_nodelay(true));
        let _ = copy_bidirectional(&mut client, &mut server).await;
    }

    fn choose(&self) -> Option<SocketAddr> {
        let backends = lock(&self.backends);
        let ready: Vec<_> = backends.iter().filter(|backend| backend.ready.load(Ordering::Acquire)).collect();
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        ready.get(turn % ready.len().max(1)).map(|backend| backend.address)
    }

    async fn probe(self: Arc<Self>, backend: Arc<Backend>) {
        let mut late = 0;
        loop {
            let address = backend.metrics;
            let answer = spawn_blocking(move || http::get_within(address, "/readyz", PROBE_TIMEOUT)).await;
            // A read that times out is called one that would block.
            let is_late = matches!(&answer, Ok(Err(error)) if matches!(error.kind(), TimedOut | WouldBlock));
            late = if is_late { late + 1 } else { 0 };
            if (1..TIMEOUTS).contains(&late) {
                continue;
            }
            let ready = matches!(answer, Ok(Ok(response)) if response.status == 200);
            if ready != backend.ready.load(Ordering::Acquire) {
                sleep(self.lag).await;
                backend.ready.store(ready, Ordering::Release);
                self.publish();
            }
            sleep(POLL).await;
        }
    }

    fn publish(&self) {
        let backends = lock(&self.backends);
        let ready = backends.iter().filter(|backend| backend.ready.load(Ordering::Acquire));
        // Under the lock, so that what was found last is also reported last.
        self.ready.send_replace(ready.map(|backend| backend.name.clone()).collect());
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
