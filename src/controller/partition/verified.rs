//! The versions in which the objects of a partition were found right, so that an event of a pod does not cost a comparison
//! of everything.

use crate::api::Partition;
use crate::api::names::{self, ObjectKey};
use crate::store::{Cached, Caches};

/// What the objects of a partition are made from, and the versions in which they are known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Versions {
    uid: String,
    generation: Option<i64>,
    children: [Option<u64>; 5],
}

impl Versions {
    /// Those of a partition now; none if its objects do not follow from its spec alone, as those of a Partition that an
    /// earlier version wrote.
    pub(super) fn of(caches: &Caches, key: &ObjectKey, known: &Cached<Partition>) -> Option<Self> {
        known.facts.spec.template_metadata.as_ref()?;
        Some(Self {
            uid: known.uid.clone(),
            generation: known.facts.metadata.generation,
            children: versions(caches, key),
        })
    }
}

/// The version of each object that a partition can have, as far as it is known to exist; the disruption budget is the last.
pub(super) fn versions(caches: &Caches, key: &ObjectKey) -> [Option<u64>; 5] {
    let named = |name: String| ObjectKey::new(key.namespace.as_str(), name);
    let budget = named(names::disruption_budget(&key.name));
    [
        caches.config_maps.version(&named(names::config_map(&key.name))),
        caches.stateful_sets.version(key),
        caches.services.version(key),
        caches.services.version(&named(names::headless_service(&key.name))),
        caches.disruption_budgets.version(&budget),
    ]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::store::Kind;

    fn partition(generation: i64, metadata: &serde_json::Value) -> Cached<Partition> {
        let partition: Partition = serde_json::from_value(json!({
            "apiVersion": "k8s.atomix.io/v1alpha1", "kind": "Partition",
            "metadata": {"name": "g-1", "namespace": "n", "uid": "u", "generation": generation},
            "spec": {"protocol": "raft", "templateMetadata": metadata},
        }))
        .unwrap();
        partition.cached()
    }

    #[test]
    fn a_partition_is_compared_anew_when_it_or_any_of_its_objects_has_changed() {
        let (caches, key) = (Caches::default(), ObjectKey::new("n", "g-1"));
        let versions = |generation| Versions::of(&caches, &key, &partition(generation, &json!({}))).unwrap();
        let mut verified = versions(1);
        assert!(verified == versions(1) && verified != versions(2));
        for name in ["g-1", "g-1-hs"] {
            let service: k8s_openapi::api::core::v1::Service =
                serde_json::from_value(json!({"metadata": {"name": name}})).unwrap();
            caches.services.observe(ObjectKey::new("n", name), 7, service.cached());
            assert_ne!(verified, versions(1), "{name}");
            verified = versions(1);
        }
        caches.services.forget(&key, 8);
        assert_ne!(verified, versions(1), "it is gone");
    }

    #[test]
    fn what_an_earlier_version_wrote_depends_on_more() {
        assert_eq!(Versions::of(&Caches::default(), &ObjectKey::new("n", "g-1"), &partition(1, &json!(null))), None);
    }
}
