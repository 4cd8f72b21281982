//! Claims that an earlier partition of the same name has left, with its data on them: a new one finds them again.

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::ListParams;
use kube::{Api, ResourceExt};

use crate::api::Partition;
use crate::controller::context::Context;
use crate::controller::writer::answer;
use crate::store::cache::key_of;

/// Names of the claims that exist for a StatefulSet that does not exist yet, and are not its partition's own. None are
/// looked for if it has no storage.
pub(super) async fn retained(context: &Context, partition: &Partition, wanted: &StatefulSet) -> Vec<String> {
    let key = key_of(wanted);
    let spec = wanted.spec.as_ref();
    let Some(labels) = spec
        .filter(|spec| spec.volume_claim_templates.is_some())
        .filter(|_| context.caches.stateful_sets.get(&key).is_none())
        .and_then(|spec| spec.selector.match_labels.as_ref())
    else {
        return Vec::new();
    };
    let selector: Vec<String> = labels.iter().map(|(label, value)| format!("{label}={value}")).collect();
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(context.client.clone(), &key.namespace);
    let labelled = ListParams::default().labels(&selector.join(","));
    let Some(claims) = answer("whether claims were retained", claims.list_metadata(&labelled)).await else {
        return Vec::new();
    };
    let made = partition.metadata.creation_timestamp.as_ref();
    // Of a partition of which nothing was done yet, none can be its own. Else those are that are no older, to the second:
    // then its StatefulSet was deleted.
    let is_new = partition.status.as_ref().is_none_or(|status| status.observed_generation.is_none());
    let older = claims.iter().filter(|claim| is_new || claim.metadata.creation_timestamp.as_ref() < made);
    older.filter(|claim| stays(&claim.metadata)).map(ResourceExt::name_any).collect()
}

/// Whether a claim stays until the new partition takes it. One that its former StatefulSet or pod owns goes with that: by
/// the retention policy `Delete`.
fn stays(claim: &ObjectMeta) -> bool {
    let mut owners = claim.owner_references.iter().flatten();
    claim.deletion_timestamp.is_none() && !owners.any(|owner| ["StatefulSet", "Pod"].contains(&owner.kind.as_str()))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_claim_that_is_deleted_or_goes_with_its_owner_does_not_stay() {
        let stays = |metadata: Value| stays(&serde_json::from_value(metadata).unwrap());
        let owned =
            |kind: &str| json!({"ownerReferences": [{"apiVersion": "v1", "kind": kind, "name": "n", "uid": "u"}]});
        assert!(stays(json!({})));
        assert!(stays(owned("Backup")));
        assert!(!stays(owned("StatefulSet")));
        assert!(!stays(owned("Pod")));
        assert!(!stays(json!({"deletionTimestamp": "2026-01-01T00:00:00Z"})));
    }
}
