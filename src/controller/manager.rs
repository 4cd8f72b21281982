//! What a leader runs: both controllers, for one term.

use std::future::Future;
use std::sync::Arc;

use kube::Client;
use tokio::time::Instant;

use super::ensure::Writer;
use super::first_seen::FirstSeen;
use super::pacing::Pacing;
use super::partition::{CreationFailures, Judged, Memory, Permits};
use super::partition_set::{OwnSets, RemovedPartitions};
use super::refusals::Refusals;
use super::unwritten::UnwrittenStatuses;
use super::{Caches, Context, FIELD_MANAGER, Settings, partition, partition_set};
use crate::controller::metrics::ControllerMetrics;
use crate::events::Events;
use crate::leader::Term;
use crate::queue::{Outcome, Trigger};
use crate::runtime::tasks::Supervisor;
use crate::scope::Scope;
use crate::store::sets::Sets;

/// PartitionSets of one namespace that are reconciled at the same time.
const SET_WORKERS: usize = 4;

/// What the controllers of every term are made of.
#[derive(Clone)]
pub struct Manager {
    /// Client with the controller's own rights.
    pub client: Client,
    /// What the watches know; they run whether or not this replica leads.
    pub caches: Arc<Caches>,
    /// What the controller was told at its start.
    pub settings: Arc<Settings>,
    /// Name of this replica, for events.
    pub pod_name: Option<String>,
    /// What is counted.
    pub metrics: Arc<ControllerMetrics>,
    /// Reads PartitionSets that the watch may not have shown yet.
    pub reader: Sets,
    /// Which namespaces are looked after.
    pub scope: Scope,
    /// Where the watches ask for PartitionSets to be reconciled.
    pub sets: Trigger,
    /// Where the watches ask for Partitions to be reconciled.
    pub partitions: Trigger,
    /// Partitions of one namespace that are reconciled at the same time.
    pub workers: usize,
    /// Observes the queues.
    pub supervisor: Supervisor,
}

impl Manager {
    /// Reconciles everything that is known, and then what changes, until the term ends. Nothing of an earlier term is
    /// used but the caches, after one list of the PartitionSets: the watch may be late, or interrupted, and by what a set
    /// said a moment ago, partitions would be set back, or removed.
    pub async fn lead(self, term: Term) {
        if term.ending.run_until_cancelled(self.reader.read_all(&self.scope)).await.is_none() {
            return;
        }
        let context = self.context(term.fence.guard(&self.client));
        let (set_queue, partition_queue) = (self.sets.open(), self.partitions.open());
        self.caches.sets.keys().into_iter().for_each(|key| self.sets.now(key));
        self.caches.partitions.keys().into_iter().for_each(|key| self.partitions.now(key));
        let sets = set_queue.run(SET_WORKERS, term.ending.clone(), |key| {
            counted(&context, "partition_set", Box::pin(partition_set::reconcile(&context, key)))
        });
        let partitions = partition_queue.run(self.workers, term.ending.clone(), |key| {
            counted(&context, "partition", Box::pin(partition::reconcile(&context, key)))
        });
        tokio::join!(
            self.supervisor.supervise("reconcile partition sets", &term.ending, sets),
            self.supervisor.supervise("reconcile partitions", &term.ending, partitions),
        );
    }

    /// What reconciliations of one term are given, all of which use `client`.
    fn context(&self, client: Client) -> Context {
        let recorder = (&self.supervisor, "event recorder");
        Context {
            writer: Writer::new(client.clone(), Arc::clone(&self.metrics)),
            caches: Arc::clone(&self.caches),
            settings: Arc::clone(&self.settings),
            events: Events::start(client.clone(), FIELD_MANAGER, self.pod_name.clone(), recorder),
            metrics: Arc::clone(&self.metrics),
            sets: self.sets.clone(),
            partitions: self.partitions.clone(),
            pacing: Pacing::default(),
            judged: Judged::default(),
            memory: Memory::default(),
            creation_failures: CreationFailures::default(),
            ready_pods: FirstSeen::default(),
            ready_partitions: FirstSeen::default(),
            permits: Permits::default(),
            removed: RemovedPartitions::default(),
            own_sets: OwnSets::default(),
            unwritten: UnwrittenStatuses::default(),
            refused_sets: Refusals::default(),
            refused_partitions: Refusals::default(),
            client,
        }
    }
}

async fn counted(context: &Context, controller: &'static str, work: impl Future<Output = Outcome>) -> Outcome {
    let start = Instant::now();
    let outcome = work.await;
    context.metrics.reconciled(controller, !outcome.is_failure(), start.elapsed());
    outcome
}

/// The surroundings of a reconciliation, with empty caches, for tests.
#[cfg(test)]
pub(super) fn fixture(client: Client) -> Context {
    let (caches, metrics) = (Arc::<Caches>::default(), crate::runtime::metrics::Registry::default().register());
    let manager = Manager {
        reader: Sets::new(client.clone(), Arc::clone(&caches), Trigger::default()),
        client: client.clone(),
        caches,
        settings: Arc::new(super::settings::fixture()),
        pod_name: None,
        supervisor: Supervisor::new(crate::runtime::metrics::Registry::default().register()),
        metrics,
        scope: Scope::default(),
        sets: Trigger::default(),
        partitions: Trigger::default(),
        workers: 1,
    };
    manager.context(client)
}
