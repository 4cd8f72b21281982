//! The admission webhooks: defaults and judgement of `PartitionSets` and Partitions, over HTTPS.
//!
//! A decision is a function of the request and of what the watch cache holds: it makes no call and waits for nothing,
//! so that answering takes microseconds and an API server that is away cannot slow it.

mod aliases;
mod authorship;
mod body;
pub mod identity;
mod limits;
mod metrics;
mod mutate;
mod pace;
mod response;
mod restricted;
mod review;
mod router;
mod scale;
pub mod server;
mod uid;
mod validate;

use std::sync::Arc;

use tokio::sync::SetOnce;

pub use metrics::AdmissionMetrics;
pub use response::{Response, Status};
pub use review::{Operation, Request};
pub use router::{MAX_BODY, router};

use crate::api::{DEFAULT_COUNT, GROUP, PartitionSet, canary};

/// The `PartitionSets` that the controller knows of.
pub trait Sets: Send + Sync {
    /// The set of that name, if the watch cache holds it.
    fn get(&self, namespace: &str, name: &str) -> Option<Arc<PartitionSet>>;
}

/// What the webhooks decide by. Clones share everything.
#[derive(Clone)]
pub struct Admission {
    /// The watch cache.
    pub sets: Arc<dyn Sets>,
    /// Name that the API server knows this controller's own account by; empty until it was learnt.
    pub own_username: Arc<SetOnce<String>>,
    /// Where decisions are counted.
    pub metrics: Arc<AdmissionMetrics>,
}

/// Which webhook is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Webhook {
    /// Fills in defaults.
    Mutate,
    /// Judges the object as it will be stored.
    Validate,
    /// Warns of pods that a namespace with "restricted" pod security refuses, and never refuses anything itself.
    Restricted,
}

impl Webhook {
    /// Whether it may refuse a request.
    #[must_use]
    pub const fn refuses(self) -> bool {
        !matches!(self, Self::Restricted)
    }

    /// As metrics and the log have it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Mutate => "mutate",
            Self::Validate => "validate",
            Self::Restricted => "restricted",
        }
    }
}

/// What a request is about.
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

    /// As metrics have it.
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
    /// Answers one review. Only creations and updates are judged: nothing here may hold a deletion back.
    #[must_use]
    pub fn decide(&self, webhook: Webhook, request: &Request) -> Response {
        let writes = matches!(request.operation, Operation::Create | Operation::Update);
        if !writes || request.object.is_null() {
            return Response::allow(&request.uid);
        }
        let target = Target::of(request);
        // Whoever sends it: a canary is never to be stored.
        if let (Some(value), Target::Set | Target::Partition) = (canary::value(&request.object), target)
            && request.operation == Operation::Create
            && webhook.refuses()
        {
            return Response::bad_request(&request.uid, canary::answer(webhook.as_str(), value));
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

    /// How many partitions the set of a name has in `namespace`; none if it is unknown or on its way out.
    fn partitions_of(&self, namespace: &str, name: &str) -> Option<i64> {
        let set = self.sets.get(namespace, name)?;
        set.metadata.deletion_timestamp.is_none().then(|| set.spec.partitions.unwrap_or(DEFAULT_COUNT))
    }
}

#[cfg(test)]
mod tests;
