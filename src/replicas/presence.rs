//! The announcement of this replica, and the watch for those of the others.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::StreamExt;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::{Map, Value, json};
use tokio::sync::SetOnce;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::liveness::{CALL, Liveness, RENEWAL, RETRY, annotation};
use super::{NoRandomness, ReplicaId};
use crate::api_error::{Class, classify};
use crate::calls::within;
use crate::replicas::metrics::ReplicasMetrics;
use crate::runtime::Runtime;
use crate::runtime::shutdown::Stage;
use crate::runtime::tasks::Supervisor;
use crate::store::OLDER_STORE;
use crate::watch_object::watch_object;

/// A replica among the others.
#[derive(Debug)]
pub struct Presence {
    leases: Api<Lease>,
    lease: String,
    pod: String,
    id: ReplicaId,
    liveness: Mutex<Liveness>,
    announced: SetOnce<()>,
    supervisor: Supervisor,
    metrics: Arc<ReplicasMetrics>,
}

impl Presence {
    /// Starts to announce this replica, in the pod `pod`, on the Lease `<controller>-replicas` in `namespace`.
    ///
    /// # Errors
    /// If there is no random identity for it.
    pub(crate) fn start(
        runtime: &Runtime,
        namespace: &str,
        controller: &str,
        pod: &str,
    ) -> Result<Arc<Self>, NoRandomness> {
        let replica = (pod, ReplicaId::random()?);
        let (client, supervisor) = (runtime.client.clone(), runtime.supervisor().clone());
        let metrics = runtime.registry.register();
        let presence = Arc::new(Self::new(client, namespace, controller, replica, supervisor, metrics));
        let tasks = runtime.tasks(Stage::Serve);
        tasks.spawn("presence", Arc::clone(&presence).run(tasks.stopping().clone()));
        Ok(presence)
    }

    /// The replica `id`, in pod `pod`, of the controller called `controller` in `namespace`. The Lease is
    /// `<controller>-replicas`.
    pub(crate) fn new(
        client: Client,
        namespace: &str,
        controller: &str,
        (pod, id): (&str, ReplicaId),
        supervisor: Supervisor,
        metrics: Arc<ReplicasMetrics>,
    ) -> Self {
        Self {
            leases: Api::namespaced(client, namespace),
            lease: format!("{controller}-replicas"),
            pod: pod.to_owned(),
            id,
            liveness: Mutex::new(Liveness::new(id)),
            announced: SetOnce::new(),
            supervisor,
            metrics,
        }
    }

    pub(crate) fn id(&self) -> ReplicaId {
        self.id
    }

    /// Waits for the first announcement of this replica.
    pub(crate) async fn announced(&self) {
        self.announced.wait().await;
    }

    /// Whether the other replicas can know that this one lives.
    pub(crate) fn is_fresh(&self) -> bool {
        self.liveness().is_fresh(Instant::now())
    }

    /// Those of `ids` that have been silent for a while.
    pub(crate) fn silent(&self, ids: impl IntoIterator<Item = ReplicaId>) -> BTreeSet<ReplicaId> {
        let (mut liveness, now) = (self.liveness(), Instant::now());
        let mut is_silent = |id: &ReplicaId| {
            liveness.observe(*id, now);
            liveness.is_silent(*id, now)
        };
        ids.into_iter().filter(|id| is_silent(id)).collect()
    }

    /// Those of `ids`, which are silent, that are dead. Call [`refresh`](Self::refresh) just before, and at least every two
    /// seconds since they fell silent.
    pub(crate) fn dead(&self, ids: impl IntoIterator<Item = ReplicaId>) -> BTreeSet<ReplicaId> {
        let (liveness, now) = (self.liveness(), Instant::now());
        ids.into_iter().filter(|id| liveness.is_surely_dead(*id, now)).collect()
    }

    /// Reads the Lease: afterwards every announcement counts that was made before this call, also those that the watch has
    /// not shown.
    ///
    /// # Errors
    /// Those of the API server.
    pub(crate) async fn refresh(&self) -> kube::Result<()> {
        let (begun, known) = (Instant::now(), self.liveness().version());
        if let Some(lease) = within(CALL, self.leases.get_opt(&self.lease)).await? {
            self.take(&lease, known);
        }
        self.liveness().answered(begun, Instant::now());
        Ok(())
    }

    /// Whether another replica lives, by a read of the Lease.
    ///
    /// # Errors
    /// Those of the API server.
    pub(crate) async fn others_live(&self) -> kube::Result<bool> {
        self.refresh().await?;
        let others_live = self.liveness().living(Instant::now()).any(|id| id != self.id);
        Ok(others_live)
    }

    /// Removes the announcements of replicas that have been dead for long, unless the Lease has changed meanwhile.
    pub(crate) async fn remove_expired(&self) {
        let (expired, version) = {
            let liveness = self.liveness();
            (liveness.expired(Instant::now()), liveness.version().to_string())
        };
        if expired.is_empty() {
            return;
        }
        let gone: Map<String, Value> = expired.iter().map(|id| (annotation(*id), Value::Null)).collect();
        let patch = json!({"metadata": {"resourceVersion": version, "annotations": gone}});
        match within(CALL, self.patch(&patch)).await {
            Ok(()) => tracing::info!(replicas = expired.len(), "announcements of dead replicas removed"),
            Err(error) if classify(&error) == Class::Conflict => {}
            Err(error) => tracing::warn!(%error, lease = self.lease, "announcements of dead replicas not removed"),
        }
    }

    /// Announces this replica and watches the others until `end`; then the announcement is removed.
    pub(crate) async fn run(self: Arc<Self>, end: CancellationToken) {
        end.run_until_cancelled(Box::pin(self.keep())).await;
        let gone = json!({"metadata": {"annotations": {annotation(self.id): null}}});
        if let Err(error) = within(CALL, self.patch(&gone)).await {
            tracing::warn!(%error, lease = self.lease, "this replica's announcement was not removed");
        }
    }

    async fn keep(&self) {
        let mut states = watch_object(self.leases.clone(), &self.lease, "watching the replicas");
        let mut next = Instant::now();
        loop {
            tokio::select! {
                () = sleep_until(next) => {
                    let begun = Instant::now();
                    match within(CALL, self.announce()).await {
                        Ok(()) => {
                            self.liveness().announced(begun);
                            // It is set once.
                            drop(self.announced.set(()));
                            next = begun + RENEWAL;
                        }
                        Err(error) => {
                            tracing::warn!(%error, lease = self.lease, "this replica cannot announce itself; trying again");
                            next = Instant::now() + RETRY;
                        }
                    }
                }
                Some(lease) = states.next() => {
                    let deleted = lease.is_none();
                    if let Some(lease) = lease {
                        self.liveness().see(&lease, Instant::now());
                    }
                    if deleted || self.liveness().is_missing() {
                        next = next.min(Instant::now() + RETRY);
                    }
                }
            }
            let living = self.liveness().living(Instant::now()).count();
            self.metrics.live.set(i64::try_from(living).unwrap_or(i64::MAX));
        }
    }

    /// Writes the announcement of this replica.
    async fn announce(&self) -> kube::Result<()> {
        // For people, and so that each announcement is another one.
        let text = json!({"pod": self.pod, "renewed": Timestamp::now().to_string()}).to_string();
        match self.patch(&json!({"metadata": {"annotations": {annotation(self.id): text}}})).await {
            Err(error) if classify(&error) == Class::Gone => {}
            result => return result,
        }
        let metadata = ObjectMeta {
            name: Some(self.lease.clone()),
            annotations: Some([(annotation(self.id), text)].into()),
            ..ObjectMeta::default()
        };
        let known = self.liveness().version();
        let lease = self.leases.create(&PostParams::default(), &Lease { metadata, spec: None }).await?;
        self.take(&lease, known);
        Ok(())
    }

    async fn patch(&self, patch: &Value) -> kube::Result<()> {
        let known = self.liveness().version();
        let lease = self.leases.patch(&self.lease, &PatchParams::default(), &Patch::Merge(patch)).await?;
        self.take(&lease, known);
        Ok(())
    }

    /// Takes in the answer to a call that began when `known` was the newest version. Ends the process if the store was
    /// restored from a backup: a watch goes on from a version that the store has yet to reach, and the API server reports
    /// neither changes nor an error until then. A new process lists everything.
    fn take(&self, lease: &Lease, known: u64) {
        let restored = self.liveness().take(lease, known, Instant::now());
        if restored {
            self.supervisor.fail("presence", OLDER_STORE.to_owned());
        }
    }

    // A poisoned lock means that a thread panicked between two consistent states.
    fn liveness(&self) -> MutexGuard<'_, Liveness> {
        self.liveness.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
