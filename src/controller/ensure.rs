//! Bringing one object to what it should be: created if it is missing, put right if it lacks what is wanted, left alone
//! if it has it, and never touched if it is somebody else's.

use std::sync::Arc;
use std::time::Duration;

use kube::api::{DeleteParams, GetParams, PostParams, Preconditions};
use kube::core::Request;
use kube::{Api, Client, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::Instant;

use super::FIELD_MANAGER;
use super::desired::{self, Desired};
use super::objects::{Child, Known, Owner, controller_of};
use super::repairs::{Repairs, last_foreign_manager};
use super::write_error::{Error, failed};
use crate::api::names::ObjectKey;
use crate::api_error::{self, Class};
use crate::calls::within;
use crate::controller::metrics::ControllerMetrics;
use crate::store::cache::Cache;
use crate::store::watch::{key_of, version_in, version_of};

/// What was done for an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Done {
    /// Nothing: it is right.
    Nothing,
    /// It was missing and is there now.
    Created,
    /// It lacked something of what is wanted and has it now.
    Replaced,
    /// It had all that is wanted; what the controller notes down on it was brought up to date.
    Noted,
    /// It had no owner, and has one now.
    Adopted,
}

/// Longest that one call to the API server may take: as long as the API server itself lets a request take.
const CALL_TIMEOUT: Duration = Duration::from_secs(60);

/// Writes of one object in a row: as it should be, once more with the fields that a policy has changed in the write left
/// to that policy, and one for a change by somebody else in between.
const ROUNDS: usize = 4;

/// Writes children through the API server.
#[derive(Clone)]
pub struct Writer {
    client: Client,
    metrics: Arc<ControllerMetrics>,
    repairs: Arc<Repairs>,
}

impl Writer {
    /// A writer that uses `client`.
    #[must_use]
    pub fn new(client: Client, metrics: Arc<ControllerMetrics>) -> Self {
        Self { client, metrics, repairs: Arc::default() }
    }

    /// Brings an object to what is wanted of it; `cache` knows what is stored.
    ///
    /// # Errors
    /// [`Error`] says what stands in the way.
    pub async fn ensure<K: Child>(&self, desired: &Desired<K>, cache: &Cache<Known<K::Facts>>) -> Result<Done, Error> {
        let key = key_of(&desired.object);
        let wanted = desired.wanted().map_err(|error| failure(desired, &kube::Error::SerdeError(error)))?;
        if let Some(known) = cache.get(&key) {
            if ownership(desired, &known)? == Ownership::Ours
                && desired::missing::<K>(&wanted, &known.fields, known.ignored.as_ref()).is_empty()
            {
                return Ok(Done::Nothing);
            }
            return self.update(desired, &wanted, cache).await;
        }
        if desired.existed {
            return self.update(desired, &wanted, cache).await;
        }
        self.create(desired, &wanted, cache).await
    }

    async fn create<K: Child>(
        &self,
        desired: &Desired<K>,
        wanted: &Value,
        cache: &Cache<Known<K::Facts>>,
    ) -> Result<Done, Error> {
        let body = desired::creation(wanted, &desired.initial);
        let request = request::<K>(&key_of(&desired.object)).create(&params(), to_bytes(&body));
        match self.send(request).await {
            Ok(stored) => {
                self.metrics.api_write(kind::<K>(), "create");
                if observe::<K>(wanted, stored, cache).is_empty() {
                    return Ok(Done::Created);
                }
                // A policy has changed it on the way. It may be one that lets updates alone.
                Box::pin(self.update(desired, wanted, cache)).await.map(|_| Done::Created)
            }
            Err(error) if api_error::classify(&error) == Class::AlreadyExists => {
                Box::pin(self.update(desired, wanted, cache)).await
            }
            Err(error) => Err(failure(desired, &error)),
        }
    }

    /// Reads what is stored, since the cache keeps no whole objects, and puts right what it lacks.
    async fn update<K: Child>(
        &self,
        desired: &Desired<K>,
        wanted: &Value,
        cache: &Cache<Known<K::Facts>>,
    ) -> Result<Done, Error> {
        match self.read(desired).await {
            Ok(stored) => self.put_right(desired, wanted, stored, cache).await,
            Err(error) if api_error::classify(&error) == Class::Gone => {
                let created = Desired { existed: false, ..desired.clone() };
                Box::pin(self.create(&created, wanted, cache)).await
            }
            Err(error) => Err(failure(desired, &error)),
        }
    }

    /// What another's object of that name would come to, if there is one.
    pub async fn collision<K: Child>(&self, desired: &Desired<K>) -> Option<Error> {
        let stored: K = typed(&self.read(desired).await.ok()?).ok()?;
        ownership(desired, &stored.known()).err().filter(|error| matches!(error, Error::Collision { .. }))
    }

    async fn read<K: Child>(&self, desired: &Desired<K>) -> kube::Result<Value> {
        let key = key_of(&desired.object);
        self.send(request::<K>(&key).get(&key.name, &GetParams::default())).await
    }

    /// Replaces exactly the version `stored`, or the next one if another program has just changed it, until it has all
    /// that is wanted but what a policy sets in the very write.
    async fn put_right<K: Child>(
        &self,
        desired: &Desired<K>,
        wanted: &Value,
        mut stored: Value,
        cache: &Cache<Known<K::Facts>>,
    ) -> Result<Done, Error> {
        let (key, wish) = (key_of(&desired.object), desired::content_hash(wanted));
        let mut done = Done::Nothing;
        let mut ignored: Vec<String> = Vec::new();
        for _ in 0..ROUNDS {
            let object: K = typed(&stored).map_err(|error| failure(desired, &error))?;
            let (meta, known) = (object.meta().clone(), object.known());
            let ownership = ownership(desired, &known)?;
            let missing = desired::missing::<K>(wanted, &known.fields, known.ignored.as_ref());
            if missing.is_empty() && ownership == Ownership::Ours {
                cache.observe(key, version_in(meta.resource_version.as_deref()), known);
                return Ok(done);
            }
            let is_repair = done == Done::Nothing && ownership == Ownership::Ours && !desired::is_bookkeeping(&missing);
            if is_repair && let Err(again) = self.repairs.allow(kind::<K>(), &key, wish, Instant::now()) {
                let by = last_foreign_manager(&meta).unwrap_or("another program").to_owned();
                return Err(Error::Contested { kind: kind::<K>().to_owned(), name: key.name, by, again });
            }
            if K::is_replaced_by_another(&stored, wanted) {
                self.delete::<K>(&key, &known.uid).await?;
                let created = Desired { existed: false, ..desired.clone() };
                return Box::pin(self.create(&created, wanted, cache)).await.map(|_| Done::Replaced);
            }
            if ownership == Ownership::Orphaned {
                desired::forget_former_owner(&mut stored);
            }
            let body = desired::replacement(desired, &stored, wanted, &ignored);
            match self.send::<Value>(request::<K>(&key).replace(&key.name, &params(), to_bytes(&body))).await {
                Ok(answer) => {
                    self.metrics.api_write(kind::<K>(), "update");
                    if done == Done::Nothing {
                        done = match ownership {
                            Ownership::Orphaned => Done::Adopted,
                            Ownership::Ours if is_repair => Done::Replaced,
                            Ownership::Ours => Done::Noted,
                        };
                    }
                    if is_repair {
                        self.repairs.record(kind::<K>(), &key, wish, Instant::now());
                    }
                    let object: K = typed(&answer).map_err(|error| failure(desired, &error))?;
                    ignored = observe(wanted, object, cache);
                    if !ignored.is_empty() {
                        tracing::info!(kind = kind::<K>(), %key, fields = ignored.join(","), "fields are left to the policy that sets them in each write");
                    }
                    stored = answer;
                }
                Err(error) if api_error::classify(&error) == Class::Conflict => {
                    stored = self.read(desired).await.map_err(|error| failure(desired, &error))?;
                }
                Err(error) => return Err(failure(desired, &error)),
            }
        }
        let (kind, name) = (kind::<K>().to_owned(), key.name);
        Err(Error::Failed { kind, name, message: "it is changed by others in each moment".to_owned() })
    }

    /// Deletes an object that `owner` had and should have no longer. Nothing happens if there is none, or if it is
    /// somebody else's. Returns whether there was something to delete.
    ///
    /// # Errors
    /// As [`Self::delete`].
    pub async fn remove<K: Child>(
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

    /// Deletes an object that is no longer wanted, if it is still the one of that uid.
    ///
    /// # Errors
    /// [`Error`] if the API server does not take it; that it is gone already is no error.
    pub async fn delete<K: Child>(&self, key: &ObjectKey, uid: &str) -> Result<(), Error> {
        let api: Api<K> = Api::namespaced(self.client.clone(), &key.namespace);
        let preconditions = Preconditions { uid: Some(uid.to_owned()), resource_version: None };
        let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::background() };
        match bounded(api.delete(&key.name, &params)).await {
            Ok(_) => {
                self.metrics.api_write(kind::<K>(), "delete");
                Ok(())
            }
            Err(error) if matches!(api_error::classify(&error), Class::Gone | Class::Conflict) => Ok(()),
            Err(error) => Err(failed(kind::<K>(), &key.name, &error)),
        }
    }

    async fn send<T: DeserializeOwned>(
        &self,
        request: Result<hyper::Request<Vec<u8>>, kube::core::request::Error>,
    ) -> kube::Result<T> {
        bounded(self.client.request(request.map_err(kube::Error::BuildRequest)?)).await
    }
}

/// Requests about objects of a kind in a namespace.
fn request<K: Child>(key: &ObjectKey) -> Request {
    Request::new(K::url_path(&(), Some(&key.namespace)))
}

fn to_bytes(object: &Value) -> Vec<u8> {
    object.to_string().into_bytes()
}

fn typed<K: Child>(object: &Value) -> kube::Result<K> {
    K::deserialize(object).map_err(kube::Error::SerdeError)
}

/// Takes in the answer to a write. Returns what the stored object lacks of what is wanted.
fn observe<K: Child>(wanted: &Value, stored: K, cache: &Cache<Known<K::Facts>>) -> Vec<String> {
    let (key, version, known) = (key_of(&stored), version_of(&stored), stored.known());
    let missing = desired::missing::<K>(wanted, &known.fields, known.ignored.as_ref());
    cache.observe(key, version, known);
    missing
}

/// Name of a kind, for messages and metrics.
fn kind<K: Child>() -> &'static str {
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

/// Whose an object is that may be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ownership {
    /// It belongs to the owner that it should have.
    Ours,
    /// It has no owner, and all that the owner would have given it: it was orphaned or restored, and is adopted.
    Orphaned,
}

/// Somebody else's object is never touched. One that a former owner of the same name left is being collected: it goes by
/// itself.
fn ownership<K: Child>(desired: &Desired<K>, known: &Known<K::Facts>) -> Result<Ownership, Error> {
    let (kind, name) = (kind::<K>().to_owned(), desired.object.name_any());
    let ours = controller_of(desired.object.meta());
    match (&known.owner, ours) {
        (Some(Owner { kind: of, name: owner, uid }), Some(ours)) if *of == ours.kind && *owner == ours.name => {
            if *uid == ours.uid && !known.deleting { Ok(Ownership::Ours) } else { Err(Error::Deleting { kind, name }) }
        }
        (Some(owner), _) => {
            Err(Error::Collision { kind, name, owner: format!("belongs to {} {:?}", owner.kind, owner.name) })
        }
        (None, _) if !desired.is_known_by(&known.fields) => {
            Err(Error::Collision { kind, name, owner: "has no owner".to_owned() })
        }
        (None, _) if known.deleting => Err(Error::Deleting { kind, name }),
        (None, _) => Ok(Ownership::Orphaned),
    }
}

fn failure<K: Child>(desired: &Desired<K>, error: &kube::Error) -> Error {
    failed(kind::<K>(), &desired.object.name_any(), error)
}
