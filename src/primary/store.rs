//! Reads and writes the records of elections.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use kube::api::{Patch, PatchParams};
use kube::{Api, Client, ResourceExt};
use serde_json::{Map, Value, json};
use tokio::sync::Semaphore;

use super::record::Members;
use crate::api::labels::annotations;
use crate::api::names::ObjectKey;
use crate::api::{DEFAULT_COUNT, ElectionStatus, Partition};
use crate::api_error::{Class, classify};
use crate::calls::within;
use crate::primary::metrics::PrimaryMetrics;
use crate::scope::Scope;
use crate::store::Caches;
use crate::store::cache::version_of;

/// Field manager of the records.
const FIELD_MANAGER: &str = "atomix-controller-elections";
/// Longest that one call may take.
const CALL: Duration = Duration::from_secs(10);
/// Calls at the same time, of all partitions: they must not keep the API server busy.
const CALLS: usize = 16;

/// What an election needs of a Partition.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PartitionView {
    pub(super) uid: String,
    resource_version: Option<String>,
    /// `resource_version` as a number.
    pub(super) version: u64,
    pub(super) members: Members,
    pub(super) record: ElectionStatus,
}

impl PartitionView {
    /// The view of a Partition; none if it is being deleted, or another controller than `controller`
    /// (`<namespace>.<name>`) runs it.
    pub(crate) fn of(partition: &Partition, controller: &str) -> Option<Self> {
        let ours = partition.annotations().get(annotations::CONTROLLER).is_some_and(|name| name == controller);
        if !ours || partition.metadata.deletion_timestamp.is_some() {
            return None;
        }
        let size = partition.spec.template.size.unwrap_or(DEFAULT_COUNT);
        Some(Self {
            uid: partition.uid()?,
            resource_version: partition.resource_version(),
            version: version_of(partition),
            members: Members { partition: partition.name_any(), size },
            record: partition.status.as_ref().and_then(|status| status.election.clone()).unwrap_or_default(),
        })
    }
}

/// The result of a write that was answered.
#[derive(Debug, PartialEq)]
pub(super) enum WriteResult {
    /// The Partition after the write.
    Written(PartitionView),
    /// The Partition has changed since it was read.
    Conflict,
    /// The Partition was deleted.
    Gone,
}

/// Why a record cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error(transparent)]
    Api(#[from] kube::Error),
    #[error("the API server does not keep status.election: the CustomResourceDefinition of Partition is too old")]
    NotKept,
}

impl Error {
    /// Whether the API server is away, and not this record at fault.
    pub(super) fn is_away(&self) -> bool {
        matches!(self, Self::Api(error) if classify(error).is_transient())
    }
}

/// The records of all elections.
pub(crate) struct Store {
    client: Client,
    /// `<namespace>.<name>` of this controller.
    controller: String,
    scope: Scope,
    caches: Arc<Caches>,
    calls: Semaphore,
    metrics: Arc<PrimaryMetrics>,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("controller", &self.controller).finish_non_exhaustive()
    }
}

impl Store {
    /// Reads and writes as `controller` (`<namespace>.<name>`), within `scope`.
    pub(crate) fn new(
        client: Client,
        controller: String,
        scope: Scope,
        caches: Arc<Caches>,
        metrics: Arc<PrimaryMetrics>,
    ) -> Self {
        Self { client, controller, scope, caches, calls: Semaphore::new(CALLS), metrics }
    }

    /// A partition, if the cache has it.
    pub(super) fn cached(&self, key: &ObjectKey) -> Option<PartitionView> {
        PartitionView::of(&self.caches.partitions.get(key)?.facts, &self.controller)
    }

    /// All cached partitions whose record is `wanted`.
    pub(super) fn with_records(
        &self,
        wanted: impl Fn(&ObjectKey, &ElectionStatus) -> bool,
    ) -> Vec<(ObjectKey, PartitionView)> {
        let keys = self.caches.partitions.keys().into_iter();
        let cached = keys.filter_map(|key| {
            let cached = self.caches.partitions.get(&key)?;
            let election = cached.facts.status.as_ref()?.election.as_ref()?;
            let view = wanted(&key, election).then(|| PartitionView::of(&cached.facts, &self.controller))?;
            Some((key, view?))
        });
        cached.collect()
    }

    /// Reads a partition that has an election from the API server.
    pub(super) async fn read(&self, key: &ObjectKey) -> Result<Option<PartitionView>, Error> {
        Ok(self.bounded(self.get(key)).await?)
    }

    /// Reads a partition that may not exist. Such reads take no permit, so that a client that asks for many does not delay
    /// the elections of others.
    pub(super) async fn look_up(&self, key: &ObjectKey) -> Result<Option<PartitionView>, Error> {
        Ok(within(CALL, self.get(key)).await?)
    }

    async fn get(&self, key: &ObjectKey) -> kube::Result<Option<PartitionView>> {
        if !self.scope.includes(&key.namespace) {
            return Ok(None);
        }
        let partition = self.api(key).get_opt(&key.name).await?;
        Ok(partition.and_then(|partition| PartitionView::of(&partition, &self.controller)))
    }

    /// Writes `next` in the place of the record of `view`.
    pub(super) async fn write(
        &self,
        key: &ObjectKey,
        view: &PartitionView,
        next: &ElectionStatus,
    ) -> Result<WriteResult, Error> {
        let patch = json!({
            "metadata": {"uid": view.uid, "resourceVersion": view.resource_version},
            "status": {"election": difference(&view.record, next)},
        });
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        let api = self.api(key);
        let written = self.bounded(api.patch_status(&key.name, &params, &Patch::Merge(&patch))).await;
        let written = match written {
            Ok(partition) => match PartitionView::of(&partition, &self.controller) {
                Some(view) if view.record == *next => Ok(WriteResult::Written(view)),
                Some(_) => Err(Error::NotKept),
                None => Ok(WriteResult::Gone),
            },
            Err(error) => match classify(&error) {
                Class::Gone => Ok(WriteResult::Gone),
                Class::Conflict => Ok(WriteResult::Conflict),
                _ => Err(error.into()),
            },
        };
        self.metrics.written(match &written {
            Ok(WriteResult::Written(_)) => "written",
            Ok(_) => "conflict",
            Err(_) => "error",
        });
        written
    }

    /// Makes a call when a permit is free.
    async fn bounded<T>(&self, call: impl Future<Output = kube::Result<T>>) -> kube::Result<T> {
        // Never closed.
        let _permit = self.calls.acquire().await;
        let result = within(CALL, call).await;
        if result.as_ref().is_err_and(|error| classify(error).is_transient()) {
            // The same for all partitions: it is logged once.
            tracing::warn!("elections cannot be read or written: terms stay as they are, trying again");
        }
        result
    }

    fn api(&self, key: &ObjectKey) -> Api<Partition> {
        Api::namespaced(self.client.clone(), &key.namespace)
    }
}

/// A merge patch that makes `next` of `before`.
fn difference(before: &ElectionStatus, next: &ElectionStatus) -> Value {
    let gone: BTreeSet<&String> = before.streams.keys().filter(|member| !next.streams.contains_key(*member)).collect();
    let mut streams: Map<String, Value> = gone.into_iter().map(|member| (member.clone(), Value::Null)).collect();
    streams.extend(next.streams.iter().map(|(member, id)| (member.clone(), json!(id))));
    json!({"term": next.term, "primary": next.primary, "candidates": next.candidates, "streams": streams})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(streams: &[(&str, &str)]) -> ElectionStatus {
        let streams = streams.iter().map(|(member, id)| ((*member).to_owned(), (*id).to_owned()));
        ElectionStatus { term: 1, primary: String::new(), candidates: Vec::new(), streams: streams.collect() }
    }

    #[test]
    fn a_patch_names_the_streams_that_go() {
        let patch = difference(&record(&[("a", "1"), ("b", "2")]), &record(&[("b", "3"), ("c", "4")]));
        assert_eq!(patch["streams"], json!({"a": null, "b": "3", "c": "4"}));
        assert_eq!(difference(&record(&[("a", "1")]), &record(&[]))["streams"], json!({"a": null}));
    }

    #[test]
    fn a_partition_that_goes_or_is_another_controllers_has_no_election() {
        let partition = |annotation: &str, more: Value| -> Partition {
            let mut partition = json!({
                "metadata": {"name": "p-1", "uid": "u", "annotations": {"k8s.atomix.io/controller": annotation}},
                "spec": {"protocol": "log"},
            });
            if !more.is_null() {
                partition["metadata"]["deletionTimestamp"] = more;
            }
            serde_json::from_value(partition).unwrap()
        };
        let view = PartitionView::of(&partition("ns.c", Value::Null), "ns.c").unwrap();
        assert_eq!((view.members.to_string().as_str(), view.record), ("p-1-0", ElectionStatus::default()));
        assert_eq!(PartitionView::of(&partition("ns.other", Value::Null), "ns.c"), None);
        assert_eq!(PartitionView::of(&partition("ns.c", json!("2026-01-01T00:00:00Z")), "ns.c"), None);
    }
}
