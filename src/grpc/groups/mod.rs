//! Creating, deleting and finding partition groups.
//!
//! A group is a PartitionSet and nothing else: it is made and deleted through the API server, by any replica, and is
//! there for kubectl as well.

mod answer;
mod memo;
mod options;
mod turns;

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use kube::api::{DeleteParams, PostParams};
use kube::{Api, Client};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;
use tonic::Status;

pub use self::answer::Group;
use self::memo::Memo;
pub use self::options::Options;
use self::turns::Turns;
use super::ids::is_name;
use super::proto::controller::{PartitionGroup, PartitionGroupSpec};
use super::{ids, status};
use crate::api::names::ObjectKey;
use crate::api::{PartitionSet, PartitionSetSpec};
use crate::api_error::{Class, classify};
use crate::calls::within;
use crate::deserialize_guard::DeserializeGuard;
use crate::rules::violation;
use crate::scope::Scope;
use crate::store::sets::{self, Found, Sets};

/// Who made a set, in its `managedFields`.
const FIELD_MANAGER: &str = "atomix-api";
/// Longest wait for a write, in which the API server waits for our webhooks: for the mutating one, then the validating
/// one, five seconds each at most.
const WRITE_TIMEOUT: Duration = Duration::from_secs(15);
/// Longest wait for the watch to tell of a deletion.
const GONE_TIMEOUT: Duration = Duration::from_secs(2);
/// Creations and deletions at a time, and how many more may wait for their turn. While the API server takes what it is
/// sent and does not answer, each lasts its whole time: they must not take all the room from what the cache can answer.
const WRITES: (usize, usize) = (64, 64);
/// Calls at a time that wait for a read of the API server, for the same reason, and how long any other one waits.
const READS: (usize, Duration) = (96, turns::PATIENCE);
/// How often a group is created that exists, and then does not.
const ATTEMPTS: u32 = 3;
/// How much is repeated of a name that no group can have, in characters.
const SHOWN_NAME: usize = 120;

/// Partition groups as the API sees them.
pub struct Groups {
    client: Client,
    sets: Sets,
    scope: Scope,
    cluster_domain: String,
    memo: Memo,
    writes: Turns,
    reads: Semaphore,
}

impl std::fmt::Debug for Groups {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Groups").field("scope", &self.scope).finish_non_exhaustive()
    }
}

impl Groups {
    /// The groups in `scope`, whose names end in `cluster_domain`.
    #[must_use]
    pub fn new(client: Client, sets: Sets, scope: Scope, cluster_domain: String) -> Self {
        let (writes, reads) = (Turns::new(WRITES.0, WRITES.1), Semaphore::new(READS.0));
        Self { client, sets, scope, cluster_domain, memo: Memo::default(), writes, reads }
    }

    /// Creates a group, through the webhooks. It is no error if it exists with the same number and size of partitions
    /// and the same protocol and options, whatever else its set says.
    ///
    /// # Errors
    /// As the service's.
    pub async fn create(&self, key: ObjectKey, spec: PartitionGroupSpec) -> Result<(), Status> {
        self.check(&key)?;
        let set = wanted(&key, &spec)?;
        let _turn = self.turn().await?;
        let api: Api<PartitionSet> = Api::namespaced(self.client.clone(), &key.namespace);
        let params = PostParams { dry_run: false, field_manager: Some(FIELD_MANAGER.to_owned()) };
        for _ in 0..ATTEMPTS {
            let refused = match within(WRITE_TIMEOUT, api.create(&params, &set)).await {
                Ok(created) => {
                    tracing::info!(group = %key, "group created over gRPC");
                    self.sets.take(created);
                    return Ok(());
                }
                Err(error) => match classify(&error) {
                    Class::AlreadyExists => None,
                    // Whoever wants what exists wants nothing of the quota.
                    Class::Quota => Some(status::of_kube(&error)),
                    _ => return Err(status::of_kube(&error)),
                },
            };
            let found = match self.sets.read(&key).await {
                Ok(found) => found,
                Err(error) => return Err(refused.unwrap_or_else(|| status::of_kube(&error))),
            };
            match found {
                Found::Set(set) if set.metadata.deletion_timestamp.is_some() => {
                    return Err(Status::aborted(format!("group {key} is being deleted: try again when it is gone")));
                }
                Found::Set(existing) => return same(&key, &existing, &set),
                Found::Unreadable(error) => {
                    return Err(Status::already_exists(format!("group {key} exists and cannot be read: {error}")));
                }
                Found::Nothing => refused.map_or(Ok(()), Err)?,
            }
        }
        Err(Status::aborted(format!("group {key} is created and deleted by others at the same time: try again")))
    }

    /// Deletes a group with all its partitions.
    ///
    /// # Errors
    /// As the service's.
    pub async fn delete(&self, key: ObjectKey) -> Result<(), Status> {
        self.check(&key)?;
        if !is_name(&key.name) {
            // A header of the answer has to hold it.
            let start: String = key.name.chars().take(SHOWN_NAME).collect();
            return Err(Status::not_found(format!("there is no group {start:?}: no group can have that name")));
        }
        let _turn = self.turn().await?;
        let missing = || Status::not_found(format!("there is no group {key}"));
        // What the cache has never had, it could not show to be gone either.
        if self.sets.known(&key).is_none()
            && let Found::Nothing = self.sets.read(&key).await.map_err(|error| status::of_kube(&error))?
        {
            return Err(missing());
        }
        let api: Api<DeserializeGuard<PartitionSet>> = Api::namespaced(self.client.clone(), &key.namespace);
        let deleted = match within(WRITE_TIMEOUT, api.delete(&key.name, &DeleteParams::background())).await {
            Ok(deleted) => deleted,
            Err(error) if classify(&error) == Class::Gone => return Err(missing()),
            Err(error) => return Err(status::of_kube(&error)),
        };
        match deleted.either(Err, Ok) {
            Ok(done) => {
                let uid = done.details.map(|details| details.uid).unwrap_or_default();
                self.sets.wait_until_gone(&key, &uid, GONE_TIMEOUT).await;
            }
            // Something holds it: it is on its way out.
            Err(DeserializeGuard(held)) => held.into_iter().for_each(|held| self.sets.take(held)),
        }
        tracing::info!(group = %key, "group deleted over gRPC");
        Ok(())
    }

    /// The group of that key, or all of the namespace if the name is empty.
    ///
    /// # Errors
    /// As the service's.
    pub async fn get(&self, key: ObjectKey) -> Result<Vec<PartitionGroup>, Status> {
        self.check(&key)?;
        if key.name.is_empty() {
            let sets = self.sets.all(&key.namespace).await.map_err(|error| unread(&error))?;
            let groups = sets.into_iter().filter(|(_, set)| set.metadata.deletion_timestamp.is_none());
            return Ok(groups.filter_map(|(name, set)| self.listed(&key.namespace, name, &set)).collect());
        }
        if !is_name(&key.name) {
            return Ok(Vec::new());
        }
        match self.find(&key).await? {
            Ok(Found::Set(set)) if set.metadata.deletion_timestamp.is_some() => Ok(Vec::new()),
            Ok(Found::Set(set)) => match self.memo.group(&key, &set) {
                Ok(group) => Ok(vec![group.answer(&key.namespace, &key.name, &self.cluster_domain)]),
                Err(violations) => Err(unservable(&key, &violation::join(&violations))),
            },
            Ok(Found::Unreadable(error)) => Err(unservable(&key, &error)),
            Ok(Found::Nothing) => Ok(Vec::new()),
            Err(error) => Err(unread(&error)),
        }
    }

    /// What is found under `key`.
    ///
    /// # Errors
    /// `UNAVAILABLE` if that has to be read, and too many calls wait for reads already.
    async fn find(&self, key: &ObjectKey) -> Result<Result<Found, sets::Error>, Status> {
        let mut find = pin!(self.sets.find(key));
        if let Some(found) = find.as_mut().now_or_never() {
            return Ok(found);
        }
        match self.reads.try_acquire() {
            Ok(_reads) => Ok(find.await),
            Err(_) => timeout(READS.1, find).await.map_err(|_| {
                Status::unavailable("too many calls wait for the Kubernetes API server: try again, or another replica")
            }),
        }
    }

    async fn turn(&self) -> Result<SemaphorePermit<'_>, Status> {
        self.writes.take().await.ok_or_else(|| {
            Status::unavailable("too many groups are created and deleted at a time: try again, or another replica")
        })
    }

    fn listed(&self, namespace: &str, name: String, set: &Arc<PartitionSet>) -> Option<PartitionGroup> {
        let key = ObjectKey::new(namespace, name);
        match self.memo.group(&key, set) {
            Ok(group) => Some(group.answer(namespace, &key.name, &self.cluster_domain)),
            Err(violations) => {
                let violations = violation::join(&violations);
                tracing::debug!(set = %key, violations, "a set is invalid and is left out of the list of groups");
                None
            }
        }
    }

    fn check(&self, key: &ObjectKey) -> Result<(), Status> {
        ids::check_namespace(&key.namespace, "id.namespace", &self.scope)
    }
}

/// The set that is asked for. What else may be wrong with it is for the webhooks to say.
///
/// # Errors
/// `INVALID_ARGUMENT` if there is no protocol, or none that can be read.
pub fn wanted(key: &ObjectKey, spec: &PartitionGroupSpec) -> Result<PartitionSet, Status> {
    let protocol = spec.protocol.as_ref().ok_or_else(|| status::required("spec.protocol"))?;
    let options = Options::of_any(protocol).map_err(|violations| status::invalid(&violations))?;
    let config = options.to_config().map_err(|error| Status::internal(error.to_string()))?;
    let given = |count: u32| (count > 0).then(|| i64::from(count));
    let mut wanted = PartitionSetSpec { partitions: given(spec.partitions), ..PartitionSetSpec::default() };
    wanted.template.spec.size = given(spec.partition_size);
    options.protocol.as_str().clone_into(&mut wanted.template.spec.protocol);
    wanted.template.spec.config = config;
    let mut set = PartitionSet::new(&key.name, wanted);
    set.metadata.namespace = Some(key.namespace.clone());
    Ok(set)
}

fn same(key: &ObjectKey, existing: &PartitionSet, wanted: &PartitionSet) -> Result<(), Status> {
    let differences = match (Group::of(existing), Group::of(wanted)) {
        (Ok(existing), Ok(wanted)) => existing.differences(&wanted),
        (Err(violations), _) => vec![format!("its PartitionSet is invalid: {}", violation::join(&violations))],
        (_, Err(violations)) => return Err(status::invalid(&violations)),
    };
    if differences.is_empty() {
        return Ok(());
    }
    Err(Status::already_exists(format!("group {key} exists and is another one: {}", differences.join("; "))))
}

fn unread(error: &sets::Error) -> Status {
    match error {
        sets::Error::Api(error) => status::of_kube(error),
        sets::Error::Read(error) => Status::resource_exhausted(error.to_string()),
        sets::Error::Unsynced => Status::unavailable(error.to_string()),
    }
}

fn unservable(key: &ObjectKey, why: &str) -> Status {
    Status::failed_precondition(format!("the PartitionSet of group {key} is invalid: {why}"))
}

#[cfg(test)]
mod tests;
