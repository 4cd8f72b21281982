//! The streams of one replica, by partition.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::candidacies::{End, Handle, Update};
use super::election::{Election, Inbox};
use super::error::Error;
use super::metrics::PrimaryMetrics;
use super::record::{self, StreamId};
use super::store::{PartitionView, Store};
use super::stream::{CandidateStream, LeaveOnDrop};
use super::task::{self, Step};
use crate::api::names::ObjectKey;
use crate::replicas::{Presence, ReplicaId};
use crate::singleflight::{ReadError, Singleflight};

/// Longest wait of a candidate for the first announcement of this replica.
const ANNOUNCED: Duration = Duration::from_secs(10);
/// Longest time that removing all candidacies may take when the process stops. Other replicas remove the rest.
const REMOVED: Duration = Duration::from_secs(5);
/// Reads of unknown partitions at the same time, and the longest wait for one: any client can ask for partitions that do
/// not exist.
const LOOK_UPS: (usize, Duration) = (4, Duration::from_secs(10));

/// The streams of one replica.
#[derive(Debug)]
pub struct Hub {
    replica: ReplicaId,
    pub(super) store: Arc<Store>,
    pub(super) presence: Arc<Presence>,
    /// Cancelled with [`State::stopping`], for tasks that wait.
    pub(super) stopping: CancellationToken,
    look_ups: Singleflight<Result<Option<PartitionView>, Error>>,
    metrics: Arc<PrimaryMetrics>,
    next_number: AtomicU64,
    tasks: TaskTracker,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    stopping: bool,
    elections: HashMap<ObjectKey, Election>,
}

impl Hub {
    /// The streams of the replica that `presence` announces.
    pub(crate) fn new(store: Store, presence: Arc<Presence>, metrics: Arc<PrimaryMetrics>) -> Arc<Self> {
        Arc::new(Self {
            replica: presence.id(),
            store: Arc::new(store),
            presence,
            stopping: CancellationToken::new(),
            look_ups: Singleflight::new(LOOK_UPS.0),
            metrics,
            next_number: AtomicU64::new(1),
            tasks: TaskTracker::new(),
            state: Mutex::default(),
        })
    }

    /// Enters `member` as a candidate of partition `key`, for as long as the result lives.
    ///
    /// # Errors
    /// [`Error`] if it cannot be one.
    pub(crate) async fn enter(self: &Arc<Self>, key: ObjectKey, member: &str) -> Result<CandidateStream, Error> {
        if timeout(ANNOUNCED, self.presence.announced()).await.is_err() {
            return Err(Error::Unannounced);
        }
        let view = match self.store.cached(&key) {
            Some(view) if view.members.include(member) => view,
            // The partition may have been created or have grown a moment ago.
            _ => self.look_up(&key, member).await?,
        };
        let mut state = self.state();
        let election = self.election(&mut state, &key, view)?;
        let (handle, replaced) = election.candidacies.enter(member, self.number());
        if let Some(replaced) = replaced {
            election.send(replaced, Update::End(End::Replaced));
        }
        let (stream, updates) = watch::channel(None);
        election.streams.insert(handle, stream);
        election.inbox.wake.notify_one();
        self.metrics.candidates.inc();
        drop(state);
        Ok(CandidateStream { updates, _leave: LeaveOnDrop { hub: Arc::clone(self), key, handle } })
    }

    /// Reads a partition of which `member` is to be a member.
    async fn look_up(&self, key: &ObjectKey, member: &str) -> Result<PartitionView, Error> {
        let (store, read_key) = (Arc::clone(&self.store), key.clone());
        let read = move || {
            let (store, key) = (Arc::clone(&store), read_key.clone());
            async move { store.look_up(&key).await.map_err(Error::from) }
        };
        let found = match timeout(LOOK_UPS.1, self.look_ups.get_or_read(key, read)).await {
            Ok(Ok(found)) => found?,
            Ok(Err(ReadError::TooMany)) => return Err(Error::Busy),
            Ok(Err(ReadError::Panicked)) | Err(_) => return Err(Error::Away),
        };
        let view = found.ok_or_else(|| Error::NotFound(key.clone()))?;
        if view.members.include(member) { Ok(view) } else { Err(Error::NotAMember(view.members)) }
    }

    /// Handles a change or the deletion of a partition, which the watch has reported.
    pub(crate) fn changed(&self, key: &ObjectKey) {
        if !self.has(key) {
            return;
        }
        let cached = self.store.cached(key);
        if let Some(election) = self.state().elections.get_mut(key) {
            // The task may be busy until there is a later state.
            if let Some(view) = cached.filter(|view| view.uid == election.uid && view.version > election.processed) {
                for handle in election.candidacies.end_replaced(&view.record) {
                    election.send(handle, Update::End(End::Replaced));
                }
            }
            election.inbox.changed = true;
            election.inbox.wake.notify_one();
        }
    }

    /// Ends all streams and removes their candidacies, if that is possible in a few seconds. No candidate can enter any
    /// more.
    pub(crate) async fn stop(&self) {
        {
            let mut state = self.state();
            state.stopping = true;
            state.elections.values_mut().for_each(|election| election.end(End::Stopping));
        }
        self.stopping.cancel();
        self.tasks.close();
        if timeout(REMOVED, self.tasks.wait()).await.is_err() {
            tracing::warn!("not all candidacies were removed: other replicas remove the rest");
        }
    }

    /// Whether this replica has streams of a partition, or something to write.
    pub(super) fn has(&self, key: &ObjectKey) -> bool {
        self.state().elections.contains_key(key)
    }

    /// Removes the candidacies `dead` from a partition, and those of this replica that have no stream.
    pub(super) fn remove(self: &Arc<Self>, key: &ObjectKey, view: PartitionView, dead: BTreeSet<StreamId>) {
        let mut state = self.state();
        if let Ok(election) = self.election(&mut state, key, view) {
            election.dead.extend(dead);
            election.inbox.wake.notify_one();
        }
    }

    /// The input of the task of a partition since the last call. None if the election is closed.
    pub(super) fn take_inbox(&self, key: &ObjectKey) -> Option<Inbox> {
        let mut state = self.state();
        let inbox = &mut state.elections.get_mut(key)?.inbox;
        let wake = Arc::clone(&inbox.wake);
        Some(std::mem::replace(inbox, Inbox { wake, ..Inbox::default() }))
    }

    /// Sends the streams of a partition what follows from its state, and returns what the task does next. With
    /// `may_close`, the election is closed if nothing is left.
    pub(super) fn process(&self, key: &ObjectKey, view: &PartitionView, may_close: bool) -> Step {
        let may_enter = self.presence.is_fresh();
        let mut state = self.state();
        let may_close = may_close || state.stopping;
        let Some(election) = state.elections.get_mut(key) else { return Step::Close };
        election.processed = view.version;
        for (handle, update) in election.candidacies.process(&view.record, &view.members, may_enter, || self.number()) {
            election.send(handle, update);
        }
        election.dead.retain(|dead| record::streams(&view.record).any(|id| id == *dead));
        if !election.dead.is_empty() {
            // Between the finding and the write, their replica may have announced itself again.
            let silent = self.presence.silent(election.dead.iter().map(|dead| dead.replica));
            election.dead.retain(|dead| silent.contains(&dead.replica));
        }
        let wanted = election.candidacies.wanted(&view.record, &election.dead, &view.members, may_enter);
        if let Some(wanted) = wanted {
            return Step::Write(wanted);
        }
        let is_empty = election.candidacies.is_empty();
        if is_empty && may_close {
            state.elections.remove(key);
            return Step::Close;
        }
        if is_empty || election.candidacies.has_pending() { Step::WaitAWhile } else { Step::Wait }
    }

    /// Ends all streams of a partition; there is nothing left to write.
    pub(super) fn close(&self, key: &ObjectKey, end: End) {
        if let Some(mut election) = self.state().elections.remove(key) {
            election.end(end);
        }
    }

    pub(super) fn leave(&self, key: &ObjectKey, handle: Handle) {
        self.metrics.candidates.dec();
        if let Some(election) = self.state().elections.get_mut(key) {
            election.candidacies.leave(handle);
            election.streams.remove(&handle);
            election.inbox.wake.notify_one();
        }
    }

    fn election<'a>(
        self: &Arc<Self>,
        state: &'a mut State,
        key: &ObjectKey,
        view: PartitionView,
    ) -> Result<&'a mut Election, Error> {
        if state.stopping {
            return Err(Error::Stopping);
        }
        let entry = match state.elections.entry(key.clone()) {
            Entry::Occupied(election) if election.get().uid != view.uid => {
                election.get().inbox.wake.notify_one();
                return Err(Error::Replaced(key.clone()));
            }
            Entry::Occupied(election) => {
                let election = election.into_mut();
                election.inbox.view = Some(view);
                return Ok(election);
            }
            Entry::Vacant(entry) => entry,
        };
        let election = Election::new(view.uid.clone(), self.replica);
        #[expect(clippy::disallowed_methods, reason = "one partition: its streams end with the task, see CloseOnDrop")]
        self.tasks.spawn(task::run(Arc::clone(self), key.clone(), view));
        Ok(entry.insert(election))
    }

    fn number(&self) -> u64 {
        self.next_number.fetch_add(1, Ordering::Relaxed)
    }

    // A poisoned lock means that a thread panicked between two consistent states.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
