//! Where the streams of one replica are, by partition.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::candidacies::{Candidacies, End, Handle, Told};
use super::record::{self, Members, StreamId};
use super::store::{self, Store, View};
use super::task::{self, Next};
use crate::api::names::ObjectKey;
use crate::api_error::{Class, classify, message};
use crate::primary::metrics::PrimaryMetrics;
use crate::replicas::{Presence, ReplicaId};
use crate::singleflight::{Refused, Singleflight};

/// Longest wait for this replica to be known to the others, before which nobody may enter here.
const ANNOUNCED: Duration = Duration::from_secs(10);
/// Longest time that withdrawing all candidacies may take when the process stops. What remains is swept up by others.
const WITHDRAWN: Duration = Duration::from_secs(5);
/// How many partitions are looked up at a time, and the longest wait for it: anybody can ask for any that do not exist.
const LOOK_UPS: (usize, Duration) = (4, Duration::from_secs(10));

/// Why nobody can enter.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// There is no such partition here.
    #[error("partition {0} does not exist")]
    NotFound(ObjectKey),
    /// The member is none of the partition's pods.
    #[error("must be one of the partition's pods: {0}")]
    NotAMember(Members),
    /// Another partition of that name is about to go, or has come in its place.
    #[error("partition {0} is being made anew: try again")]
    Replaced(ObjectKey),
    /// This replica stops.
    #[error("this replica is stopping: connect again, another one answers")]
    Stopping,
    /// Too many partitions that are not known are asked for.
    #[error("too many partitions are looked up at once: try again")]
    Busy,
    /// This replica has never been able to announce itself, and the others would not know that it lives.
    #[error("this replica cannot announce itself to the others; its log says why: try again, or another replica")]
    Unannounced,
    /// The API server cannot be reached.
    #[error("the Kubernetes API cannot be reached")]
    Away,
    /// The API server does not let the controller look.
    #[error("the Kubernetes API refuses this controller: {0}")]
    Refused(String),
}

impl From<store::Error> for Error {
    fn from(error: store::Error) -> Self {
        match error {
            store::Error::Api(error) if classify(&error) == Class::Forbidden => {
                Self::Refused(message(&error).into_owned())
            }
            _ => Self::Away,
        }
    }
}

/// The streams of one replica.
#[derive(Debug)]
pub struct Hub {
    replica: ReplicaId,
    store: Arc<Store>,
    look_ups: Singleflight<Result<Option<View>, Error>>,
    presence: Arc<Presence>,
    metrics: Arc<PrimaryMetrics>,
    numbers: AtomicU64,
    tasks: TaskTracker,
    /// Set with [`State::stopping`], for tasks that wait.
    stopping: CancellationToken,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    stopping: bool,
    slots: HashMap<ObjectKey, Slot>,
}

/// One partition of which this replica has streams, or something to write.
#[derive(Debug)]
struct Slot {
    /// Unique identity of the partition.
    uid: String,
    /// What somebody has seen of the partition since its task last looked.
    seen: Option<View>,
    /// Version of the partition that its task has looked at last.
    looked: u64,
    candidacies: Candidacies,
    streams: HashMap<Handle, watch::Sender<Option<Told>>>,
    ghosts: BTreeSet<StreamId>,
    /// Whether the watch has told of the partition since its task last looked.
    news: bool,
    wake: Arc<Notify>,
}

impl Slot {
    fn tell(&mut self, handle: Handle, told: Told) {
        if let Told::End(_) = told {
            if let Some(stream) = self.streams.remove(&handle) {
                stream.send_replace(Some(told));
            }
        } else if let Some(stream) = self.streams.get(&handle) {
            stream.send_if_modified(|last| {
                let told = Some(told);
                let news = *last != told;
                *last = told;
                news
            });
        }
    }

    fn end(&mut self, end: End) {
        for handle in self.candidacies.end() {
            self.tell(handle, Told::End(end));
        }
        self.wake.notify_one();
    }
}

impl Hub {
    /// The streams of the replica that `presence` announces.
    #[must_use]
    pub fn new(store: Store, presence: Arc<Presence>, metrics: Arc<PrimaryMetrics>) -> Arc<Self> {
        Arc::new(Self {
            replica: presence.id(),
            store: Arc::new(store),
            look_ups: Singleflight::new(LOOK_UPS.0, Duration::ZERO),
            presence,
            metrics,
            numbers: AtomicU64::new(1),
            tasks: TaskTracker::new(),
            stopping: CancellationToken::new(),
            state: Mutex::default(),
        })
    }

    /// Enters `member` as a candidate of partition `key`, for as long as the result lives.
    ///
    /// # Errors
    /// [`Error`] if it cannot be one.
    pub async fn enter(self: &Arc<Self>, key: ObjectKey, member: &str) -> Result<Entered, Error> {
        if timeout(ANNOUNCED, self.presence.announced()).await.is_err() {
            return Err(Error::Unannounced);
        }
        let view = match self.store.known(&key) {
            Some(view) if view.members.include(member) => view,
            // It may have been made a moment ago, or have grown.
            _ => self.look_up(&key, member).await?,
        };
        let mut state = self.state();
        let slot = self.slot(&mut state, &key, view)?;
        let (handle, replaced) = slot.candidacies.enter(member, self.number());
        if let Some(replaced) = replaced {
            slot.tell(replaced, Told::End(End::Replaced));
        }
        let (stream, told) = watch::channel(None);
        slot.streams.insert(handle, stream);
        slot.wake.notify_one();
        self.metrics.candidates.inc();
        drop(state);
        Ok(Entered { told, _left: Leaving { hub: Arc::clone(self), key, handle } })
    }

    /// Asks the API server for a partition of which `member` is to be one.
    async fn look_up(&self, key: &ObjectKey, member: &str) -> Result<View, Error> {
        let read = || {
            let (store, key) = (Arc::clone(&self.store), key.clone());
            async move { store.look_up(&key).await.map_err(Error::from) }
        };
        let found = match timeout(LOOK_UPS.1, self.look_ups.join(key, || 0, read)).await {
            Ok(Ok(found)) => found?,
            Ok(Err(Refused::TooMany)) => return Err(Error::Busy),
            Ok(Err(Refused::Died)) | Err(_) => return Err(Error::Away),
        };
        let view = found.ok_or_else(|| Error::NotFound(key.clone()))?;
        if view.members.include(member) { Ok(view) } else { Err(Error::NotAMember(view.members)) }
    }

    /// Takes in that a partition has changed, or is gone.
    pub fn changed(&self, key: &ObjectKey) {
        if !self.has(key) {
            return;
        }
        let known = self.store.known(key);
        if let Some(slot) = self.state().slots.get_mut(key) {
            // Its task may be busy, and only see what comes after.
            if let Some(view) = known.filter(|view| view.uid == slot.uid && view.version > slot.looked) {
                for handle in slot.candidacies.replaced(&view.record) {
                    slot.tell(handle, Told::End(End::Replaced));
                }
            }
            slot.news = true;
            slot.wake.notify_one();
        }
    }

    /// Ends all streams, and withdraws their candidacies before it returns, if that is possible in a few seconds. Nobody
    /// can enter any more.
    pub async fn stop(&self) {
        {
            let mut state = self.state();
            state.stopping = true;
            state.slots.values_mut().for_each(|slot| slot.end(End::Stopping));
        }
        self.stopping.cancel();
        self.tasks.close();
        if timeout(WITHDRAWN, self.tasks.wait()).await.is_err() {
            tracing::warn!("not all candidacies could be withdrawn: other replicas will do it");
        }
    }

    /// Whether this replica looks after a partition: it has streams of it, or something to write.
    pub(super) fn has(&self, key: &ObjectKey) -> bool {
        self.state().slots.contains_key(key)
    }

    /// Drops the candidacies of dead replicas from a partition.
    pub(super) fn sweep(self: &Arc<Self>, key: &ObjectKey, view: View, ghosts: BTreeSet<StreamId>) {
        let mut state = self.state();
        if let Ok(slot) = self.slot(&mut state, key, view) {
            slot.ghosts.extend(ghosts);
            slot.wake.notify_one();
        }
    }

    pub(super) fn store(&self) -> &Store {
        &self.store
    }

    pub(super) fn stopping(&self) -> &CancellationToken {
        &self.stopping
    }

    pub(super) fn presence(&self) -> &Presence {
        &self.presence
    }

    /// What wakes the task of a partition.
    pub(super) fn wake(&self, key: &ObjectKey) -> Option<Arc<Notify>> {
        self.state().slots.get(key).map(|slot| Arc::clone(&slot.wake))
    }

    /// Whether the watch has told of a partition since it was last asked.
    pub(super) fn news(&self, key: &ObjectKey) -> bool {
        self.state().slots.get_mut(key).is_some_and(|slot| std::mem::take(&mut slot.news))
    }

    /// What somebody has seen of a partition since it was last asked.
    pub(super) fn seen(&self, key: &ObjectKey) -> Option<View> {
        self.state().slots.get_mut(key).and_then(|slot| slot.seen.take())
    }

    /// Tells the streams of a partition what is true now, and says what is to be done next.
    /// `may_close` says whether its task may end if nothing is left.
    pub(super) fn settle(&self, key: &ObjectKey, view: &View, may_close: bool) -> Next {
        let may_enter = self.presence.is_fresh();
        let mut state = self.state();
        let may_close = may_close || state.stopping;
        let Some(slot) = state.slots.get_mut(key) else { return Next::Close };
        slot.looked = view.version;
        for (handle, told) in slot.candidacies.see(&view.record, &view.members, may_enter, || self.number()) {
            slot.tell(handle, told);
        }
        slot.ghosts.retain(|ghost| record::streams(&view.record).any(|id| id == *ghost));
        if !slot.ghosts.is_empty() {
            // It may take long until they can be written off, and their replica may have been heard of since.
            let silent = self.presence.silent(slot.ghosts.iter().map(|ghost| ghost.replica));
            slot.ghosts.retain(|ghost| silent.contains(&ghost.replica));
        }
        if let Some(next) = slot.candidacies.wanted(&view.record, &slot.ghosts, &view.members, may_enter) {
            return Next::Write(next);
        }
        let is_empty = slot.candidacies.is_empty();
        if is_empty && may_close {
            state.slots.remove(key);
            return Next::Close;
        }
        if is_empty || slot.candidacies.any_waits() { Next::Look } else { Next::Wait }
    }

    /// Ends all streams of a partition; there is nothing left to write.
    pub(super) fn close(&self, key: &ObjectKey, end: End) {
        if let Some(mut slot) = self.state().slots.remove(key) {
            slot.end(end);
        }
    }

    fn leave(&self, key: &ObjectKey, handle: Handle) {
        self.metrics.candidates.dec();
        if let Some(slot) = self.state().slots.get_mut(key) {
            slot.candidacies.leave(handle);
            slot.streams.remove(&handle);
            slot.wake.notify_one();
        }
    }

    fn slot<'a>(self: &Arc<Self>, state: &'a mut State, key: &ObjectKey, view: View) -> Result<&'a mut Slot, Error> {
        if state.stopping {
            return Err(Error::Stopping);
        }
        let entry = match state.slots.entry(key.clone()) {
            Entry::Occupied(slot) if slot.get().uid != view.uid => {
                slot.get().wake.notify_one();
                return Err(Error::Replaced(key.clone()));
            }
            Entry::Occupied(slot) => {
                let slot = slot.into_mut();
                slot.seen = Some(view);
                return Ok(slot);
            }
            Entry::Vacant(entry) => entry,
        };
        let slot = Slot {
            uid: view.uid.clone(),
            seen: None,
            looked: 0,
            candidacies: Candidacies::new(self.replica),
            streams: HashMap::new(),
            ghosts: BTreeSet::new(),
            news: false,
            wake: Arc::default(),
        };
        #[expect(clippy::disallowed_methods, reason = "one partition: its streams end if it dies, see Closing")]
        self.tasks.spawn(task::run(Arc::clone(self), key.clone(), view));
        Ok(entry.insert(slot))
    }

    fn number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    // A poisoned lock means that somebody panicked between two consistent states.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A candidacy. It ends when this is dropped.
#[derive(Debug)]
pub struct Entered {
    told: watch::Receiver<Option<Told>>,
    _left: Leaving,
}

impl Entered {
    /// Waits for the first term in which this is a candidate, and then for each change. What has changed again before
    /// anybody asked is not told. None if this replica cannot go on.
    pub async fn next(&mut self) -> Option<Told> {
        loop {
            self.told.changed().await.ok()?;
            let told = self.told.borrow_and_update().clone();
            if told.is_some() {
                return told;
            }
        }
    }
}

#[derive(Debug)]
struct Leaving {
    hub: Arc<Hub>,
    key: ObjectKey,
    handle: Handle,
}

impl Drop for Leaving {
    fn drop(&mut self) {
        self.hub.leave(&self.key, self.handle);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_api_server_that_refuses_is_not_one_that_cannot_be_reached() {
        let said = |code: u16| {
            let refusal = serde_json::from_value(json!({"code": code, "message": "partitions is forbidden"})).unwrap();
            Error::from(store::Error::Api(kube::Error::Api(refusal)))
        };
        for code in [401, 403] {
            assert_eq!(said(code), Error::Refused("partitions is forbidden".to_owned()));
        }
        for code in [429, 500, 503] {
            assert_eq!(said(code), Error::Away);
        }
        assert_eq!(Error::from(store::Error::Api(kube::Error::Service("refused".into()))), Error::Away);
    }
}
