//! Drops the candidacies that dead replicas have left.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::sleep;

use super::hub::Hub;
use super::record::{self, StreamId};
use super::store::View;
use crate::api::ElectionStatus;
use crate::api::names::ObjectKey;

/// Between two looks: often enough to see that the API server answers steadily while somebody is silent.
const LOOK: Duration = Duration::from_millis(1500);

/// Looks after the partitions of which its replica has streams, and after all while its replica leads.
#[derive(Clone, Debug)]
pub struct Sweeper {
    hub: Arc<Hub>,
    everywhere: Arc<AtomicBool>,
}

/// While this lives, the sweeper looks after all partitions.
#[derive(Debug)]
pub struct Everywhere(Arc<AtomicBool>);

impl Drop for Everywhere {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

impl Sweeper {
    /// A sweeper of a replica that does not lead.
    #[must_use]
    pub fn new(hub: Arc<Hub>) -> Self {
        Self { hub, everywhere: Arc::default() }
    }

    /// Makes it look after all partitions until the result is dropped.
    #[must_use]
    pub fn everywhere(&self) -> Everywhere {
        self.everywhere.store(true, Ordering::Relaxed);
        Everywhere(Arc::clone(&self.everywhere))
    }

    /// Sweeps, for ever.
    pub async fn run(self) {
        loop {
            sleep(LOOK).await;
            let everywhere = self.everywhere.load(Ordering::Relaxed);
            self.sweep(everywhere).await;
            if everywhere {
                self.hub.presence().bury().await;
            }
        }
    }

    async fn sweep(&self, everywhere: bool) {
        self.tidy();
        let suspects: Vec<_> = self.suspects(everywhere);
        if suspects.is_empty() {
            return;
        }
        // A candidacy is written after its replica has announced itself. So what is seen of the announcements from here
        // on tells of every replica that lived when it wrote one of these, and who entered anew since has other numbers.
        if let Err(error) = self.hub.presence().refresh().await {
            tracing::debug!(%error, "who lives cannot be confirmed");
            return;
        }
        for (key, view, ids) in suspects {
            let dead = self.hub.presence().dead(ids.iter().map(|id| id.replica));
            let ghosts: BTreeSet<StreamId> = ids.into_iter().filter(|id| dead.contains(&id.replica)).collect();
            if !ghosts.is_empty() {
                tracing::info!(partition = %key, candidacies = ghosts.len(), "dropping candidacies of dead replicas");
                self.hub.sweep(&key, view, ghosts);
            }
        }
    }

    /// Partitions with candidacies of replicas that have been silent for a while, and those.
    fn suspects(&self, everywhere: bool) -> Vec<(ObjectKey, View, Vec<StreamId>)> {
        let looked_after =
            |key: &ObjectKey, record: &ElectionStatus| !record.streams.is_empty() && (everywhere || self.hub.has(key));
        let suspects = self.hub.store().with_records(&looked_after).into_iter().filter_map(|(key, view)| {
            let ids: Vec<StreamId> = record::streams(&view.record).collect();
            let silent = self.hub.presence().silent(ids.iter().map(|id| id.replica));
            let ids: Vec<StreamId> = ids.into_iter().filter(|id| silent.contains(&id.replica)).collect();
            (!ids.is_empty()).then_some((key, view, ids))
        });
        suspects.collect()
    }

    /// Clears away what should be in no record and that nobody's stream will ever correct. It takes no proof: what the
    /// watch has not told yet is for the API server to say, which takes no change of an old version.
    fn tidy(&self) {
        let idle = |key: &ObjectKey, record: &ElectionStatus| {
            *record != ElectionStatus { term: record.term, ..ElectionStatus::default() } && !self.hub.has(key)
        };
        for (key, view) in self.hub.store().with_records(&idle) {
            if record::is_littered(&view.record, self.hub.presence().id(), &view.members) {
                tracing::info!(partition = %key, "dropping candidacies without a stream");
                self.hub.sweep(&key, view, BTreeSet::new());
            }
        }
    }
}
