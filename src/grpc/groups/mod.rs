//! Creating, deleting and finding partition groups.
//!
//! A group is a PartitionSet and nothing else: it is made and deleted through the API server, by any replica, and is
//! there for kubectl as well.

mod answer;
mod options;
mod origin;

use std::sync::{Arc, Weak};
use std::time::Duration;

use kube::api::{DeleteParams, PostParams, Preconditions};
use kube::{Api, Client};
use tokio::sync::OwnedSemaphorePermit;
use tonic::Status;

pub(crate) use self::answer::Group;
pub(crate) use self::options::Options;
use self::origin::FIELD_MANAGER;
use super::ids::is_name;
use super::limit::Limit;
use super::proto::controller::{PartitionGroup, PartitionGroupSpec};
use super::{ids, status};
use crate::api::names::ObjectKey;
use crate::api::{PartitionSet, PartitionSetSpec};
use crate::api_error::{Class, classify};
use crate::calls::within;
use crate::deserialize_guard::DeserializeGuard;
use crate::rules::{Violation, violation};
use crate::scope::Scope;
use crate::store::sets::{self, Found, Sets};

/// Longest wait for a read.
const READ_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest wait for a write, in which the API server waits for our webhooks: for the mutating one, then the validating
/// one, five seconds each at most.
const WRITE_TIMEOUT: Duration = Duration::from_secs(15);
/// Longest wait for the watch to show a deletion.
const GONE_TIMEOUT: Duration = Duration::from_secs(2);
/// Creations and deletions at a time, and how many more wait. Each lasts its whole time while the API server does not
/// answer: they must not take all places of calls from those that the cache can answer.
const WRITES: (usize, usize) = (64, 64);
/// Calls at a time that wait for a read of the API server, for the same reason.
const READS: usize = 96;
/// Groups whose sets have been read into what the API shows.
const READ_GROUPS: u64 = 10_000;
/// How long such a group is kept without an answer about it: it may be gone.
const IDLE: Duration = Duration::from_secs(60);
/// How often a group is created that exists, and then does not.
const ATTEMPTS: u32 = 3;
/// How much is repeated of a name that no group can have, in characters.
const SHOWN_NAME: usize = 120;

/// Partition groups as the API sees them.
pub(crate) struct Groups {
    client: Client,
    sets: Sets,
    scope: Scope,
    cluster_domain: String,
    /// The group of each set, valid while the cache of sets has that very object. Reading the configuration of a set
    /// takes more time than the rest of an answer.
    parsed: moka::sync::Cache<ObjectKey, (Weak<PartitionSet>, Arc<Group>)>,
    writes: Limit,
    reads: Limit,
}

impl std::fmt::Debug for Groups {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Groups").field("scope", &self.scope).finish_non_exhaustive()
    }
}

impl Groups {
    /// The groups in `scope`, whose names end in `cluster_domain`.
    pub(crate) fn new(client: Client, sets: Sets, scope: Scope, cluster_domain: String) -> Self {
        let parsed = moka::sync::Cache::builder().max_capacity(READ_GROUPS).time_to_idle(IDLE).build();
        let (writes, reads) = (Limit::new(WRITES.0, WRITES.1), Limit::new(READS, 0));
        Self { client, sets, scope, cluster_domain, parsed, writes, reads }
    }

    /// Creates a group, through the webhooks. It is no error if it exists with the same number and size of partitions
    /// and the same protocol and options, whatever else its set says.
    ///
    /// # Errors
    /// As the service's.
    pub(crate) async fn create(&self, key: ObjectKey, spec: PartitionGroupSpec) -> Result<(), Status> {
        self.check(&key)?;
        let set = wanted(&key, &spec)?;
        let _permit = self.write().await?;
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
                    // A group that exists needs no quota.
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

    /// Deletes a group with all its partitions; unless `any` is set, only one that was created over gRPC.
    ///
    /// # Errors
    /// As the service's.
    pub(crate) async fn delete(&self, key: ObjectKey, any: bool) -> Result<(), Status> {
        self.check(&key)?;
        if !is_name(&key.name) {
            // A header of the answer has to hold it.
            let start: String = key.name.chars().take(SHOWN_NAME).collect();
            return Err(Status::not_found(format!("there is no group {start:?}: no group can have that name")));
        }
        let _permit = self.write().await?;
        let missing = || Status::not_found(format!("there is no group {key}"));
        let api: Api<DeserializeGuard<PartitionSet>> = Api::namespaced(self.client.clone(), &key.namespace);
        let found = within(READ_TIMEOUT, api.get_opt(&key.name)).await.map_err(|error| status::of_kube(&error))?;
        let metadata = match found.ok_or_else(missing)?.0 {
            Ok(set) => {
                let metadata = set.metadata.clone();
                // A cache that has never had the set could not show that it is gone.
                self.sets.take(set);
                metadata
            }
            Err(unreadable) => unreadable.metadata,
        };
        if !any && !origin::is_grpc(&metadata) {
            return Err(origin::refusal(&key));
        }
        // Another set of that name may have been made since.
        let preconditions = Some(Preconditions { uid: metadata.uid, resource_version: None });
        let params = DeleteParams { preconditions, ..DeleteParams::background() };
        let deleted = match within(WRITE_TIMEOUT, api.delete(&key.name, &params)).await {
            Ok(deleted) => deleted,
            Err(error) if classify(&error) == Class::Gone => return Err(missing()),
            Err(error) => return Err(status::of_kube(&error)),
        };
        match deleted.either(Err, Ok) {
            Ok(done) => {
                let uid = done.details.map(|details| details.uid).unwrap_or_default();
                self.sets.wait_until_gone(&key, &uid, GONE_TIMEOUT).await;
            }
            // A finalizer holds it.
            Err(DeserializeGuard(held)) => held.into_iter().for_each(|held| self.sets.take(held)),
        }
        tracing::info!(group = %key, "group deleted over gRPC");
        Ok(())
    }

    /// The group of that key, or all of the namespace if the name is empty.
    ///
    /// # Errors
    /// As the service's.
    pub(crate) async fn get(&self, key: ObjectKey) -> Result<Vec<PartitionGroup>, Status> {
        self.check(&key)?;
        if key.name.is_empty() {
            let sets = self.sets.all(&key.namespace).await.map_err(|error| unread(&error))?;
            let groups = sets.into_iter().filter(|(_, set)| set.metadata.deletion_timestamp.is_none());
            return Ok(groups.filter_map(|(name, set)| self.listed(&key.namespace, name, &set)).collect());
        }
        if !is_name(&key.name) {
            return Ok(Vec::new());
        }
        let is_cached = self.sets.known(&key).is_some_and(|set| set.metadata.deletion_timestamp.is_none());
        let _permit = if is_cached { None } else { Some(self.read().await?) };
        match self.sets.find(&key).await {
            Ok(Found::Set(set)) if set.metadata.deletion_timestamp.is_some() => Ok(Vec::new()),
            Ok(Found::Set(set)) => match self.group(&key, &set) {
                Ok(group) => Ok(vec![group.answer(&key.namespace, &key.name, &self.cluster_domain)]),
                Err(violations) => Err(unservable(&key, &violation::join(&violations))),
            },
            Ok(Found::Unreadable(error)) => Err(unservable(&key, &error)),
            Ok(Found::Nothing) => Ok(Vec::new()),
            Err(error) => Err(unread(&error)),
        }
    }

    async fn read(&self) -> Result<OwnedSemaphorePermit, Status> {
        let permit = self.reads.acquire().await;
        permit
            .ok_or_else(|| Status::unavailable("too many calls wait for the API server: try again, or another replica"))
    }

    async fn write(&self) -> Result<OwnedSemaphorePermit, Status> {
        self.writes.acquire().await.ok_or_else(|| {
            Status::unavailable("too many groups are created and deleted at a time: try again, or another replica")
        })
    }

    /// The group of the set `set`, whose key is `key`.
    ///
    /// # Errors
    /// As [`Group::of`].
    fn group(&self, key: &ObjectKey, set: &Arc<PartitionSet>) -> Result<Arc<Group>, Vec<Violation>> {
        // No other set gets the same address while there is a weak reference.
        if let Some((of, group)) = self.parsed.get(key)
            && of.as_ptr() == Arc::as_ptr(set)
        {
            return Ok(group);
        }
        let group = Arc::new(Group::of(set)?);
        self.parsed.insert(key.clone(), (Arc::downgrade(set), Arc::clone(&group)));
        Ok(group)
    }

    fn listed(&self, namespace: &str, name: String, set: &Arc<PartitionSet>) -> Option<PartitionGroup> {
        let key = ObjectKey::new(namespace, name);
        match self.group(&key, set) {
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

/// The set of a request to create a group. Everything else that may be wrong with it is for the webhooks to report.
///
/// # Errors
/// `INVALID_ARGUMENT` if there is no protocol, or none that can be read.
pub(crate) fn wanted(key: &ObjectKey, spec: &PartitionGroupSpec) -> Result<PartitionSet, Status> {
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
