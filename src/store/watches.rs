//! The watches of all kinds.

use std::fmt::Debug;
use std::hash::Hash;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use futures::future::join_all;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, Endpoints, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::Resource;
use kube::core::NamespaceResourceScope;
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;

use super::cache::Cache;
use super::caches::Caches;
use super::kind::{Kind, labels_of_partitions};
use super::kinds::GroupService;
use super::metrics::StoreMetrics;
use super::sinks::{self, PartitionListener};
use super::triggers::Triggers;
use super::watch::{self, FirstLists, Sink};
use crate::api::{GROUP, Partition, labels};
use crate::runtime::Runtime;
use crate::runtime::shutdown::Stage;
use crate::scope::Scope;

/// Managers, in Kubernetes, of the EndpointSlices of Services with a selector, and of those of Endpoints.
const SLICE_CONTROLLER: &str = "endpointslice-controller.k8s.io";
const MIRRORING_CONTROLLER: &str = "endpointslicemirroring-controller.k8s.io";

/// Group and resource of each kind that is watched: the rights that the watches need.
pub(crate) const WATCHED: [(&str, &str); 9] = [
    (GROUP, "partitionsets"),
    (GROUP, "partitions"),
    ("", "configmaps"),
    ("apps", "statefulsets"),
    ("", "pods"),
    ("", "services"),
    ("policy", "poddisruptionbudgets"),
    ("discovery.k8s.io", "endpointslices"),
    ("", "endpoints"),
];

/// Starts the watches that fill `caches` with everything in `scope`, one task for each; `controller` selects the
/// children, and `listener` is called for each changed Partition. The returned future ends when all first lists are in.
pub(crate) fn start(
    runtime: &Runtime,
    scope: &Scope,
    controller: &str,
    caches: &Arc<Caches>,
    triggers: &Triggers,
    listener: PartitionListener,
) -> impl Future<Output = ()> + Send + use<> {
    let metrics = runtime.registry.register::<StoreMetrics>();
    let (shown, of) = (Arc::clone(&metrics), Arc::clone(caches));
    runtime.registry.before_scrape(move || shown.count(&of, SystemTime::now()));
    let mut watches = Watches { runtime, scope, controller, caches, triggers, metrics, listed: Vec::new() };
    let sets = sinks::sets(triggers.clone(), caches.sets_freshness.clone());
    watches.start("watch partitionsets", "", |caches| &caches.sets, sets);
    let partitions = sinks::partitions(triggers.clone(), listener);
    watches.start(Partition::WATCH, &Partition::selector(controller), Partition::cache, partitions);
    watches.start_children::<ConfigMap>();
    watches.start_children::<StatefulSet>();
    watches.start_children::<Service>();
    watches.start_children::<GroupService>();
    watches.start_children::<PodDisruptionBudget>();
    watches.start_children::<EndpointSlice>();
    watches.start_children::<Endpoints>();
    watches.start("watch pods", &labels_of_partitions(), |caches| &caches.pods, sinks::pods(triggers.clone()));
    // Kubernetes copies the labels of a Service to the slices that it makes for it.
    let leftover = format!("{},{}={SLICE_CONTROLLER}", labels::GROUP_OF, labels::SLICE_MANAGED_BY);
    let slices = || sinks::slices(triggers.clone());
    watches.start("watch leftover endpointslices", &leftover, |caches| &caches.leftover_slices, slices());
    let foreign = format!(
        "{},{} notin ({},{SLICE_CONTROLLER},{MIRRORING_CONTROLLER})",
        labels::SERVICE_NAME,
        labels::SLICE_MANAGED_BY,
        labels::slice_manager(controller)
    );
    watches.start("watch foreign endpointslices", &foreign, |caches| &caches.foreign_slices, slices());
    let listed = watches.listed;
    async move { drop(join_all(listed.into_iter().map(CancellationToken::cancelled_owned)).await) }
}

struct Watches<'a> {
    runtime: &'a Runtime,
    scope: &'a Scope,
    controller: &'a str,
    caches: &'a Arc<Caches>,
    triggers: &'a Triggers,
    metrics: Arc<StoreMetrics>,
    /// Cancelled when the first lists of a watch are in.
    listed: Vec<CancellationToken>,
}

impl Watches<'_> {
    fn start_children<K: Kind>(&mut self) {
        self.start::<K, _>(K::WATCH, &K::selector(self.controller), K::cache, sinks::children(self.triggers.clone()));
    }

    fn start<K, T>(&mut self, task: &'static str, labels: &str, cache: fn(&Caches) -> &Cache<T>, sink: Sink<K, T>)
    where
        K: Resource<Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug + Send + 'static,
        K::DynamicType: Default + Clone + Eq + Hash + Send,
        T: PartialEq + Send + Sync + 'static,
    {
        let listed = CancellationToken::new();
        let kind = task.trim_start_matches("watch ");
        let gate = self.runtime.readiness.gate(format!("cache: {kind}"));
        let first = FirstLists { gate, listed: listed.clone() };
        self.listed.push(listed);
        let (caches, client, scope) = (Arc::clone(self.caches), self.runtime.client.clone(), self.scope.clone());
        let labels = labels.to_owned();
        let (errors, lag) = self.metrics.watch(kind);
        let shown = Arc::clone(self.caches);
        self.runtime.registry.before_scrape(move || {
            lag.set(cache(&shown).lag(Instant::now()).as_secs_f64());
        });
        self.runtime.tasks(Stage::Serve).spawn_endless(task, async move {
            watch::run((&client, &scope), &labels, (cache(&caches), &errors), sink, first).await;
        });
    }
}
