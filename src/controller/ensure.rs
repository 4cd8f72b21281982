//! Bringing one object to what it should be: created if it is missing, replaced if it differs, left alone if it is
//! right, and never touched if it is somebody else's.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kube::api::{DeleteParams, PostParams, Preconditions};
use kube::core::Status;
use kube::{Api, Client, ResourceExt};
use tokio::time::Instant;

use super::digest::{self, FIELD_MANAGER, digest};
use super::fights::{Fights, opponent};
use super::objects::{Keep, Known, Owner, controller_of};
use crate::api::names::ObjectKey;
use crate::cache::Cache;
use crate::calls::within;
use crate::metrics::Metrics;
use crate::watch::{key_of, version_of};

/// Why an object is not as it should be.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// An object of that name exists and belongs to somebody else.
    #[error("{kind} {name:?} exists and {owner}: it is left alone; delete or rename it")]
    Collision {
        /// Kind of the object.
        kind: String,
        /// Name of the object.
        name: String,
        /// Whose it is.
        owner: String,
    },
    /// The object, or a former one of that name, is being deleted.
    #[error("{kind} {name:?} is being deleted")]
    Deleting {
        /// Kind of the object.
        kind: String,
        /// Name of the object.
        name: String,
    },
    /// The API server finds the object invalid.
    #[error("{kind} {name:?} is refused by the API server: {message}")]
    Refused {
        /// Kind of the object.
        kind: String,
        /// Name of the object.
        name: String,
        /// What the API server says.
        message: String,
    },
    /// A quota of the namespace forbids it.
    #[error("{kind} {name:?} is refused: {message}")]
    Quota {
        /// Kind of the object.
        kind: String,
        /// Name of the object.
        name: String,
        /// What the API server says: which quota, and how much of it is used.
        message: String,
    },
    /// The namespace is being deleted, and nothing may be made in it any more.
    #[error("the namespace is being deleted")]
    NamespaceEnds,
    /// Somebody else changes the object again and again.
    #[error(
        "{kind} {name:?} is changed again and again by {by:?}: it is put right a few times a minute until that ends"
    )]
    Contested {
        /// Kind of the object.
        kind: String,
        /// Name of the object.
        name: String,
        /// The field manager that was last seen to change it.
        by: String,
    },
    /// Any other failure, which may pass: a conflict, an API server that is away.
    #[error("writing {kind} {name:?}: {message}")]
    Failed {
        /// Kind of the object.
        kind: String,
        /// Name of the object.
        name: String,
        /// What went wrong.
        message: String,
    },
}

/// What was done for an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Done {
    /// Nothing: it is right.
    Nothing,
    /// It was missing and is there now.
    Created,
    /// It differed and is right now.
    Replaced,
}

/// Longest that one call to the API server may take: as long as the API server itself lets a request take.
const CALL_TIMEOUT: Duration = Duration::from_secs(60);

/// Objects of which it is remembered that others change them; to forget one costs one write.
const MOST_SETTLED: usize = 20_000;

/// Digests of what was wanted and of what came of it.
type Settled = (u64, u64);

/// Writes children through the API server.
#[derive(Clone)]
pub struct Writer {
    client: Client,
    metrics: Arc<Metrics>,
    /// Objects that others keep changing after every write of ours, or in which the API server fills in more than this
    /// version knows of: what was wanted and what came of it. They are not written again until either changes.
    settled: Arc<Mutex<HashMap<(&'static str, ObjectKey), Settled>>>,
    fights: Arc<Fights>,
}

impl Writer {
    /// A writer that uses `client`.
    #[must_use]
    pub fn new(client: Client, metrics: Arc<Metrics>) -> Self {
        Self { client, metrics, settled: Arc::default(), fights: Arc::default() }
    }

    /// Brings the object that `wanted` names to what it says; `cache` knows what is stored.
    ///
    /// # Errors
    /// [`Error`] says what stands in the way.
    pub async fn ensure<K: Keep>(&self, wanted: &K, cache: &Cache<Known<K::Facts>>) -> Result<Done, Error> {
        let (key, target) = (key_of(wanted), digest(wanted));
        if let Some(known) = cache.get(&key) {
            check_owner(wanted, known.owner.as_ref(), known.deleting)?;
            if known.digest == target || self.is_settled::<K>(&key, target, known.digest) {
                return Ok(Done::Nothing);
            }
            return self.replace(wanted, target, cache).await;
        }
        let api: Api<K> = Api::namespaced(self.client.clone(), &key.namespace);
        match bounded(api.create(&params(), wanted)).await {
            Ok(stored) => {
                self.metrics.api_write(kind::<K>(), "create");
                self.observe(stored, target, cache);
                Ok(Done::Created)
            }
            Err(kube::Error::Api(status)) if status.reason == "AlreadyExists" => {
                self.replace(wanted, target, cache).await
            }
            Err(error) => Err(failure(wanted, &error)),
        }
    }

    /// Reads what is stored, since the cache keeps no whole objects, and replaces exactly that version of it; once more
    /// if somebody else has just changed it.
    async fn replace<K: Keep>(&self, wanted: &K, target: u64, cache: &Cache<Known<K::Facts>>) -> Result<Done, Error> {
        let key = key_of(wanted);
        let api: Api<K> = Api::namespaced(self.client.clone(), &key.namespace);
        let mut again = true;
        loop {
            let stored = bounded(api.get(&key.name)).await.map_err(|error| failure(wanted, &error))?;
            let known = stored.clone().known();
            check_owner(wanted, known.owner.as_ref(), known.deleting)?;
            if known.digest == target || self.is_settled::<K>(&key, target, known.digest) {
                cache.observe(key, version_of(&stored), known);
                return Ok(Done::Nothing);
            }
            if !self.fights.may_strike(kind::<K>(), &key, target, Instant::now()) {
                let by = opponent(stored.meta()).unwrap_or("somebody").to_owned();
                return Err(Error::Contested { kind: kind::<K>().to_owned(), name: key.name, by });
            }
            let replacement = digest::replacement(wanted, &stored);
            match bounded(api.replace(&key.name, &params(), &replacement)).await {
                Ok(stored) => {
                    self.metrics.api_write(kind::<K>(), "update");
                    self.observe(stored, target, cache);
                    return Ok(Done::Replaced);
                }
                Err(kube::Error::Api(status)) if again && status.is_conflict() => again = false,
                Err(error) => return Err(failure(wanted, &error)),
            }
        }
    }

    /// Deletes an object that `owner` had and should have no longer. Nothing happens if there is none, or if it is
    /// somebody else's. Returns whether there was something to delete.
    ///
    /// # Errors
    /// As [`Self::delete`].
    pub async fn remove<K: Keep>(
        &self,
        key: &ObjectKey,
        owner: &str,
        cache: &Cache<Known<K::Facts>>,
    ) -> Result<bool, Error> {
        let known = cache
            .get(key)
            .filter(|known| !known.deleting && known.owner.as_ref().is_some_and(|known| known.uid == owner));
        match known {
            Some(known) => self.delete::<K>(key, &known.uid).await.map(|()| true),
            None => Ok(false),
        }
    }

    /// Deletes an object that is no longer wanted, if it is still the one that the cache knows.
    ///
    /// # Errors
    /// [`Error::Failed`] if the API server does not take it; that it is gone already is no error.
    pub async fn delete<K: Keep>(&self, key: &ObjectKey, uid: &str) -> Result<(), Error> {
        let api: Api<K> = Api::namespaced(self.client.clone(), &key.namespace);
        let preconditions = Preconditions { uid: Some(uid.to_owned()), resource_version: None };
        let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::background() };
        match bounded(api.delete(&key.name, &params)).await {
            Ok(_) => {
                self.metrics.api_write(kind::<K>(), "delete");
                Ok(())
            }
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
            Err(error) => {
                Err(Error::Failed { kind: kind::<K>().to_owned(), name: key.name.clone(), message: error_text(&error) })
            }
        }
    }

    fn is_settled<K: Keep>(&self, key: &ObjectKey, target: u64, found: u64) -> bool {
        let settled = self.settled.lock().unwrap_or_else(PoisonError::into_inner);
        settled.get(&(kind::<K>(), key.clone())) == Some(&(target, found))
    }

    fn observe<K: Keep>(&self, stored: K, target: u64, cache: &Cache<Known<K::Facts>>) {
        let (key, version, known) = (key_of(&stored), version_of(&stored), stored.known());
        let mut settled = self.settled.lock().unwrap_or_else(PoisonError::into_inner);
        if known.digest == target {
            settled.remove(&(kind::<K>(), key.clone()));
        } else {
            tracing::debug!(kind = kind::<K>(), %key, "the API server stored something else than was written");
            if settled.len() >= MOST_SETTLED {
                settled.clear();
            }
            settled.insert((kind::<K>(), key.clone()), (target, known.digest));
        }
        drop(settled);
        cache.observe(key, version, known);
    }
}

/// Name of a kind, for messages and metrics.
fn kind<K: Keep>() -> &'static str {
    // Every kind that is written has its name as a literal in k8s-openapi or in our derive.
    match K::kind(&()) {
        std::borrow::Cow::Borrowed(kind) => kind,
        std::borrow::Cow::Owned(_) => "Other",
    }
}

/// A call that gives up: an API server that takes a request and does not answer must not hold a worker for ever.
pub(super) async fn bounded<T>(call: impl Future<Output = kube::Result<T>>) -> kube::Result<T> {
    within(CALL_TIMEOUT, call).await
}

fn params() -> PostParams {
    PostParams { dry_run: false, field_manager: Some(FIELD_MANAGER.to_owned()) }
}

/// Nobody else's object is ever touched. One that a former owner of the same name left is being collected: it goes by
/// itself.
fn check_owner<K: Keep>(wanted: &K, owner: Option<&Owner>, deleting: bool) -> Result<(), Error> {
    let (kind, name) = (kind::<K>().to_owned(), wanted.name_any());
    let ours = controller_of(wanted.meta());
    match (owner, ours) {
        (Some(owner), Some(ours)) if owner.kind == ours.kind && owner.name == ours.name => {
            if owner.uid == ours.uid && !deleting { Ok(()) } else { Err(Error::Deleting { kind, name }) }
        }
        (Some(owner), _) => {
            Err(Error::Collision { kind, name, owner: format!("belongs to {} {:?}", owner.kind, owner.name) })
        }
        (None, _) => Err(Error::Collision { kind, name, owner: "has no owner".to_owned() }),
    }
}

fn failure<K: Keep>(wanted: &K, error: &kube::Error) -> Error {
    failed(kind::<K>(), &wanted.name_any(), error)
}

/// What a failed write of an object means.
pub(super) fn failed(kind: &str, name: &str, error: &kube::Error) -> Error {
    let (kind, name, message) = (kind.to_owned(), name.to_owned(), error_text(error));
    match error {
        kube::Error::Api(status) if status.code == 422 => Error::Refused { kind, name, message },
        kube::Error::Api(status) if status.code == 403 && namespace_ends(status) => Error::NamespaceEnds,
        // The words of the admission plugin ResourceQuota; its answer has nothing else to be told by.
        kube::Error::Api(status) if status.code == 403 && status.message.contains("exceeded quota") => {
            Error::Quota { kind, name, message }
        }
        _ => Error::Failed { kind, name, message },
    }
}

fn namespace_ends(status: &Status) -> bool {
    let causes = status.details.iter().flat_map(|details| &details.causes);
    causes.into_iter().any(|cause| cause.reason == "NamespaceTerminating")
}

/// What the API server said, without the debug form that kube's own message carries.
pub(super) fn error_text(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) if !status.message.is_empty() => status.message.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(status: serde_json::Value) -> Error {
        failed("Service", "g-1", &kube::Error::Api(Box::new(serde_json::from_value(status).unwrap())))
    }

    #[test]
    fn what_the_api_server_refuses_is_told_apart_by_what_helps() {
        let ending = json!({"code": 403, "message": "forbidden", "reason": "Forbidden",
            "details": {"causes": [{"reason": "NamespaceTerminating", "message": "m", "field": "metadata.namespace"}]}});
        assert!(matches!(of(ending), Error::NamespaceEnds));
        let quota =
            json!({"code": 403, "message": "services \"g-1\" is forbidden: exceeded quota: q", "reason": "Forbidden"});
        assert!(matches!(of(quota), Error::Quota { .. }));
        assert!(matches!(of(json!({"code": 403, "message": "no"})), Error::Failed { .. }));
        assert!(matches!(of(json!({"code": 422, "message": "bad"})), Error::Refused { .. }));
    }
}
