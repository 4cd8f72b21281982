//! This replica's own announcement, and the watch for those of the others.

use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::StreamExt;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams, PostParams};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client};
use serde_json::{Map, Value, json};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::ReplicaId;
use super::registry::{Announcement, CALL, RENEWAL, RETRY, Registry, annotation};
use crate::api_error::{Class, classify};
use crate::calls::within;
use crate::replicas::metrics::ReplicasMetrics;
use crate::runtime::tasks::Supervisor;

/// A replica among the others.
#[derive(Debug)]
pub struct Presence {
    leases: Api<Lease>,
    namespace: String,
    lease: String,
    pod: String,
    id: ReplicaId,
    registry: Mutex<Registry>,
    announced: watch::Sender<bool>,
    supervisor: Supervisor,
    metrics: Arc<ReplicasMetrics>,
}

impl Presence {
    /// The replica `id`, in pod `pod`, of the controller called `controller` in `namespace`. The Lease is
    /// `<controller>-replicas`. `supervisor` ends
    /// the process when the store was restored from a backup.
    #[must_use]
    pub fn new(
        client: Client,
        namespace: &str,
        controller: &str,
        (pod, id): (&str, ReplicaId),
        supervisor: Supervisor,
        metrics: Arc<ReplicasMetrics>,
    ) -> Self {
        Self {
            leases: Api::namespaced(client, namespace),
            namespace: namespace.to_owned(),
            lease: format!("{controller}-replicas"),
            pod: pod.to_owned(),
            id,
            registry: Mutex::new(Registry::new(id)),
            announced: watch::Sender::new(false),
            supervisor,
            metrics,
        }
    }

    /// This replica.
    #[must_use]
    pub fn id(&self) -> ReplicaId {
        self.id
    }

    /// Returns when this replica has announced itself for the first time.
    pub async fn announced(&self) {
        // The sender is a field of this very object.
        drop(self.announced.subscribe().wait_for(|announced| *announced).await);
    }

    /// Whether another replica lives, as the API server itself says.
    ///
    /// # Errors
    /// Those of the API server.
    pub async fn others_live(&self) -> kube::Result<bool> {
        self.refresh().await?;
        Ok(self.registry().living(Instant::now()).iter().any(|id| *id != self.id))
    }

    /// Whether the others can know that this replica lives.
    #[must_use]
    pub fn is_fresh(&self) -> bool {
        self.registry().is_fresh(Instant::now())
    }

    /// Those of `ids` of which nothing has been heard for a while.
    #[must_use]
    pub fn silent(&self, ids: impl IntoIterator<Item = ReplicaId>) -> BTreeSet<ReplicaId> {
        let (mut registry, now) = (self.registry(), Instant::now());
        ids.into_iter().filter(|id| registry.is_silent(*id, now)).collect()
    }

    /// Those of `ids` that are dead, which is known only if [`refresh`](Self::refresh) has just been called, and every
    /// two seconds at least since they fell silent.
    #[must_use]
    pub fn dead(&self, ids: impl IntoIterator<Item = ReplicaId>) -> BTreeSet<ReplicaId> {
        let (mut registry, now) = (self.registry(), Instant::now());
        ids.into_iter().filter(|id| registry.is_surely_dead(*id, now)).collect()
    }

    /// Asks the API server itself for what the watch may still be about to tell. Who seems dead after that has not
    /// announced itself before it did what the caller has already seen of it.
    ///
    /// # Errors
    /// Those of the API server.
    pub async fn refresh(&self) -> kube::Result<()> {
        let (asked, known) = (Instant::now(), self.registry().version());
        let lease = within(CALL, self.leases.get_opt(&self.lease)).await?;
        let (mut registry, now) = (self.registry(), Instant::now());
        if let Some(lease) = lease {
            self.learn(registry.take(&lease, known, now));
        }
        registry.answered(asked, now);
        Ok(())
    }

    /// Removes the announcements of replicas that have been dead for long, if there are any. That nobody has come back
    /// meanwhile is for the API server to see.
    pub async fn bury(&self) {
        let remains = self.registry().remains(Instant::now());
        if remains.is_empty() {
            return;
        }
        let buried = async {
            let known = self.registry().version();
            let Some(lease) = self.leases.get_opt(&self.lease).await? else { return Ok(()) };
            self.registry().take(&lease, known, Instant::now());
            let remains = self.registry().remains(Instant::now());
            let gone: Map<String, Value> = remains.iter().map(|id| (annotation(*id), Value::Null)).collect();
            let version = lease.metadata.resource_version;
            self.patch(&json!({"metadata": {"resourceVersion": version, "annotations": gone}})).await
        };
        match within(CALL, buried).await {
            Ok(()) => tracing::info!(replicas = remains.len(), "dead replicas are named no more"),
            // Somebody has announced itself: another time.
            Err(error) if classify(&error) == Class::Conflict => {}
            Err(error) => tracing::warn!(%error, lease = self.lease, "dead replicas not removed"),
        }
    }

    /// Announces this replica and watches the others until `end`; then the announcement is taken back.
    pub async fn run(self: Arc<Self>, end: CancellationToken) {
        end.run_until_cancelled(Box::pin(self.keep())).await;
        let gone = json!({"metadata": {"annotations": {annotation(self.id): null}}});
        if let Err(error) = within(CALL, self.patch(&gone)).await {
            tracing::warn!(%error, lease = self.lease, "this replica's announcement was not taken back");
        }
    }

    async fn keep(&self) {
        // Also asks with the field selector without which a right to one name is none to watch it.
        let mut looks = pin!(watcher::watch_object(self.leases.clone(), &self.lease).default_backoff());
        let (mut next, mut failing) = (Instant::now(), false);
        loop {
            tokio::select! {
                () = sleep_until(next) => {
                    let begun = Instant::now();
                    match within(CALL, self.announce()).await {
                        Ok(()) => {
                            self.registry().renewed(begun);
                            self.announced.send_replace(true);
                            (next, failing) = (begun + RENEWAL, false);
                        }
                        Err(error) => {
                            if !failing {
                                tracing::warn!(%error, lease = self.lease, "this replica cannot announce itself; trying again");
                            }
                            (next, failing) = (Instant::now() + RETRY, true);
                        }
                    }
                    self.count();
                }
                look = looks.next() => match look {
                    Some(Ok(Some(lease))) => {
                        self.registry().see(&lease, Instant::now());
                        if self.registry().is_missing() {
                            next = next.min(Instant::now() + RETRY);
                        }
                        self.count();
                    }
                    // Somebody has deleted it: it is made anew.
                    Some(Ok(None)) => next = next.min(Instant::now() + RETRY),
                    Some(Err(error)) => tracing::debug!(%error, lease = self.lease, "watching the replicas"),
                    // The watch never ends by itself.
                    None => std::future::pending().await,
                },
            }
        }
    }

    /// Says that this replica lives.
    async fn announce(&self) -> kube::Result<()> {
        let announcement = Announcement { pod: self.pod.clone(), renewed: Timestamp::now().to_string() };
        let text = serde_json::to_string(&announcement).map_err(kube::Error::SerdeError)?;
        let metadata = json!({"annotations": {annotation(self.id): text}});
        match self.patch(&json!({"metadata": metadata})).await {
            Err(error) if classify(&error) == Class::Gone => {}
            result => return result,
        }
        let metadata = ObjectMeta {
            namespace: Some(self.namespace.clone()),
            name: Some(self.lease.clone()),
            annotations: Some([(annotation(self.id), text)].into()),
            ..ObjectMeta::default()
        };
        let known = self.registry().version();
        let lease = self.leases.create(&PostParams::default(), &Lease { metadata, spec: None }).await?;
        self.learn(self.registry().take(&lease, known, Instant::now()));
        Ok(())
    }

    async fn patch(&self, patch: &Value) -> kube::Result<()> {
        let known = self.registry().version();
        let lease = self.leases.patch(&self.lease, &PatchParams::default(), &Patch::Merge(patch)).await?;
        self.learn(self.registry().take(&lease, known, Instant::now()));
        Ok(())
    }

    /// Ends the process if the store was `restored`. A watch goes on from a version that the store has yet to reach, and
    /// the API server tells it nothing until then, neither an error nor an end; caches that are made anew one by one
    /// would have children go and come while their owners are still those of before. A new process lists everything.
    fn learn(&self, restored: bool) {
        if restored {
            let why =
                "found a store that is older than before, as after a backup was restored: all has to be read anew";
            self.supervisor.fail("presence", why.to_owned());
        }
    }

    fn count(&self) {
        let living = self.registry().living(Instant::now()).len();
        self.metrics.live.set(i64::try_from(living).unwrap_or(i64::MAX));
    }

    // A poisoned lock means that a reader or writer panicked between two consistent states.
    fn registry(&self) -> MutexGuard<'_, Registry> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
