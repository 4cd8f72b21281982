//! Reading and writing the record of an election.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
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
use crate::store::watch::version_of;

/// Name under which elections are written.
const FIELD_MANAGER: &str = "atomix-controller-elections";
/// Longest that one call may take.
const CALL: Duration = Duration::from_secs(10);
/// Calls at the same time, of all partitions: an API server has more to do.
const CALLS: usize = 16;

/// A Partition as elections see it.
#[derive(Clone, Debug, PartialEq)]
pub struct View {
    /// Unique identity of the Partition.
    pub uid: String,
    /// Version of the Partition, to be handed back.
    pub resource_version: Option<String>,
    /// The same as a number, to tell newer from older.
    pub version: u64,
    /// Its pods.
    pub members: Members,
    /// The record of its election.
    pub record: ElectionStatus,
}

impl View {
    /// Reads it off a Partition; none if it is being deleted, or another controller than `controller`
    /// (`<namespace>.<name>`) runs it.
    #[must_use]
    pub fn of(partition: &Partition, controller: &str) -> Option<Self> {
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

/// What the watches know.
pub trait Known: Send + Sync {
    /// A Partition, as [`View::of`] sees it.
    fn view(&self, key: &ObjectKey) -> Option<View>;

    /// All Partitions with a record that is `wanted`.
    fn with_records(&self, wanted: &dyn Fn(&ObjectKey, &ElectionStatus) -> bool) -> Vec<(ObjectKey, View)>;
}

/// What came of a write.
#[derive(Debug, PartialEq)]
pub(super) enum Written {
    /// It is written, and this is the Partition now.
    Done(View),
    /// The Partition has changed since it was read.
    Conflict,
    /// It is gone.
    Gone,
}

/// Why a record cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// What the API server said, or that it said nothing.
    #[error(transparent)]
    Api(#[from] kube::Error),
    /// The schema of an older version is installed.
    #[error("the API server does not keep status.election: the CustomResourceDefinition of Partition is too old")]
    NotKept,
}

impl Error {
    /// Whether it is the API server that is in trouble, and not this one record.
    pub(super) fn is_away(&self) -> bool {
        matches!(self, Self::Api(error) if classify(error).is_transient())
    }
}

/// Where the records of all elections are.
pub struct Store {
    client: Client,
    /// `<namespace>.<name>` of this controller.
    controller: String,
    scope: Scope,
    known: Arc<dyn Known>,
    calls: Semaphore,
    away: AtomicBool,
    metrics: Arc<PrimaryMetrics>,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("controller", &self.controller).finish_non_exhaustive()
    }
}

impl Store {
    /// Reads and writes in the name of `controller` (`<namespace>.<name>`), which looks after `scope`.
    #[must_use]
    pub fn new(
        client: Client,
        controller: String,
        scope: Scope,
        known: Arc<dyn Known>,
        metrics: Arc<PrimaryMetrics>,
    ) -> Self {
        Self { client, controller, scope, known, calls: Semaphore::new(CALLS), away: AtomicBool::new(false), metrics }
    }

    /// What the watches know of a partition.
    pub(super) fn known(&self, key: &ObjectKey) -> Option<View> {
        self.known.view(key)
    }

    /// All partitions with a record that is `wanted`, as the watches know them.
    pub(super) fn with_records(&self, wanted: &dyn Fn(&ObjectKey, &ElectionStatus) -> bool) -> Vec<(ObjectKey, View)> {
        self.known.with_records(wanted)
    }

    /// Asks the API server for a partition that has an election.
    pub(super) async fn read(&self, key: &ObjectKey) -> Result<Option<View>, Error> {
        Ok(self.bounded(self.get(key)).await?)
    }

    /// Asks the API server for a partition that may not exist. Whoever asks for many of those does not hold up the
    /// elections of others.
    pub(super) async fn look_up(&self, key: &ObjectKey) -> Result<Option<View>, Error> {
        Ok(within(CALL, self.get(key)).await?)
    }

    async fn get(&self, key: &ObjectKey) -> kube::Result<Option<View>> {
        if !self.scope.includes(&key.namespace) {
            return Ok(None);
        }
        let partition = self.api(key).get_opt(&key.name).await?;
        Ok(partition.and_then(|partition| View::of(&partition, &self.controller)))
    }

    /// Writes `next` in the place of the record of `view`, and of no other.
    pub(super) async fn write(&self, key: &ObjectKey, view: &View, next: &ElectionStatus) -> Result<Written, Error> {
        let patch = json!({
            "metadata": {"uid": view.uid, "resourceVersion": view.resource_version},
            "status": {"election": difference(&view.record, next)},
        });
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        let api = self.api(key);
        let written = self.bounded(api.patch_status(&key.name, &params, &Patch::Merge(&patch))).await;
        let written = match written {
            Ok(partition) => match View::of(&partition, &self.controller) {
                Some(view) if view.record == *next => Ok(Written::Done(view)),
                Some(_) => Err(Error::NotKept),
                None => Ok(Written::Gone),
            },
            Err(error) => match classify(&error) {
                Class::Gone => Ok(Written::Gone),
                Class::Conflict => Ok(Written::Conflict),
                _ => Err(error.into()),
            },
        };
        self.metrics.written(match &written {
            Ok(Written::Done(_)) => "written",
            Ok(_) => "conflict",
            Err(_) => "error",
        });
        written
    }

    /// Waits for its turn. That the API server has gone away or come back is said once, for all partitions.
    async fn bounded<T>(&self, call: impl Future<Output = kube::Result<T>>) -> kube::Result<T> {
        // Never closed: without a permit there would be no bound, which is no reason not to call.
        let _permit = self.calls.acquire().await;
        let result = within(CALL, call).await;
        let away = result.as_ref().is_err_and(|error| classify(error).is_transient());
        if self.away.swap(away, Ordering::Relaxed) != away {
            if away {
                tracing::warn!("elections cannot be read or written: terms stay as they are, trying again");
            } else {
                tracing::info!("elections can be read and written again");
            }
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
        let view = View::of(&partition("ns.c", Value::Null), "ns.c").unwrap();
        assert_eq!((view.members.to_string().as_str(), view.record), ("p-1-0", ElectionStatus::default()));
        assert_eq!(View::of(&partition("ns.other", Value::Null), "ns.c"), None);
        assert_eq!(View::of(&partition("ns.c", json!("2026-01-01T00:00:00Z")), "ns.c"), None);
    }
}
