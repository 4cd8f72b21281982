//! Replacing outdated pods through the Eviction API, by which the API server itself refuses what would cost a quorum.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::Eviction;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{DeleteOptions, ObjectMeta, Preconditions};
use kube::Api;
use kube::api::PostParams;
use kube::core::Status;
use tokio::time::Instant;

use super::disruption_slots::NoSlot;
use super::nodes::Nodes;
use super::roll_state::EVICTION_SHOWS;
use super::rolling::{self, Rolling, Step};
use super::state::Partitions;
use super::{availability, budgets};
use crate::api::Partition;
use crate::api::names::{self, ObjectKey};
use crate::api_error::{Class, classify, has_several_budgets, message};
use crate::controller::context::Context;
use crate::controller::trouble::Trouble;
use crate::controller::writer::bounded;
use crate::events::Severity;

/// Refusals in a row that no status reports: the disruption budget counts a ready pod a moment later than this controller.
const IGNORED_REFUSALS: u32 = 4;
/// When to try again after one of those, and after another.
const TRY_AGAIN: (Duration, Duration) = (Duration::from_millis(300), Duration::from_secs(3));

/// Takes the next step, if there is one to be taken now.
pub(super) async fn roll(partitions: &Partitions, key: &ObjectKey, partition: &Partition, nodes: &Nodes) -> Rolling {
    let context = &partitions.context;
    let pod = match rolling::next(nodes) {
        Step::Evict(pod) => pod,
        Step::Stay(rolling) => return rolling,
    };
    let (name, uid) = (&pod.name, &pod.facts.uid);
    let progress = format!("{} of {} pods are outdated", nodes.outdated(), nodes.size);
    let wait = |quorum, what: &str, again| Rolling::waiting(quorum, format!("{progress}; {what}"), Some(again));
    let set = names::set_of_partition(key).filter(|_| pod.is_ready());
    let slot = set.as_ref().map(|(set, index)| {
        partitions.slots.try_acquire(set, *index, |waiting| availability::of_set(partitions, set, waiting))
    });
    // Held until the result of the eviction is recorded.
    let _slot = match slot.transpose() {
        Ok(slot) => slot,
        // Which of them changes all the time, and the status of the set names it.
        Err(NoSlot(again)) => return wait(false, "waiting for other partitions", again),
    };
    let ending = format!("waiting for pod {name} to end");
    match bounded(evict(context, key, name, uid)).await {
        Ok(_) => {
            context.metrics.api_write("Pod", "evict");
            tracing::info!(partition = %key, pod = name, "outdated pod evicted");
            let is_first = partitions.states.with(key, |state| {
                state.roll.record_eviction(pod.ordinal, uid, nodes.rollout.generation, Instant::now())
            });
            if is_first {
                let note = format!("{progress} and are replaced one by one, beginning with {name}");
                context.events.publish(partition, Severity::Normal, "Rolling", note);
            }
            wait(false, &ending, EVICTION_SHOWS)
        }
        // Gone, or another pod by now: the watch brings it.
        Err(error) if matches!(classify(&error), Class::Gone | Class::Conflict) => wait(false, &ending, TRY_AGAIN.1),
        Err(error) if classify(&error) == Class::TooManyRequests => {
            let refusal = refusal(&error);
            let refusals = partitions.states.with(key, |state| state.roll.record_refusal());
            tracing::debug!(partition = %key, pod = name, why = %refusal, "eviction refused");
            if refusals > IGNORED_REFUSALS {
                wait(true, &format!("pod {name} may not be evicted yet: {refusal}"), TRY_AGAIN.1)
            } else {
                wait(false, &format!("replacing pod {name}"), TRY_AGAIN.0)
            }
        }
        Err(error) => {
            let several = matches!(&error, kube::Error::Api(status) if has_several_budgets(status));
            let found = if several { budgets::of_pod(context, &key.namespace, name).await } else { Vec::new() };
            Rolling::hindered(Trouble::of_eviction(name, &error, &found))
        }
    }
}

/// Why an eviction is refused for now: the API server names the disruption budget among the causes only.
fn refusal(error: &kube::Error) -> String {
    let mut words = message(error).into_owned();
    if let kube::Error::Api(status) = error {
        let causes = status.details.iter().flat_map(|details| &details.causes);
        for cause in causes.filter(|cause| cause.reason == "DisruptionBudget") {
            words.push(' ');
            words.push_str(&cause.message);
        }
    }
    words
}

/// When a partition whose pods are all up to date and ready is to be looked at again, since others wait until its pods
/// have been ready for long enough.
pub(super) fn available_in(partitions: &Partitions, key: &ObjectKey, nodes: &Nodes) -> Option<Duration> {
    let (set, _) = names::set_of_partition(key)?;
    let (_, left) = rolling::last_available(nodes)?;
    partitions.slots.has_waiting(&set).then_some(left)
}

/// Asks for the eviction of the very pod of that uid. (`Api::evict` spells `deleteOptions` in a way that the API server
/// does not know, so the uid would be lost.)
async fn evict(context: &Context, key: &ObjectKey, pod: &str, uid: &str) -> kube::Result<Status> {
    let eviction = Eviction {
        metadata: ObjectMeta {
            name: Some(pod.to_owned()),
            namespace: Some(key.namespace.clone()),
            ..ObjectMeta::default()
        },
        delete_options: Some(DeleteOptions {
            preconditions: Some(Preconditions { uid: Some(uid.to_owned()), resource_version: None }),
            ..DeleteOptions::default()
        }),
    };
    let api: Api<Pod> = Api::namespaced(context.client.clone(), &key.namespace);
    api.create_subresource("eviction", pod, &PostParams::default(), &eviction).await
}
