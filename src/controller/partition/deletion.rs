//! Objects of a Partition that has just been deleted. They are deleted with it, and the watch of one kind may show that
//! before the watch of Partitions does: nothing of them is made anew then, and no event says that it was.

use kube::Api;

use super::verified::versions;
use crate::api::names::ObjectKey;
use crate::api::{DEFAULT_COUNT, Partition};
use crate::controller::context::Context;
use crate::controller::writer::answer;
use crate::store::Caches;

/// Whether an object is missing that the partition should have.
pub(super) fn lacks_object(caches: &Caches, key: &ObjectKey, partition: &Partition) -> bool {
    let has_budget = partition.spec.template.size.unwrap_or(DEFAULT_COUNT) > 1;
    let [always @ .., budget] = versions(caches, key);
    always.contains(&None) || has_budget && budget.is_none()
}

/// Whether the Partition of that uid is gone or on its way out, as the API server says. If it does not answer, it is not.
pub(super) async fn is_gone(context: &Context, key: &ObjectKey, uid: &str) -> bool {
    let partitions: Api<Partition> = Api::namespaced(context.client.clone(), &key.namespace);
    let found = answer("whether a partition is still there", partitions.get_metadata_opt(&key.name)).await;
    let Some(found) = found.map(|found| found.map(|found| found.metadata)) else { return false };
    found.is_none_or(|found| found.uid.as_deref() != Some(uid) || found.deletion_timestamp.is_some())
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use hyper::{Request, Response};
    use k8s_openapi::api::apps::v1::StatefulSet;
    use k8s_openapi::api::core::v1::{ConfigMap, Service};
    use kube::Client;
    use kube::client::Body;
    use serde_json::{Value, json};
    use tower::service_fn;

    use super::super::state::Partitions;
    use super::*;
    use crate::controller::manager::fixture;
    use crate::queue::Outcome;
    use crate::store::Kind;

    fn object<K: Kind>(name: &str) -> K {
        let mut object = json!({"metadata": {"name": name, "namespace": "n"}});
        if K::kind(&()) == "StatefulSet" {
            object["spec"] = json!({"selector": {}, "template": {}});
        }
        serde_json::from_value::<K>(object).unwrap()
    }

    #[test]
    fn a_partition_of_one_pod_lacks_no_budget() {
        let (caches, key) = (Caches::default(), ObjectKey::new("n", "g-1"));
        let partition = |size: Value| -> Partition {
            let spec = json!({"protocol": "log", "size": size});
            serde_json::from_value(json!({"metadata": {"name": "g-1"}, "spec": spec})).unwrap()
        };
        assert!(lacks_object(&caches, &key, &partition(json!(1))));
        let named = |name: &str| ObjectKey::new("n", name);
        caches.config_maps.observe(named("g-1-config"), 1, object::<ConfigMap>("g-1-config").cached());
        caches.stateful_sets.observe(named("g-1"), 1, object::<StatefulSet>("g-1").cached());
        caches.services.observe(named("g-1"), 1, object::<Service>("g-1").cached());
        assert!(lacks_object(&caches, &key, &partition(json!(1))));
        caches.services.observe(named("g-1-hs"), 1, object::<Service>("g-1-hs").cached());
        assert!(!lacks_object(&caches, &key, &partition(json!(1))));
        assert!(lacks_object(&caches, &key, &partition(json!(3))));
    }

    #[tokio::test]
    async fn of_a_partition_that_is_gone_already_nothing_is_made_anew() {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let recorded = Arc::clone(&asked);
        // Nothing is there any more.
        let service = service_fn(move |request: Request<Body>| {
            recorded.lock().unwrap().push(format!("{} {}", request.method(), request.uri().path()));
            let body =
                json!({"kind": "Status", "status": "Failure", "code": 404, "reason": "NotFound", "message": "m"});
            let response = Response::builder().status(404).body(Body::from(body.to_string().into_bytes()));
            async move { response.map_err(|error| -> tower::BoxError { error.into() }) }
        });
        let partitions = Partitions::new(Arc::new(fixture(Client::new(service, "default"))));
        let key = ObjectKey::new("n", "g-1");
        let ready = json!({"type": "Ready", "status": "True", "reason": "PodsReady", "message": "m",
            "lastTransitionTime": "2020-01-01T00:00:00Z"});
        let partition: Partition = serde_json::from_value(json!({
            "apiVersion": "k8s.atomix.io/v1alpha1", "kind": "Partition",
            "metadata": {"name": "g-1", "namespace": "n", "uid": "u", "generation": 1,
                "annotations": {"k8s.atomix.io/controller": "ops.atx"}, "ownerReferences": [{
                    "apiVersion": "k8s.atomix.io/v1alpha1", "kind": "PartitionSet", "name": "g", "uid": "s",
                    "controller": true}]},
            "spec": {"protocol": "log", "size": 1},
            "status": {"observedGeneration": 1, "conditions": [ready]},
        }))
        .unwrap();
        partitions.context.caches.partitions.observe(key.clone(), 1, partition.cached());
        let outcome = Box::pin(super::super::reconcile(&partitions, key)).await;
        assert_eq!(*asked.lock().unwrap(), ["GET /apis/k8s.atomix.io/v1alpha1/namespaces/n/partitions/g-1"]);
        assert!(matches!(outcome, Outcome::Done), "{outcome:?}");
    }
}
