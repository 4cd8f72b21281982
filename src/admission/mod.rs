//! The admission webhooks: defaults and validation of `PartitionSets` and Partitions, over HTTPS.
//!
//! A decision is a function of the request and of what the watch cache holds: it makes no call and waits for nothing,
//! so that answering takes microseconds and an API server that is away cannot slow it.

mod aliases;
mod authorship;
mod body;
mod decision;
mod identity;
mod limits;
mod metrics;
mod mutate;
mod record;
mod rejection;
mod response;
mod restricted;
mod review;
mod router;
mod scale;
pub mod server;
mod validate;

use std::sync::Arc;

use rustls::ServerConfig;
use tokio::net::TcpListener;
use tokio::sync::SetOnce;

use crate::api::names::ObjectKey;
use crate::api::{DEFAULT_COUNT, GROUP, PartitionSet, canary};
use crate::runtime::Runtime;
use crate::runtime::shutdown::Stage;
use crate::store::Caches;
use metrics::AdmissionMetrics;
use response::Response;
use review::{Operation, Request};
use router::router;

/// The `PartitionSets` of the watch cache.
trait Sets: Send + Sync {
    fn get(&self, namespace: &str, name: &str) -> Option<Arc<PartitionSet>>;
}

impl Sets for Caches {
    fn get(&self, namespace: &str, name: &str) -> Option<Arc<PartitionSet>> {
        self.sets.get(&ObjectKey::new(namespace, name))
    }
}

/// The facts that decisions depend on. Clones share them.
#[derive(Clone)]
struct Admission {
    sets: Arc<dyn Sets>,
    /// User name of the controller's own account at the API server; empty until the API server has answered.
    own_username: Arc<SetOnce<String>>,
    metrics: Arc<AdmissionMetrics>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Webhook {
    /// Fills in defaults.
    Mutate,
    /// Judges the object as it will be stored.
    Validate,
    /// Warns of pods that a namespace with "restricted" pod security refuses, and never refuses anything itself.
    Restricted,
}

/// Starts the webhook server. Decisions are made from `caches` and the own user name, which a task of its own learns.
/// Returns that name.
pub(crate) fn start(
    runtime: &Runtime,
    (listener, tls): (TcpListener, Arc<ServerConfig>),
    caches: &Arc<Caches>,
    limits: server::Limits,
) -> Arc<SetOnce<String>> {
    let Runtime { client, registry, readiness, .. } = runtime;
    let own_username = Arc::new(SetOnce::new());
    let learned = identity::learn(client.clone(), Arc::clone(&own_username), readiness.gate("own account"));
    runtime.tasks(Stage::Serve).spawn_finite("own account", learned);
    let metrics = registry.register();
    let admission = Admission {
        sets: Arc::clone(caches) as Arc<dyn Sets>,
        own_username: Arc::clone(&own_username),
        metrics: Arc::clone(&metrics),
    };
    let tasks = runtime.tasks(Stage::Drain);
    let served = server::serve(listener, tls, router(&admission), metrics, limits, tasks.stopping().clone());
    tasks.spawn("webhook server", served);
    own_username
}

impl Webhook {
    /// Whether it may refuse a request.
    const fn refuses(self) -> bool {
        !matches!(self, Self::Restricted)
    }

    const fn path(self) -> &'static str {
        match self {
            Self::Mutate => "/mutate",
            Self::Validate => "/validate",
            Self::Restricted => "/restricted",
        }
    }

    /// Name in metrics and the log.
    fn as_str(self) -> &'static str {
        &self.path()[1..]
    }
}

/// The kind of object that a request changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target {
    Set,
    Scale,
    Partition,
    Other,
}

impl Target {
    fn of(request: &Request) -> Self {
        if request.resource.group != GROUP {
            return Self::Other;
        }
        match (request.resource.resource.as_str(), request.sub_resource.as_str()) {
            ("partitionsets", "") => Self::Set,
            ("partitionsets", "scale") => Self::Scale,
            ("partitions", "") => Self::Partition,
            _ => Self::Other,
        }
    }

    /// Value of the metrics' label.
    const fn as_str(self) -> &'static str {
        match self {
            Self::Set => "PartitionSet",
            Self::Scale => "Scale",
            Self::Partition => "Partition",
            Self::Other => "other",
        }
    }
}

impl Admission {
    /// Decides about one request. Only creations and updates are judged: nothing here may hold a deletion back.
    fn decide(&self, webhook: Webhook, request: &Request) -> Response {
        let writes = matches!(request.operation, Operation::Create | Operation::Update);
        if !writes || request.object.is_null() {
            return Response::allow(&request.uid);
        }
        let target = Target::of(request);
        // A canary is never to be stored, whichever user creates it.
        if let (Some(value), Target::Set | Target::Partition) = (canary::value(&request.object), target)
            && request.operation == Operation::Create
            && webhook.refuses()
        {
            return Response::bad_request(&request.uid, &canary::answer(webhook.as_str(), value));
        }
        match (webhook, target) {
            (Webhook::Mutate, Target::Set) => mutate::partition_set(self, request),
            (Webhook::Validate, Target::Set) => validate::partition_set(self, request),
            (Webhook::Validate, Target::Scale) => scale::scale(self, request),
            (Webhook::Validate, Target::Partition) => authorship::partition(self, request),
            (Webhook::Restricted, Target::Set) => restricted::partition_set(request),
            (Webhook::Mutate | Webhook::Restricted, Target::Scale | Target::Partition) | (_, Target::Other) => {
                Response::allow(&request.uid)
            }
        }
    }

    /// Number of partitions of a set; `None` if the cache lacks the set, or it is being deleted.
    fn partitions_of(&self, namespace: &str, name: &str) -> Option<i64> {
        let set = self.sets.get(namespace, name)?;
        set.metadata.deletion_timestamp.is_none().then(|| set.spec.partitions.unwrap_or(DEFAULT_COUNT))
    }
}

#[cfg(test)]
mod tests;
