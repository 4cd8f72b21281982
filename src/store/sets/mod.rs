//! The cached PartitionSets, and the reads of the API server that complete the cache.
//!
//! A watch lags by milliseconds. A set that the cache lacks is read from the API server; a list is answered from the
//! cache, with everything that this process has written.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use kube::api::ListParams;
use kube::{Api, Client};
use tokio::time::{sleep, timeout};

use crate::api::PartitionSet;
use crate::api::names::ObjectKey;
use crate::backoff::Backoff;
use crate::calls::within;
use crate::deserialize_guard::{DeserializeGuard, Unreadable};
use crate::queue::Trigger;
use crate::scope::Scope;
use crate::singleflight::{ReadError, Singleflight};
use crate::store::cache::{ListAge, key_of, version_in, version_of};
use crate::store::cached::slim;
use crate::store::caches::Caches;
use crate::store::freshness::Freshness;

/// Longest wait for the answer to one read of the API server.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// Sets of one page of a list: bounds the memory that a list takes.
const PAGE_SIZE: u32 = 250;
/// Reads of single sets at the same time.
const CONCURRENT_READS: usize = 16;
/// First and longest wait of a new leader whose list has failed.
const LEADER_RETRY: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));
/// Wait before a list that confirms the cache after an interruption, and between two attempts.
const CONFIRM_RETRY: Duration = Duration::from_secs(1);

/// Why there is no answer.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The API server refused, or did not answer.
    #[error("reading PartitionSets: {0}")]
    Api(#[source] Arc<kube::Error>),
    /// There was no read, or it has no result.
    #[error("reading PartitionSets: {0}")]
    Read(#[from] ReadError),
    /// The first lists are not in.
    #[error("this replica has not read the PartitionSets yet")]
    Unsynced,
}

/// What a name stands for.
#[derive(Clone, Debug)]
pub(crate) enum Found {
    Set(Arc<PartitionSet>),
    /// An object that cannot be read as a set, and why.
    Unreadable(String),
    Nothing,
}

/// Sets by name.
pub(crate) type NamedSets = Vec<(String, Arc<PartitionSet>)>;

/// The cached sets and the reads that complete them. Clones share both.
#[derive(Clone)]
pub struct Sets(Arc<Inner>);

struct Inner {
    client: Client,
    caches: Arc<Caches>,
    reconcile: Trigger,
    reads: Singleflight<Result<Found, Error>>,
}

impl Sets {
    /// The sets in the cache of `caches`. A change that an answer of the API server brings before the watch does is
    /// handed to `reconcile`, since the watch does not report it again.
    #[must_use]
    pub fn new(client: Client, caches: Arc<Caches>, reconcile: Trigger) -> Self {
        Self(Arc::new(Inner { client, caches, reconcile, reads: Singleflight::new(CONCURRENT_READS) }))
    }

    /// The set of that key: from the cache, or from the API server if the cache lacks it or has it as one that is being
    /// deleted, in whose place another may have been created. Callers that arrive before a read begins share it.
    ///
    /// # Errors
    /// [`Error`] if the set had to be read and was not.
    pub(crate) async fn find(&self, key: &ObjectKey) -> Result<Found, Error> {
        let lasting = || self.known(key).filter(|set| set.metadata.deletion_timestamp.is_none());
        if let Some(set) = lasting() {
            return Ok(Found::Set(set));
        }
        let (sets, read_key) = (self.clone(), key.clone());
        let read = move || {
            let (sets, key) = (sets.clone(), read_key.clone());
            async move { sets.read(&key).await.map_err(|error| Error::Api(Arc::new(error))) }
        };
        match self.0.reads.get_or_read(key, read).await?? {
            // The cache may have it by now.
            Found::Nothing => Ok(lasting().map_or(Found::Nothing, Found::Set)),
            found => Ok(found),
        }
    }

    /// The sets of a namespace that the cache has, by name. A set that this process has written and that a list of the
    /// watch has hidden for a moment is read first.
    ///
    /// # Errors
    /// [`Error::Unsynced`] before the first lists.
    pub(crate) async fn all(&self, namespace: &str) -> Result<NamedSets, Error> {
        let Caches { sets: cache, sets_freshness, .. } = &*self.0.caches;
        if !sets_freshness.subscribe().borrow().synced {
            return Err(Error::Unsynced);
        }
        let unconfirmed = cache.unconfirmed(namespace);
        for error in join_all(unconfirmed.iter().map(|key| self.find(key))).await.into_iter().filter_map(Result::err) {
            tracing::debug!(namespace, %error, "a set that may exist is left out of a list");
        }
        Ok(cache.with_prefix(namespace, ""))
    }

    /// The set of that key, if the cache has it.
    #[must_use]
    pub fn known(&self, key: &ObjectKey) -> Option<Arc<PartitionSet>> {
        self.0.caches.sets.get(key)
    }

    /// Puts the answer of the API server to a write or a read into the cache.
    pub fn take(&self, set: PartitionSet) {
        let (key, version) = (key_of(&set), version_of(&set));
        if self.0.caches.sets.observe(key.clone(), version, slim(set)) {
            self.0.reconcile.now(key);
        }
    }

    /// Reads a set from the API server into the cache.
    ///
    /// # Errors
    /// Those of the API server, but for the one that there is no such set.
    pub(crate) async fn read(&self, key: &ObjectKey) -> kube::Result<Found> {
        let cache = &self.0.caches.sets;
        let before = cache.last_version(key);
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
                // A set that was created since has a later version.
                if let Some(version) = before {
                    cache.forget(key, version);
                    self.0.reconcile.now(key.clone());
                }
                Ok(Found::Nothing)
            }
        }
    }

    /// Waits until the cache shows that a set which the API server has deleted is gone, or is being deleted. If the watch
    /// does not report that in time, the set is read.
    pub(crate) async fn wait_until_gone(&self, key: &ObjectKey, uid: &str, patience: Duration) {
        let is_other = |set: &PartitionSet| !uid.is_empty() && set.metadata.uid.as_deref() != Some(uid);
        let is_gone = |set: Option<&PartitionSet>| {
            set.is_none_or(|set| is_other(set) || set.metadata.deletion_timestamp.is_some())
        };
        if timeout(patience, self.0.caches.sets.wait_until(key, is_gone)).await.is_err()
            && let Err(error) = self.read(key).await
        {
            tracing::warn!(group = %key, %error, "deleted, and still in the cache");
        }
    }

    /// Reads all sets of `scope` into the cache, as they are after this call. A list that fails is tried again until it
    /// succeeds.
    pub(crate) async fn read_all(&self, scope: &Scope) {
        for (namespace, _) in scope.apis::<PartitionSet>(&self.0.client) {
            let mut backoff = Backoff::new(LEADER_RETRY.0, LEADER_RETRY.1);
            while let Err(error) = self.list(namespace.as_deref()).await {
                tracing::warn!(namespace, %error, "listing PartitionSets before this replica reconciles; trying again");
                sleep(backoff.pause()).await;
            }
        }
    }

    /// Lists the sets of a namespace, or of all if that is none, into the cache.
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
        for (key, _) in self.0.caches.sets.retain(&kept, namespace, ListAge::Version(version)) {
            self.0.reconcile.now(key);
        }
        Ok(())
    }

    /// Lists the sets after each interruption of a watch, until a list succeeds; never returns. A watch that goes on where
    /// it was does not show that it is back.
    pub(crate) async fn confirm_after_interruptions(self) {
        let reporter = &self.0.caches.sets_freshness;
        let mut freshness = reporter.subscribe();
        let is_interrupted = |freshness: &Freshness| freshness.synced && !freshness.is_fresh();
        // The sender lives as long as `self`.
        while freshness.wait_for(is_interrupted).await.is_ok() {
            sleep(CONFIRM_RETRY).await;
            let interrupted = freshness.borrow_and_update().interrupted.clone();
            for (namespace, interruptions) in interrupted {
                match self.list(namespace.as_deref()).await {
                    Ok(()) => reporter.confirm_after(namespace.as_deref(), interruptions),
                    Err(error) => tracing::debug!(namespace, %error, "listing PartitionSets after an interruption"),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
