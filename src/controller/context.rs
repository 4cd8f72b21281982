//! What every reconciliation is given.

use std::sync::Arc;
use std::time::Duration;

use kube::api::{Patch, PatchParams};
use kube::{Api, Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::FIELD_MANAGER;
use super::caches::Caches;
use super::ensure::{Writer, bounded};
use super::first_seen::FirstSeen;
use super::pacing::Pacing;
use super::partition::{CreationFailures, Judged, Memory, Permits};
use super::partition_set::{OwnSets, RemovedPartitions};
use super::refusals::Refusals;
use super::settings::Settings;
use super::unwritten::{STATUS_NOT_WRITTEN, UnwrittenStatuses};
use crate::api::names::ObjectKey;
use crate::api_error::{Class, classify, message};
use crate::controller::metrics::ControllerMetrics;
use crate::events::{Events, Severity};
use crate::queue::Trigger;

/// The surroundings of a reconciliation.
pub struct Context {
    /// Client with the controller's own rights.
    pub client: Client,
    /// Writes children.
    pub writer: Writer,
    /// What the watches know.
    pub caches: Arc<Caches>,
    /// What the controller was told at its start.
    pub settings: Arc<Settings>,
    /// Where events go.
    pub events: Events,
    /// What is counted.
    pub metrics: Arc<ControllerMetrics>,
    /// Asks for a PartitionSet to be reconciled.
    pub sets: Trigger,
    /// Asks for a Partition to be reconciled.
    pub partitions: Trigger,
    /// When the status of which object was last written.
    pub pacing: Pacing,
    /// Which partitions have been found right in all their objects.
    pub judged: Judged,
    /// What is remembered of the pods of each partition.
    pub memory: Memory,
    /// Why StatefulSets make no more pods.
    pub creation_failures: CreationFailures,
    /// Since when the pods of each partition are seen to be ready.
    pub ready_pods: FirstSeen,
    /// Since when the partitions of each set are seen to be ready.
    pub ready_partitions: FirstSeen,
    /// Which partitions of each set may give up pods.
    pub permits: Permits,
    /// Partitions that this controller has deleted and the caches may still have.
    pub removed: RemovedPartitions,
    /// The sets that this controller looks after.
    pub own_sets: OwnSets,
    /// Statuses that cannot be written.
    pub unwritten: UnwrittenStatuses,
    /// PartitionSets that the API server refuses to have completed.
    pub refused_sets: Refusals,
    /// Partitions that the API server refuses to have completed.
    pub refused_partitions: Refusals,
}

/// What came of writing a status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Written {
    /// It was right already.
    No,
    /// It is written, or right by itself after it could not be written.
    Yes,
    /// It may be written after a while only.
    Later(Duration),
    /// It could not be written.
    Failed,
}

impl Written {
    /// When to write it, if it may not be written now.
    pub(super) fn later(self) -> Option<Duration> {
        if let Self::Later(wait) = self { Some(wait) } else { None }
    }
}

/// Why a status could not be written.
#[derive(Debug, thiserror::Error)]
#[error("writing the status: {0}")]
pub struct StatusError(String);

impl Context {
    /// Writes a status, and nothing else, of the very version of the object that it was computed from: what a former
    /// leader sends late must not replace what is true by now. Fields of the status that are not in `status` stay as
    /// they are. Returns none if the object has changed or is gone.
    ///
    /// # Errors
    /// [`StatusError`] with what the API server said.
    pub(super) async fn patch_status<K>(&self, object: &K, status: &impl Serialize) -> Result<Option<K>, StatusError>
    where
        K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope> + DeserializeOwned,
    {
        let key = ObjectKey::new(object.namespace().unwrap_or_default(), object.name_any());
        let api: Api<K> = Api::namespaced(self.client.clone(), &key.namespace);
        let uid = object.uid().unwrap_or_default();
        let metadata = json!({ "uid": uid, "resourceVersion": object.resource_version() });
        let patch = json!({ "metadata": metadata, "status": status });
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        match bounded(api.patch_status(&key.name, &params, &Patch::Merge(&patch))).await {
            Ok(written) => {
                self.metrics.api_write("status", "patch");
                self.unwritten.record(&uid, None);
                Ok(Some(written))
            }
            // The uid is another one if it was deleted and made again.
            Err(error) if matches!(classify(&error), Class::Gone | Class::Conflict) => Ok(None),
            Err(error) => {
                let why = message(&error);
                let class = classify(&error);
                let passes = class.is_transient() || class == Class::NotLeading;
                if !passes && self.unwritten.record(&uid, Some(&why)) {
                    let note = format!("the status is not up to date, since it cannot be written: {why}");
                    self.events.publish(object, Severity::Warning, STATUS_NOT_WRITTEN, note);
                }
                Err(StatusError(why.into_owned()))
            }
        }
    }
}
