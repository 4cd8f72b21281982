//! What a leader runs: both controllers, for one term.

use std::future::Future;
use std::sync::Arc;

use kube::Client;
use tokio::time::Instant;

use super::context::Context;
use super::metrics::ControllerMetrics;
use super::partition::{self, Partitions};
use super::partition_set::{self, Sets as SetController};
use super::settings::{FIELD_MANAGER, Settings};
use super::writer::Writer;
use crate::events::Events;
use crate::leader::Term;
use crate::queue::Outcome;
use crate::runtime::Runtime;
use crate::runtime::tasks::Supervisor;
use crate::scope::Scope;
use crate::store::sets::Sets;
use crate::store::{Caches, Triggers};

/// PartitionSets of one namespace that are reconciled at the same time.
const SET_WORKERS: usize = 4;

/// What the controllers of every term are made of. The watches run whether or not this replica leads.
#[derive(Clone)]
pub struct Manager {
    client: Client,
    supervisor: Supervisor,
    metrics: Arc<ControllerMetrics>,
    caches: Arc<Caches>,
    /// Reads PartitionSets that the watch may not have shown yet.
    reader: Sets,
    triggers: Triggers,
    options: Options,
}

/// What the operator chooses.
#[derive(Clone)]
pub struct Options {
    /// Settings that show in objects.
    pub settings: Arc<Settings>,
    /// Which namespaces are managed.
    pub scope: Scope,
    /// Name of this replica, for events.
    pub pod_name: Option<String>,
    /// Partitions of one namespace that are reconciled at the same time.
    pub workers: usize,
}

impl Manager {
    /// Controllers that reconcile what `caches` have, when `triggers` request it.
    #[must_use]
    pub fn new(runtime: &Runtime, caches: Arc<Caches>, reader: Sets, triggers: Triggers, options: Options) -> Self {
        Self {
            client: runtime.client.clone(),
            supervisor: runtime.supervisor().clone(),
            metrics: runtime.registry.register(),
            caches,
            reader,
            triggers,
            options,
        }
    }

    /// Reconciles every cached object, and then each that changes, until the term ends. The caches are all that is kept
    /// of an earlier term. The PartitionSets are listed first: their watch may be late or interrupted, and an outdated
    /// set would revert partitions, or remove them.
    pub async fn lead(self, term: Term) {
        if term.ending.run_until_cancelled(self.reader.read_all(&self.options.scope)).await.is_none() {
            return;
        }
        let context = Arc::new(self.context(term.fence.guard(&self.client)));
        let partitions = Arc::new(Partitions::new(Arc::clone(&context)));
        let sets = SetController::new(Arc::clone(&context), Arc::clone(&partitions));
        let Triggers { sets: set_trigger, partitions: partition_trigger } = &self.triggers;
        let (set_queue, partition_queue) = (set_trigger.open(), partition_trigger.open());
        self.caches.sets.keys().into_iter().for_each(|key| set_trigger.now(key));
        self.caches.partitions.keys().into_iter().for_each(|key| partition_trigger.now(key));
        let reconcile_sets = set_queue.run(SET_WORKERS, term.ending.clone(), |key| {
            counted(&context, "partition_set", Box::pin(partition_set::reconcile(&sets, key)))
        });
        let reconcile_partitions = partition_queue.run(self.options.workers, term.ending.clone(), |key| {
            counted(&context, "partition", Box::pin(partition::reconcile(&partitions, key)))
        });
        tokio::join!(
            self.supervisor.supervise("reconcile partition sets", &term.ending, reconcile_sets),
            self.supervisor.supervise("reconcile partitions", &term.ending, reconcile_partitions),
        );
    }

    /// The surroundings of one term, all of whose requests go through `client`.
    fn context(&self, client: Client) -> Context {
        let recorder = (&self.supervisor, "event recorder");
        Context {
            writer: Writer::new(client.clone(), Arc::clone(&self.caches), Arc::clone(&self.metrics)),
            caches: Arc::clone(&self.caches),
            settings: Arc::clone(&self.options.settings),
            events: Events::start(client.clone(), FIELD_MANAGER, self.options.pod_name.clone(), recorder),
            metrics: Arc::clone(&self.metrics),
            triggers: self.triggers.clone(),
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

/// Surroundings with empty caches, for tests.
#[cfg(test)]
pub(super) fn fixture(client: Client) -> Context {
    let (caches, registry) = (Arc::<Caches>::default(), crate::runtime::metrics::Registry::default());
    let triggers = Triggers::default();
    let manager = Manager {
        reader: Sets::new(client.clone(), Arc::clone(&caches), triggers.sets.clone()),
        client: client.clone(),
        supervisor: Supervisor::new(registry.register()),
        metrics: registry.register(),
        caches,
        triggers,
        options: Options {
            settings: Arc::new(super::settings::fixture()),
            scope: Scope::default(),
            pod_name: None,
            workers: 1,
        },
    };
    manager.context(client)
}
