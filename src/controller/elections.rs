//! What the controllers' watches tell elections.

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::caches::Caches;
use super::objects::Known;
use crate::api::names::ObjectKey;
use crate::api::{ElectionStatus, Partition, PartitionStatus};
use crate::primary::{PartitionCache, PartitionView};

/// The watch cache as elections see it.
pub struct KnownPartitions {
    caches: Arc<Caches>,
    /// `<namespace>.<name>` of the controller.
    controller: String,
}

impl KnownPartitions {
    /// The Partitions of `caches` that `controller` (`<namespace>.<name>`) runs.
    #[must_use]
    pub fn new(caches: Arc<Caches>, controller: String) -> Self {
        Self { caches, controller }
    }
}

impl PartitionCache for KnownPartitions {
    fn view(&self, key: &ObjectKey) -> Option<PartitionView> {
        PartitionView::of(&self.caches.partitions.get(key)?.facts, &self.controller)
    }

    fn with_records(&self, wanted: &dyn Fn(&ObjectKey, &ElectionStatus) -> bool) -> Vec<(ObjectKey, PartitionView)> {
        let keys = self.caches.partitions.keys().into_iter();
        let known = keys.filter_map(|key| {
            let known = self.caches.partitions.get(&key)?;
            let election = known.facts.status.as_ref()?.election.as_ref()?;
            let view = wanted(&key, election).then(|| PartitionView::of(&known.facts, &self.controller))?;
            Some((key, view?))
        });
        known.collect()
    }
}

/// Whether two states of a Partition differ in nothing but its election.
pub(super) fn is_all_that_changed(before: &Known<Partition>, now: &Known<Partition>) -> bool {
    let election = |known: &Known<Partition>| known.facts.status.as_ref().and_then(|status| status.election.clone());
    let Known { uid, owner, fields, ignored, deleting, facts: Partition { metadata, spec, status } } = now;
    (&before.uid, &before.owner, &before.fields, &before.ignored, before.deleting)
        == (uid, owner, fields, ignored, *deleting)
        && before.facts.spec == *spec
        && election(before) != election(now)
        && without_version(&before.facts.metadata) == without_version(metadata)
        && without_election(before.facts.status.as_ref()) == without_election(status.as_ref())
}

fn without_version(metadata: &ObjectMeta) -> ObjectMeta {
    ObjectMeta { resource_version: None, ..metadata.clone() }
}

fn without_election(status: Option<&PartitionStatus>) -> Option<PartitionStatus> {
    status.map(|status| PartitionStatus { election: None, ..status.clone() })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::objects::Child;
    use super::*;

    fn known(version: &str, size: i64, status: &Value) -> Known<Partition> {
        let partition: Partition = serde_json::from_value(json!({
            "metadata": {"name": "p-1", "resourceVersion": version},
            "spec": {"protocol": "log", "size": size},
            "status": status,
        }))
        .unwrap();
        partition.known()
    }

    #[test]
    fn a_change_of_the_election_alone_is_told_from_every_other() {
        let election = |term: i64| json!({"term": term, "primary": "", "candidates": [], "streams": {}});
        let before = known("1", 1, &json!({"replicas": 1, "election": election(1)}));
        let elected = known("2", 1, &json!({"replicas": 1, "election": election(2)}));
        assert!(is_all_that_changed(&before, &elected));
        for other in [
            known("2", 1, &json!({"replicas": 1, "election": election(1)})),
            known("2", 2, &json!({"replicas": 1, "election": election(2)})),
            known("2", 1, &json!({"replicas": 2, "election": election(2)})),
        ] {
            assert!(!is_all_that_changed(&before, &other), "{other:?}");
        }
    }
}
