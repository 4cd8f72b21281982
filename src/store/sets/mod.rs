//! The PartitionSets as this replica knows them, and how it makes sure that it knows them all.
//!
//! A watch is a little late. Whoever answers others from its cache reads the API server first where the cache cannot be
//! trusted: about a set that it lacks, about a namespace of which nothing was proved lately, and about everything while
//! the watch is interrupted. In between, nothing is read.

pub(crate) mod currency;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use kube::api::ListParams;
use kube::{Api, Client};
use tokio::time::{Instant, sleep, timeout, timeout_at};

pub use self::currency::Standing;
use crate::api::PartitionSet;
use crate::api::names::ObjectKey;
use crate::calls::within;
use crate::deserialize_guard::{DeserializeGuard, Unreadable};
use crate::queue::Trigger;
use crate::scope::Scope;
pub use crate::singleflight::Refused;
use crate::singleflight::Singleflight;
use crate::store::caches::Caches;
use crate::store::watch::{key_of, version_in, version_of};

/// Longest wait for the answer to one read of the API server.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// Sets of one page of a list: bounds the memory that a list takes.
const PAGE_SIZE: u32 = 250;
/// Reads of single sets, and lists, that are made at the same time.
const CONCURRENT: (usize, usize) = (16, 4);
/// How old a proof may be that a namespace has no other sets than those that are known.
const PROOF: Duration = Duration::from_millis(100);
/// First and longest wait of a new leader whose list has failed.
const LEADER_RETRY: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));
/// Between two lists that are to prove that nothing was missed while the watch was interrupted.
const PROOF_RETRY: Duration = Duration::from_secs(1);

/// Annotation in which kubectl keeps a copy of what was applied: nothing here reads it.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// A set without what only the API server and kubectl need.
#[must_use]
pub(crate) fn slim(mut set: PartitionSet) -> PartitionSet {
    set.metadata.managed_fields = None;
    set.metadata.annotations.iter_mut().for_each(|annotations| drop(annotations.remove(LAST_APPLIED)));
    set
}

/// Why something could not be read.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The API server did not answer, or refused.
    #[error("reading PartitionSets: {0}")]
    Read(#[source] Arc<kube::Error>),
    /// It was not asked.
    #[error("reading PartitionSets: {0}")]
    Refused(#[from] Refused),
    /// Nothing is known yet to answer from.
    #[error("this replica has not read the PartitionSets yet")]
    Unsynced,
}

/// What there is under a name.
#[derive(Clone, Debug)]
pub enum Found {
    /// A set.
    Set(Arc<PartitionSet>),
    /// Something that cannot be read as one, and why.
    Unreadable(String),
    /// Nothing.
    Nothing,
}

/// Sets by name.
pub type NamedSets = Vec<(String, Arc<PartitionSet>)>;

/// The cache of the watch, and the reads that it needs. Clones share both.
#[derive(Clone)]
pub struct Sets(Arc<Inner>);

struct Inner {
    client: Client,
    caches: Arc<Caches>,
    reconcile: Trigger,
    reads: Singleflight<Result<Found, Error>>,
    lists: Singleflight<Result<(), Error>>,
}

impl Sets {
    /// The sets in the cache of `caches`. What a read brings before the watch does is to be reconciled as if the watch
    /// had brought it, since the watch will not tell of it again: that is what `reconcile` is for.
    #[must_use]
    pub fn new(client: Client, caches: Arc<Caches>, reconcile: Trigger) -> Self {
        // Who asks for one set may know from another replica that it is there, or gone.
        let (reads, lists) = (Singleflight::new(CONCURRENT.0, Duration::ZERO), Singleflight::new(CONCURRENT.1, PROOF));
        Self(Arc::new(Inner { client, caches, reconcile, reads, lists }))
    }

    /// The set of that key. A set that the cache has costs nothing, unless it is being deleted: another may have its
    /// name by now. That one, and one that the cache lacks, is looked for at the API server, by one read for all who ask
    /// before it begins.
    ///
    /// # Errors
    /// [`Error`] if the cache lacks the set and the API server cannot be asked.
    pub async fn find(&self, key: &ObjectKey) -> Result<Found, Error> {
        let lasting = || self.known(key).filter(|set| set.metadata.deletion_timestamp.is_none());
        if let Some(set) = lasting() {
            return Ok(Found::Set(set));
        }
        let read = || {
            let (sets, key) = (self.clone(), key.clone());
            async move { sets.read(&key).await.map_err(|error| Error::Read(Arc::new(error))) }
        };
        match self.0.reads.join(key, || 0, read).await?? {
            // It may have come meanwhile.
            Found::Nothing => Ok(lasting().map_or(Found::Nothing, Found::Set)),
            found => Ok(found),
        }
    }

    /// All sets of a namespace, by name: all that there were a tenth of a second ago, and all that this process has made
    /// since. If the API server has not answered after `patience`, these are the sets that the cache has.
    ///
    /// # Errors
    /// [`Error`] if the API server has never told what there is.
    pub async fn all(&self, namespace: &str, patience: Duration) -> Result<NamedSets, Error> {
        let key = ObjectKey::new(namespace, "");
        let list = || {
            let (sets, namespace) = (self.clone(), namespace.to_owned());
            async move { sets.list(Some(&namespace)).await.map_err(|error| Error::Read(Arc::new(error))) }
        };
        let (cache, give_up) = (&self.0.caches.sets, Instant::now() + patience);
        loop {
            let before = cache.relists();
            let listed = timeout_at(give_up, self.0.lists.join(&key, || cache.relists(), list)).await;
            let (after, sets) = cache.of_namespace(namespace);
            match listed.map(|listed| listed.map_err(Error::from).flatten()) {
                Ok(Ok(())) if before == after => return Ok(sets),
                // What this process has just made may be missing for a moment.
                Ok(Ok(())) => continue,
                Ok(Err(error)) => {
                    tracing::debug!(namespace, %error, "groups are listed from the cache");
                }
                Err(_) => {
                    tracing::debug!(namespace, "the API server does not answer: groups are listed from the cache");
                }
            }
            let synced = self.0.caches.sets_currency.subscribe().borrow().synced;
            return if synced { Ok(sets) } else { Err(Error::Unsynced) };
        }
    }

    /// The set of that key, if the cache has it.
    #[must_use]
    pub fn known(&self, key: &ObjectKey) -> Option<Arc<PartitionSet>> {
        self.0.caches.sets.get(key)
    }

    /// Takes in what the API server has answered to a write or a read.
    pub fn take(&self, set: PartitionSet) {
        let (key, version) = (key_of(&set), version_of(&set));
        if self.0.caches.sets.observe(key.clone(), version, slim(set)) {
            self.0.reconcile.now(key);
        }
    }

    /// Asks the API server for a set, whatever the cache has; afterwards the cache has what was found.
    ///
    /// # Errors
    /// What the API server says, unless that is that there is no such set.
    pub async fn read(&self, key: &ObjectKey) -> kube::Result<Found> {
        let cache = &self.0.caches.sets;
        let before = cache.get_versioned(key);
        let api: Api<DeserializeGuard<PartitionSet>> = Api::namespaced(self.0.client.clone(), &key.namespace);
        match within(CALL_TIMEOUT, api.get_opt(&key.name)).await? {
            Some(DeserializeGuard(Ok(set))) => {
                self.take(set.clone());
                Ok(Found::Set(Arc::new(slim(set))))
            }
            Some(DeserializeGuard(Err(unreadable))) if unreadable.metadata.deletion_timestamp.is_some() => {
                Ok(Found::Nothing)
            }
            Some(DeserializeGuard(Err(unreadable))) => Ok(Found::Unreadable(unreadable.to_string())),
            None => {
                // What was made since has a later version.
                if let Some((version, _)) = before {
                    cache.forget(key, version);
                    self.0.reconcile.now(key.clone());
                }
                Ok(Found::Nothing)
            }
        }
    }

    /// Waits until the cache knows that a set which the API server has deleted is gone, or is going. The watch tells
    /// within milliseconds; where it does not, the API server is asked.
    pub async fn gone(&self, key: &ObjectKey, uid: &str, patience: Duration) {
        let is_other = |set: &PartitionSet| !uid.is_empty() && set.metadata.uid.as_deref() != Some(uid);
        let is_gone = |set: Option<&PartitionSet>| {
            set.is_none_or(|set| is_other(set) || set.metadata.deletion_timestamp.is_some())
        };
        if timeout(patience, self.0.caches.sets.wait_until(key, is_gone)).await.is_err()
            && let Err(error) = self.read(key).await
        {
            tracing::warn!(group = %key, %error, "deleted, and the watch has not told of it yet");
        }
    }

    /// Reads all sets of `scope`; afterwards the cache has all that there were when this was called. A list that fails is
    /// tried again until it succeeds.
    pub async fn read_all(&self, scope: &Scope) {
        for (namespace, _) in scope.apis::<PartitionSet>(&self.0.client) {
            let mut pause = LEADER_RETRY.0;
            while let Err(error) = self.list(namespace.as_deref()).await {
                tracing::warn!(namespace, %error, "listing PartitionSets before this replica reconciles; trying again");
                sleep(pause).await;
                pause = LEADER_RETRY.1.min(pause * 2);
            }
        }
    }

    /// Lists the sets of a namespace, or of all if that is none; afterwards the cache has what there is.
    async fn list(&self, namespace: Option<&str>) -> kube::Result<()> {
        let api: Api<DeserializeGuard<PartitionSet>> = match namespace {
            Some(namespace) => Api::namespaced(self.0.client.clone(), namespace),
            None => Api::all(self.0.client.clone()),
        };
        let mut params = ListParams::default().limit(PAGE_SIZE);
        let mut kept = HashSet::new();
        let version = loop {
            let page = within(CALL_TIMEOUT, api.list(&params)).await?;
            for item in page.items {
                match item.0 {
                    Ok(set) => {
                        kept.insert(key_of(&set));
                        self.take(set);
                    }
                    Err(Unreadable { metadata, .. }) => drop(kept.insert(ObjectKey::new(
                        metadata.namespace.unwrap_or_default(),
                        metadata.name.unwrap_or_default(),
                    ))),
                }
            }
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => params = params.continue_token(&token),
                None => break version_in(page.metadata.resource_version.as_deref()),
            }
        };
        for (key, _) in self.0.caches.sets.retain(&kept, namespace, Some(version)) {
            self.0.reconcile.now(key);
        }
        Ok(())
    }

    /// Proves, whenever the watch was interrupted, that nothing was missed, for ever. Reads nothing otherwise.
    pub async fn keep_current(self) {
        let currency = &self.0.caches.sets_currency;
        let mut standing = currency.subscribe();
        loop {
            let doubtful = standing.wait_for(|standing| standing.synced && !standing.interrupted.is_empty()).await;
            // The sender lives as long as `self`.
            let Ok(doubtful) = doubtful.map(|standing| standing.interrupted.clone()) else { return };
            for (namespace, interruption) in doubtful {
                let begun = Instant::now();
                match self.list(namespace.as_deref()).await {
                    Ok(()) => currency.proved(namespace.as_deref(), interruption, begun),
                    Err(error) => tracing::debug!(namespace, %error, "not proved yet that nothing was missed"),
                }
            }
            if !standing.borrow().is_current() {
                sleep(PROOF_RETRY).await;
            }
        }
    }
}

#[cfg(test)]
mod tests;
