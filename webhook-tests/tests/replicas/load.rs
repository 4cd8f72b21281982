//! Clients that create sets, dry, one after the other, for as long as it takes.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use kube::api::{Api, ApiResource, DynamicObject, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::GroupVersionKind;
use kube::{Client, Config};
use serde_json::json;
use webhook_tests::ControlPlane;

/// How long a number of answers is waited for.
const PATIENCE: Duration = Duration::from_secs(600);

/// One request and what became of it.
#[derive(Debug, Clone)]
pub struct Sent {
    pub at: Instant,
    pub took: Duration,
    /// What went wrong.
    pub error: Option<String>,
}

/// A load that is under way.
pub struct Load {
    shared: Arc<Shared>,
    thread: JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    sent: Mutex<Vec<Sent>>,
    answered: AtomicUsize,
    end: AtomicBool,
}

impl Load {
    /// Starts so many clients, each with connections of its own to the API server.
    pub fn start(control_plane: &ControlPlane, clients: usize) -> Self {
        // Another test may have been first.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let kubeconfig = Kubeconfig::read_from(control_plane.kubeconfig()).expect("a kubeconfig");
        let shared = Arc::new(Shared::default());
        let thread = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
                let clients = (0..clients).map(|number| shared.send(kubeconfig.clone(), number));
                runtime.block_on(futures::future::join_all(clients));
            })
        };
        Self { shared, thread }
    }

    /// How many requests were answered so far.
    pub fn answered(&self) -> usize {
        self.shared.answered.load(Ordering::Acquire)
    }

    /// Waits until so many were answered in all.
    #[track_caller]
    pub fn await_answers(&self, count: usize) {
        let deadline = Instant::now() + PATIENCE;
        while self.answered() < count {
            assert!(Instant::now() < deadline, "{} of {count} requests after {PATIENCE:?}", self.answered());
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Ends the load; everything that was sent, in the order of the answers.
    pub fn finish(self) -> Vec<Sent> {
        self.shared.end.store(true, Ordering::Release);
        self.thread.join().expect("the clients");
        std::mem::take(&mut *self.shared.sent.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Shared {
    async fn send(&self, kubeconfig: Kubeconfig, number: usize) {
        let mut config =
            Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.expect("a configuration");
        // A second try would hide that the first has failed.
        config.default_retry = false;
        let client = Client::try_from(config).expect("a client");
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("k8s.atomix.io", "v1alpha1", "PartitionSet"));
        let sets: Api<DynamicObject> = Api::namespaced_with(client, "default", &resource);
        let object = DynamicObject::new(&format!("load-{number}"), &resource)
            .data(json!({"spec": {"template": {"spec": {"protocol": "raft", "size": 3}}}}));
        let dry = PostParams { dry_run: true, ..PostParams::default() };
        while !self.end.load(Ordering::Acquire) {
            let at = Instant::now();
            let error = match sets.create(&dry, &object).await {
                Ok(created) if created.data["spec"]["partitions"] == 1 => None,
                Ok(created) => Some(format!("no webhook has completed {}", created.data)),
                Err(error) => Some(format!("{error:?}")),
            };
            let sent = Sent { at, took: at.elapsed(), error };
            self.sent.lock().unwrap_or_else(PoisonError::into_inner).push(sent);
            self.answered.fetch_add(1, Ordering::Release);
        }
    }
}

/// The requests that failed.
pub fn failed(sent: &[Sent]) -> Vec<&Sent> {
    sent.iter().filter(|sent| sent.error.is_some()).collect()
}

/// For people: how many in which time, and how long they took.
pub fn summary(sent: &[Sent]) -> String {
    let mut times: Vec<Duration> = sent.iter().map(|sent| sent.took).collect();
    times.sort_unstable();
    let percentile = |percent: usize| times.get(times.len() * percent / 100).copied().unwrap_or_default();
    let first = sent.iter().map(|sent| sent.at).min();
    let last = sent.iter().map(|sent| sent.at + sent.took).max();
    let span = first.zip(last).map_or(Duration::ZERO, |(first, last)| last - first);
    format!(
        "{} requests in {span:.1?}, {} failed; p50 {:.1?}, p99 {:.1?}, longest {:.1?}",
        sent.len(),
        failed(sent).len(),
        percentile(50),
        percentile(99),
        times.last().copied().unwrap_or_default()
    )
}
