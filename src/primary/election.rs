//! The part of one replica in the election of one partition.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use tokio::sync::{Notify, watch};

use super::candidacies::{Candidacies, End, Handle, Update};
use super::record::StreamId;
use super::store::PartitionView;
use crate::replicas::ReplicaId;

/// It exists while there are streams or something to write.
#[derive(Debug)]
pub(super) struct Election {
    /// Unique identity of the partition.
    pub(super) uid: String,
    /// Version of the partition that the task has processed last.
    pub(super) processed: u64,
    pub(super) candidacies: Candidacies,
    pub(super) streams: HashMap<Handle, watch::Sender<Option<Update>>>,
    /// Candidacies of dead replicas that are to be removed.
    pub(super) dead: BTreeSet<StreamId>,
    pub(super) inbox: Inbox,
}

/// Input of the task of an election.
#[derive(Clone, Debug, Default)]
pub(super) struct Inbox {
    pub(super) wake: Arc<Notify>,
    /// Whether the watch has reported a change.
    pub(super) changed: bool,
    /// The partition as an entering candidate has found it.
    pub(super) view: Option<PartitionView>,
}

impl Election {
    pub(super) fn new(uid: String, replica: ReplicaId) -> Self {
        Self {
            uid,
            processed: 0,
            candidacies: Candidacies::new(replica),
            streams: HashMap::new(),
            dead: BTreeSet::new(),
            inbox: Inbox::default(),
        }
    }

    pub(super) fn send(&mut self, handle: Handle, update: Update) {
        if let Update::End(_) = update {
            if let Some(stream) = self.streams.remove(&handle) {
                stream.send_replace(Some(update));
            }
        } else if let Some(stream) = self.streams.get(&handle) {
            stream.send_if_modified(|last| last.replace(update.clone()) != Some(update));
        }
    }

    pub(super) fn end(&mut self, end: End) {
        for handle in self.candidacies.end() {
            self.send(handle, Update::End(end));
        }
        self.inbox.wake.notify_one();
    }
}
