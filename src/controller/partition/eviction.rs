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
use super::rolling::{self, Step};
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

/// How far the replacement of outdated pods is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Rolling {
    /// What it is waiting for, if it goes on.
    pub wait: Option<Wait>,
    /// When to look again, if no event comes before.
    pub again: Option<Duration>,
    /// What went wrong.
    pub trouble: Option<Trouble>,
}

/// What a rolling waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wait {
    /// Whether a pod that is down, or the disruption budget, forbids to go on.
    pub quorum: bool,
    /// For people.
    pub message: String,
}

/// Takes the next step, if there is one to be taken now.
pub(super) async fn roll(partitions: &Partitions, key: &ObjectKey, partition: &Partition, nodes: &Nodes) -> Rolling {
    let context = &partitions.context;
    match rolling::next(nodes) {
        Step::Done => Rolling::default(),
        Step::Stop { message } => {
            Rolling { trouble: Some(Trouble::new(true, "PodsStayOutdated", message)), ..Rolling::default() }
        }
        Step::Wait { quorum, message, after } => {
            Rolling { wait: Some(Wait { quorum, message }), again: after, trouble: None }
        }
        Step::Evict { name, ordinal, uid, ready } => {
            let progress = format!("{} of {} pods are outdated", nodes.outdated(), nodes.size);
            let wait = |quorum, what: String| Some(Wait { quorum, message: format!("{progress}; {what}") });
            let set = names::set_of_partition(key).filter(|_| ready);
            let slot = set.as_ref().map(|(set, index)| {
                partitions.slots.try_acquire(set, *index, |waiting| availability::of_set(partitions, set, waiting))
            });
            // Held until the result of the eviction is recorded.
            let _slot = match slot.transpose() {
                Ok(slot) => slot,
                Err(NoSlot(again)) => {
                    // Which of them changes all the time, and the status of the set names it.
                    let wait = wait(false, "waiting for other partitions".to_owned());
                    return Rolling { wait, again: Some(again), trouble: None };
                }
            };
            match bounded(evict(context, key, &name, &uid)).await {
                Ok(_) => {
                    context.metrics.api_write("Pod", "evict");
                    tracing::info!(partition = %key, pod = name, "outdated pod evicted");
                    let is_first = partitions.states.with(key, |state| {
                        state.roll.record_eviction(ordinal, &uid, nodes.rollout.generation, Instant::now())
                    });
                    if is_first {
                        let note = format!("{progress} and are replaced one by one, beginning with {name}");
                        context.events.publish(partition, Severity::Normal, "Rolling", note);
                    }
                    let wait = wait(false, format!("waiting for pod {name} to end"));
                    Rolling { wait, again: Some(EVICTION_SHOWS), trouble: None }
                }
                // Gone, or another pod by now: the watch brings it.
                Err(error) if matches!(classify(&error), Class::Gone | Class::Conflict) => {
                    let wait = wait(false, format!("waiting for pod {name} to end"));
                    Rolling { wait, again: Some(TRY_AGAIN.1), trouble: None }
                }
                Err(error) if classify(&error) == Class::TooManyRequests => {
                    let refusal = refusal(&error);
                    let refusals = partitions.states.with(key, |state| state.roll.record_refusal());
                    let is_reported = refusals > IGNORED_REFUSALS;
                    tracing::debug!(partition = %key, pod = name, why = %refusal, "eviction refused");
                    let why = format!("pod {name} may not be evicted yet: {refusal}");
                    Rolling {
                        wait: wait(is_reported, if is_reported { why } else { format!("replacing pod {name}") }),
                        again: Some(if is_reported { TRY_AGAIN.1 } else { TRY_AGAIN.0 }),
                        trouble: None,
                    }
                }
                Err(error) => {
                    let several = matches!(&error, kube::Error::Api(status) if has_several_budgets(status));
                    let found =
                        if several { budgets::of_pod(context, &key.namespace, &name).await } else { Vec::new() };
                    let trouble = Trouble::of_eviction(&name, &error, &found);
                    Rolling { trouble: Some(trouble), ..Rolling::default() }
                }
            }
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
