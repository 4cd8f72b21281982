//! Brings one object to what is wanted of it: it is created if it is missing, put right if it lacks something, left
//! alone if it has everything, and never touched if another owner has it.

use std::sync::Arc;
use std::time::Duration;

use kube::api::{DeleteParams, GetParams, PostParams, Preconditions};
use kube::core::Request;
use kube::{Api, Client};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::Instant;

use super::desired::{self, Desired};
use super::metrics::ControllerMetrics;
use super::repairs::{Repairs, last_foreign_manager};
use super::settings::FIELD_MANAGER;
use super::trouble::Trouble;
use crate::api::names::ObjectKey;
use crate::api_error::{self, Class};
use crate::calls::within;
use crate::store::cache::{key_of, version_in};
use crate::store::fields::content_hash;
use crate::store::{Cached, Caches, Kind, Owner, controller_of};

/// What was done for an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Done {
    /// Nothing: it is right.
    Nothing,
    /// It was missing and is there now.
    Created,
    /// It lacked something of what is wanted and has it now.
    Replaced,
    /// It had all that is wanted; annotations that the controller keeps on it were brought up to date.
    BookkeepingUpdated,
    /// It had no owner, and has one now.
    Adopted,
    /// It was no longer wanted and has been deleted.
    Removed,
}

/// What was done for a child.
pub(super) struct ChildResult {
    pub(super) kind: &'static str,
    pub(super) name: String,
    pub(super) done: Done,
}

/// Longest that one call to the API server may take: as long as the API server itself lets a request take.
const CALL_TIMEOUT: Duration = Duration::from_secs(60);

/// Writes of one object in a row: as it should be, once more with the fields that a policy has changed in the write left
/// to that policy, and one for a change by another program in between.
const ROUNDS: usize = 4;

/// Writes the objects that the controllers make.
pub(super) struct Writer {
    client: Client,
    caches: Arc<Caches>,
    metrics: Arc<ControllerMetrics>,
    repairs: Repairs,
}

impl Writer {
    pub(super) fn new(client: Client, caches: Arc<Caches>, metrics: Arc<ControllerMetrics>) -> Self {
        Self { client, caches, metrics, repairs: Repairs::default() }
    }

    /// Brings an object to what is wanted of it.
    pub(super) async fn ensure<K: Kind>(&self, desired: &Desired<K>) -> Result<Done, Trouble> {
        let goal = Goal::new(desired)?;
        match K::cache(&self.caches).get(&goal.key) {
            Some(known) if goal.ownership(&known)? == Ownership::Ours && goal.missing(&known).is_empty() => {
                Ok(Done::Nothing)
            }
            None if !desired.existed => self.create(&goal).await,
            _ => self.update(&goal).await,
        }
    }

    async fn create<K: Kind>(&self, goal: &Goal<'_, K>) -> Result<Done, Trouble> {
        let body = desired::creation(&goal.wanted, &goal.desired.initial);
        match self.send(goal.request().create(&params(), to_bytes(&body))).await {
            Ok(stored) => {
                self.metrics.api_write(K::KIND, "create");
                if self.observe(goal, stored).is_empty() {
                    return Ok(Done::Created);
                }
                // A policy has changed it on the way. It may be one that lets updates alone.
                Box::pin(self.update(goal)).await.map(|_| Done::Created)
            }
            Err(error) if api_error::classify(&error) == Class::AlreadyExists => Box::pin(self.update(goal)).await,
            Err(error) => Err(goal.failed(&error)),
        }
    }

    /// Reads what is stored, since the cache keeps no whole objects, and puts right what it lacks.
    async fn update<K: Kind>(&self, goal: &Goal<'_, K>) -> Result<Done, Trouble> {
        match self.read(goal).await {
            Ok(stored) => self.put_right(goal, stored).await,
            Err(error) if api_error::classify(&error) == Class::Gone => Box::pin(self.create(goal)).await,
            Err(error) => Err(goal.failed(&error)),
        }
    }

    /// The error that another owner's object of that name would cause, if there is one.
    pub(super) async fn collision<K: Kind>(&self, desired: &Desired<K>) -> Option<Trouble> {
        let goal = Goal::new(desired).ok()?;
        let stored: K = typed(&self.read(&goal).await.ok()?).ok()?;
        goal.ownership(&stored.cached()).err().filter(Trouble::is_collision)
    }

    async fn read<K: Kind>(&self, goal: &Goal<'_, K>) -> kube::Result<Value> {
        self.send(goal.request().get(&goal.key.name, &GetParams::default())).await
    }

    /// Replaces exactly the version `stored`, or the next one if another program has just changed it, until it has all
    /// that is wanted but what a policy sets in the very write.
    async fn put_right<K: Kind>(&self, goal: &Goal<'_, K>, mut stored: Value) -> Result<Done, Trouble> {
        let (key, desired_hash) = (&goal.key, content_hash(&goal.wanted));
        let mut done = Done::Nothing;
        let mut ignored: Vec<String> = Vec::new();
        for _ in 0..ROUNDS {
            let object: K = typed(&stored).map_err(|error| goal.failed(&error))?;
            let (meta, known) = (object.meta().clone(), object.cached());
            let ownership = goal.ownership(&known)?;
            let missing = goal.missing(&known);
            if missing.is_empty() && ownership == Ownership::Ours {
                K::cache(&self.caches).observe(key.clone(), version_in(meta.resource_version.as_deref()), known);
                return Ok(done);
            }
            let is_repair = done == Done::Nothing && ownership == Ownership::Ours && !desired::is_bookkeeping(&missing);
            if is_repair && let Err(again) = self.repairs.allow(K::KIND, key, desired_hash, Instant::now()) {
                let by = last_foreign_manager(&meta).unwrap_or("another program");
                return Err(Trouble::contested(K::KIND, &key.name, by, again));
            }
            if K::is_replaced_by_another(&stored, &goal.wanted) {
                self.delete::<K>(key, &known.uid).await?;
                return Box::pin(self.create(goal)).await.map(|_| Done::Replaced);
            }
            if ownership == Ownership::Orphaned {
                desired::forget_former_owner(&mut stored);
            }
            let body = desired::replacement(goal.desired, &stored, &goal.wanted, &ignored);
            match self.send::<Value>(goal.request().replace(&key.name, &params(), to_bytes(&body))).await {
                Ok(answer) => {
                    self.metrics.api_write(K::KIND, "update");
                    if done == Done::Nothing {
                        done = match ownership {
                            Ownership::Orphaned => Done::Adopted,
                            Ownership::Ours if is_repair => Done::Replaced,
                            Ownership::Ours => Done::BookkeepingUpdated,
                        };
                    }
                    if is_repair {
                        self.repairs.record(K::KIND, key, desired_hash, Instant::now());
                    }
                    ignored = self.observe(goal, typed(&answer).map_err(|error| goal.failed(&error))?);
                    if !ignored.is_empty() {
                        tracing::info!(kind = K::KIND, %key, fields = ignored.join(","), "fields are left to the policy that sets them in each write");
                    }
                    stored = answer;
                }
                Err(error) if api_error::classify(&error) == Class::Conflict => {
                    stored = self.read(goal).await.map_err(|error| goal.failed(&error))?;
                }
                Err(error) => return Err(goal.failed(&error)),
            }
        }
        Err(Trouble::not_written(K::KIND, &key.name, "it is changed by others in each moment"))
    }

    /// Puts the answer to a write into the cache. Returns what the stored object lacks of what is wanted.
    fn observe<K: Kind>(&self, goal: &Goal<'_, K>, stored: K) -> Vec<String> {
        let version = version_in(stored.meta().resource_version.as_deref());
        let known = stored.cached();
        let missing = goal.missing(&known);
        K::cache(&self.caches).observe(goal.key.clone(), version, known);
        missing
    }

    /// Deletes an object that the owner of that uid had and should have no longer. Nothing happens if there is none, or
    /// if it has another owner. Returns whether there was something to delete.
    pub(super) async fn remove<K: Kind>(&self, key: &ObjectKey, owner: &str) -> Result<bool, Trouble> {
        let known = K::cache(&self.caches).get(key).filter(|known| !known.deleting && known.is_owned_by(owner));
        match known {
            Some(known) => self.delete::<K>(key, &known.uid).await.map(|()| true),
            None => Ok(false),
        }
    }

    /// Deletes an object that is no longer wanted, if it is still the one of that uid.
    pub(super) async fn delete<K: Kind>(&self, key: &ObjectKey, uid: &str) -> Result<(), Trouble> {
        let api: Api<K> = Api::namespaced(self.client.clone(), &key.namespace);
        let preconditions = Preconditions { uid: Some(uid.to_owned()), resource_version: None };
        let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::background() };
        match bounded(api.delete(&key.name, &params)).await {
            Ok(_) => {
                self.metrics.api_write(K::KIND, "delete");
                Ok(())
            }
            Err(error) if matches!(api_error::classify(&error), Class::Gone | Class::Conflict) => Ok(()),
            Err(error) => Err(Trouble::of_write(K::KIND, &key.name, &error)),
        }
    }

    async fn send<T: DeserializeOwned>(
        &self,
        request: Result<hyper::Request<Vec<u8>>, kube::core::request::Error>,
    ) -> kube::Result<T> {
        bounded(self.client.request(request.map_err(kube::Error::BuildRequest)?)).await
    }
}

/// What an object is to be brought to.
struct Goal<'a, K> {
    desired: &'a Desired<K>,
    key: ObjectKey,
    /// What is wanted, as JSON.
    wanted: Value,
}

impl<'a, K: Kind> Goal<'a, K> {
    fn new(desired: &'a Desired<K>) -> Result<Self, Trouble> {
        let key = key_of(&desired.object);
        let wanted = desired.wanted();
        let wanted = wanted.map_err(|error| Trouble::of_write(K::KIND, &key.name, &kube::Error::SerdeError(error)))?;
        Ok(Self { desired, key, wanted })
    }

    fn request(&self) -> Request {
        Request::new(K::url_path(&(), Some(&self.key.namespace)))
    }

    fn missing(&self, known: &Cached<K::Facts>) -> Vec<String> {
        desired::missing::<K>(&self.wanted, &known.fields, known.ignored.as_ref())
    }

    /// Another owner's object is never touched. One that a former owner of the same name left is being collected: it goes
    /// by itself.
    fn ownership(&self, known: &Cached<K::Facts>) -> Result<Ownership, Trouble> {
        let deleting = || Err(Trouble::deleting(K::KIND, &self.key.name));
        let collision = |how: &str| Err(Trouble::collision(K::KIND, &self.key.name, how));
        match (&known.owner, controller_of(self.desired.object.meta())) {
            (Some(Owner { kind, name, uid }), Some(ours)) if *kind == ours.kind && *name == ours.name => {
                if *uid == ours.uid && !known.deleting { Ok(Ownership::Ours) } else { deleting() }
            }
            (Some(owner), _) => collision(&format!("belongs to {} {:?}", owner.kind, owner.name)),
            (None, _) if !self.desired.is_known_by(&known.fields) => collision("has no owner"),
            (None, _) if known.deleting => deleting(),
            (None, _) => Ok(Ownership::Orphaned),
        }
    }

    fn failed(&self, error: &kube::Error) -> Trouble {
        Trouble::of_write(K::KIND, &self.key.name, error)
    }
}

/// Whose an object is that may be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ownership {
    /// It belongs to the owner that it should have.
    Ours,
    /// It has no owner, and all that the owner would have given it: it was orphaned or restored, and is adopted.
    Orphaned,
}

fn to_bytes(object: &Value) -> Vec<u8> {
    object.to_string().into_bytes()
}

fn typed<K: Kind>(object: &Value) -> kube::Result<K> {
    K::deserialize(object).map_err(kube::Error::SerdeError)
}

/// A call that gives up: an API server that takes a request and does not answer must not hold a worker for ever.
pub(super) async fn bounded<T>(call: impl Future<Output = kube::Result<T>>) -> kube::Result<T> {
    within(CALL_TIMEOUT, call).await
}

/// The answer to a call that only adds to what is reported. If there is none, it is not known `what` was asked.
pub(super) async fn answer<T>(what: &str, call: impl Future<Output = kube::Result<T>>) -> Option<T> {
    bounded(call).await.inspect_err(|error| tracing::debug!(%error, "it is not known {what}")).ok()
}

fn params() -> PostParams {
    PostParams { dry_run: false, field_manager: Some(FIELD_MANAGER.to_owned()) }
}
