//! Writes the children of a partition.

use std::net::IpAddr;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::ResourceExt;

use super::build::{self, Children};
use super::identity::Identity;
use super::{claims, former_address, service_addresses, transition_events};
use crate::api::names::{self, ObjectKey};
use crate::api::{Partition, PartitionSet};
use crate::controller::context::Context;
use crate::controller::desired::Desired;
use crate::controller::trouble::Trouble;
use crate::controller::writer::{ChildResult, Done};
use crate::store::controller_of;

/// What came of writing the children.
pub(super) struct Applied {
    pub(super) results: Vec<ChildResult>,
    pub(super) trouble: Option<Trouble>,
    /// Whether the StatefulSet, its files and its budget are as they should be: a pod that goes then comes back right.
    pub(super) pods_may_go: bool,
}

impl Applied {
    /// All objects were right.
    pub(super) const RIGHT: Self = Self { results: Vec::new(), trouble: None, pods_may_go: true };

    pub(super) const fn nothing(trouble: Trouble) -> Self {
        Self { results: Vec::new(), trouble: Some(trouble), pods_may_go: false }
    }

    /// Whether all wanted objects were right already.
    pub(super) fn is_right(&self) -> bool {
        self.trouble.is_none() && self.pods_may_go && !self.has_written_something()
    }

    /// Whether an object was created or updated.
    pub(super) fn has_written_something(&self) -> bool {
        self.results.iter().any(|result| !matches!(result.done, Done::Nothing | Done::Removed))
    }
}

/// Writes what the objects of a partition lack of what they should be.
pub(super) async fn build_and_apply(
    context: &Context,
    partition: &Partition,
    identity: &Identity,
    set: Option<&PartitionSet>,
) -> Applied {
    let addresses = service_addresses::of(&context.caches, identity);
    match build::children(partition, identity, &context.settings, &addresses, set) {
        Err(violations) => Applied::nothing(violations.into()),
        Ok(children) => {
            let retained = Box::pin(claims::retained(context, partition, &children.stateful_set.object)).await;
            let applied = Box::pin(apply(context, children, &addresses.former_addresses)).await;
            transition_events::publish_retained_claims(context, partition, &retained, &applied.results);
            applied
        }
    }
}

/// Writes what has to be written. The client Service goes first and beside the rest, since the API server allocates
/// addresses one at a time; the StatefulSet waits for the ConfigMap, or a new pod would start with the old files.
async fn apply(context: &Context, children: Children, former_addresses: &[IpAddr]) -> Applied {
    let Children { config_map, service, headless_service, stateful_set, disruption_budget } = children;
    let writer = &context.writer;
    let nodes = async {
        let files = writer.ensure(&config_map);
        let names = writer.ensure(&headless_service);
        let (files, names) = tokio::join!(files, names);
        let pods = match (&files, &names) {
            (Ok(_), Ok(_)) => Some(writer.ensure(&stateful_set).await),
            // It is not written yet. That its name is taken as well is reported all the same.
            (Err(trouble), _) | (_, Err(trouble)) if trouble.is_collision() => {
                writer.collision(&stateful_set).await.map(Err)
            }
            _ => None,
        };
        (files, names, pods)
    };
    let budget = async {
        match &disruption_budget {
            Some(budget) => Some(writer.ensure(budget).await),
            None => remove_budget(context, &stateful_set).await,
        }
    };
    let client_service = former_address::ensure(context, service, former_addresses);
    let (client_service, (files, headless, pods), budget) = tokio::join!(client_service, nodes, budget);
    let name = stateful_set.object.name_any();
    let pods_may_go = matches!(pods, Some(Ok(_))) && !matches!(budget, Some(Err(_)));
    let outcomes = [
        ("Service", name.clone(), client_service.map(Some)),
        ("Service", headless_service.object.name_any(), headless.map(Some)),
        ("ConfigMap", config_map.object.name_any(), files.map(Some)),
        ("PodDisruptionBudget", names::disruption_budget(&name), budget.transpose()),
        ("StatefulSet", name, pods.transpose()),
    ];
    let (mut results, mut troubles) = (Vec::new(), Vec::new());
    for (kind, name, result) in outcomes {
        match result {
            Ok(done) => results.extend(done.map(|done| ChildResult { kind, name, done })),
            Err(trouble) => troubles.push(trouble),
        }
    }
    Applied { results, trouble: Trouble::first(troubles), pods_may_go }
}

/// Removes the budget of a partition that has shrunk to one pod, if it has one.
async fn remove_budget(context: &Context, pods: &Desired<StatefulSet>) -> Option<Result<Done, Trouble>> {
    let pods = &pods.object;
    let key = ObjectKey::new(pods.namespace().unwrap_or_default(), names::disruption_budget(&pods.name_any()));
    let owner = controller_of(&pods.metadata)?;
    let removed = context.writer.remove::<PodDisruptionBudget>(&key, &owner.uid).await;
    removed.map(|removed| removed.then_some(Done::Removed)).transpose()
}
