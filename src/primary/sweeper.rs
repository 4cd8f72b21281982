//! Removes candidacies that have no stream any more.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::sleep;

use super::hub::Hub;
use super::record::{self, StreamId};
use super::store::PartitionView;
use crate::api::ElectionStatus;
use crate::api::names::ObjectKey;

/// Between two sweeps: often enough to see that the API server answers steadily while a replica is silent.
const INTERVAL: Duration = Duration::from_millis(1500);

/// Sweeps the partitions of which its replica has streams, and all while its replica leads.
#[derive(Clone, Debug)]
pub(crate) struct Sweeper {
    hub: Arc<Hub>,
    leading: Arc<AtomicBool>,
}

/// Makes the sweeper sweep all partitions until this is dropped.
#[derive(Debug)]
pub(crate) struct SweepAll(Arc<AtomicBool>);

impl Drop for SweepAll {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

impl Sweeper {
    pub(crate) fn new(hub: Arc<Hub>) -> Self {
        Self { hub, leading: Arc::default() }
    }

    /// Begins to sweep all partitions.
    pub(crate) fn sweep_all(&self) -> SweepAll {
        self.leading.store(true, Ordering::Relaxed);
        SweepAll(Arc::clone(&self.leading))
    }

    /// Sweeps, for ever.
    pub(crate) async fn run(self) {
        loop {
            sleep(INTERVAL).await;
            let leading = self.leading.load(Ordering::Relaxed);
            self.remove_orphans();
            self.remove_dead(leading).await;
            if leading {
                self.hub.presence.remove_expired().await;
            }
        }
    }

    /// Removes the candidacies of dead replicas.
    async fn remove_dead(&self, everywhere: bool) {
        let suspects = self.suspects(everywhere);
        if suspects.is_empty() {
            return;
        }
        // A replica announces itself before it writes a candidacy. So the announcements that are read from here on show
        // each replica that lived when it wrote one of these, and a candidacy that has entered anew has another number.
        if let Err(error) = self.hub.presence.refresh().await {
            tracing::debug!(%error, "the announcements of replicas cannot be read");
            return;
        }
        for (key, view, ids) in suspects {
            let dead = self.hub.presence.dead(ids.iter().map(|id| id.replica));
            let ids: BTreeSet<StreamId> = ids.into_iter().filter(|id| dead.contains(&id.replica)).collect();
            if !ids.is_empty() {
                tracing::info!(partition = %key, candidacies = ids.len(), "removing candidacies of dead replicas");
                self.hub.remove(&key, view, ids);
            }
        }
    }

    /// Partitions with candidacies of replicas that have been silent for a while, and those candidacies.
    fn suspects(&self, everywhere: bool) -> Vec<(ObjectKey, PartitionView, Vec<StreamId>)> {
        let is_swept =
            |key: &ObjectKey, record: &ElectionStatus| !record.streams.is_empty() && (everywhere || self.hub.has(key));
        let suspects = self.hub.store.with_records(is_swept).into_iter().filter_map(|(key, view)| {
            let ids: Vec<StreamId> = record::streams(&view.record).collect();
            let silent = self.hub.presence.silent(ids.iter().map(|id| id.replica));
            let ids: Vec<StreamId> = ids.into_iter().filter(|id| silent.contains(&id.replica)).collect();
            (!ids.is_empty()).then_some((key, view, ids))
        });
        suspects.collect()
    }

    /// Removes the candidacies of this replica that have no stream, and edits of the record. An outdated cache does no
    /// harm: the API server refuses a write on an old version.
    fn remove_orphans(&self) {
        let idle = |key: &ObjectKey, record: &ElectionStatus| {
            *record != ElectionStatus { term: record.term, ..ElectionStatus::default() } && !self.hub.has(key)
        };
        for (key, view) in self.hub.store.with_records(idle) {
            if record::has_orphans(&view.record, self.hub.presence.id(), &view.members) {
                tracing::info!(partition = %key, "removing candidacies without a stream");
                self.hub.remove(&key, view, BTreeSet::new());
            }
        }
    }
}
