//! Sets that are created through the API server, dry, at a rate that does not depend on the answers.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use kube::api::{Api, ApiResource, DynamicObject, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::GroupVersionKind;
use kube::{Client, Config};
use serde_json::json;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::interval;
use webhook_tests::ControlPlane;

use crate::support::SOON;

/// 200 a second.
const PACE: Duration = Duration::from_millis(5);
/// As many may wait for an answer: enough for 200 a second if each takes 80 ms. On a machine that is busier, creations
/// are left out; else all would wait longer than webhooks may take.
const UNDER_WAY: usize = 16;

/// A load that is under way.
pub struct Load {
    shared: Arc<Shared>,
    thread: JoinHandle<()>,
    begun: Instant,
}

#[derive(Default)]
struct Shared {
    answered: AtomicUsize,
    left_out: AtomicUsize,
    failed: Mutex<Vec<String>>,
    end: AtomicBool,
}

/// What became of it.
#[derive(Debug)]
pub struct Outcome {
    pub answered: usize,
    pub failed: Vec<String>,
}

impl Load {
    pub fn start(control_plane: &ControlPlane) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let kubeconfig = Kubeconfig::read_from(control_plane.kubeconfig()).expect("a kubeconfig");
        let shared = Arc::new(Shared::default());
        let thread = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
                runtime.block_on(shared.send(kubeconfig));
            })
        };
        Self { shared, thread, begun: Instant::now() }
    }

    /// Waits until so many were answered.
    #[track_caller]
    pub fn await_answers(&self, count: usize) {
        let deadline = Instant::now() + SOON;
        while self.shared.answered.load(Ordering::Acquire) < count {
            assert!(Instant::now() < deadline, "fewer than {count} creations after {SOON:?}");
            thread::sleep(PACE);
        }
    }

    /// Ends it.
    pub fn finish(self) -> Outcome {
        self.shared.end.store(true, Ordering::Release);
        self.thread.join().expect("the clients");
        let answered = self.shared.answered.load(Ordering::Acquire);
        #[allow(clippy::cast_precision_loss)] // some thousands
        let rate = answered as f64 / self.begun.elapsed().as_secs_f64();
        let failed = std::mem::take(&mut *self.shared.failed.lock().unwrap_or_else(PoisonError::into_inner));
        let left_out = self.shared.left_out.load(Ordering::Acquire);
        println!("{answered} creations, {rate:.0}/s, {} failed, {left_out} left out", failed.len());
        Outcome { answered, failed }
    }
}

impl Shared {
    async fn send(self: Arc<Self>, kubeconfig: Kubeconfig) {
        let mut config =
            Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.expect("a configuration");
        // A second try would hide that the first has failed.
        config.default_retry = false;
        let client = Client::try_from(config).expect("a client");
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("k8s.atomix.io", "v1alpha1", "PartitionSet"));
        let sets: Api<DynamicObject> = Api::namespaced_with(client, "default", &resource);
        let object = DynamicObject::new("load", &resource)
            .data(json!({"spec": {"template": {"spec": {"protocol": "raft", "size": 3}}}}));
        let (places, mut under_way) = (Arc::new(Semaphore::new(UNDER_WAY)), JoinSet::new());
        let mut clock = interval(PACE);
        while !self.end.load(Ordering::Acquire) {
            clock.tick().await;
            while under_way.try_join_next().is_some() {}
            let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
                self.left_out.fetch_add(1, Ordering::Relaxed);
                continue;
            };
            let (shared, sets, object) = (Arc::clone(&self), sets.clone(), object.clone());
            under_way.spawn(async move {
                shared.create(&sets, &object).await;
                drop(place);
            });
        }
        under_way.join_all().await;
    }

    async fn create(&self, sets: &Api<DynamicObject>, object: &DynamicObject) {
        let dry = PostParams { dry_run: true, ..PostParams::default() };
        let failed = match sets.create(&dry, object).await {
            Ok(created) if created.data["spec"]["partitions"] == 1 => None,
            Ok(created) => Some(format!("no webhook has completed {}", created.data)),
            Err(error) => Some(format!("{error:?}")),
        };
        if let Some(failed) = failed {
            self.failed.lock().unwrap_or_else(PoisonError::into_inner).push(failed);
        }
        self.answered.fetch_add(1, Ordering::Release);
    }
}
