//! Replacing outdated pods through the Eviction API, by which the API server itself refuses what would cost a quorum.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::Eviction;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{DeleteOptions, ObjectMeta, Preconditions};
use kube::Api;
use kube::api::PostParams;
use kube::core::Status;
use tokio::time::Instant;

use super::super::Context;
use super::super::ensure::bounded;
use super::super::trouble::Trouble;
use super::super::write_error::failed;
use super::memory::EVICTION_SHOWS;
use super::nodes::Nodes;
use super::rolling::{self, Step};
use crate::api::names::{self, ObjectKey};
use crate::api::{DEFAULT_COUNT, Partition};
use crate::api_error::{Class, classify, message};
use crate::events::Severity;

/// Refusals in a row that are not worth a word: the disruption budget learns a moment after us that a pod is ready.
const REFUSALS_UNTOLD: u32 = 4;
/// When to ask again after one of those, and after another.
const ASK_AGAIN: (Duration, Duration) = (Duration::from_millis(300), Duration::from_secs(3));

/// When to ask again for leave to give up pods, if nobody who gives theirs back tells.
const SLOT_AGAIN: Duration = Duration::from_secs(60);

/// How far the replacement of outdated pods is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Rolling {
    /// What it is waiting for, if it goes on.
    pub wait: Option<Wait>,
    /// When to look again, if no event will tell.
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
pub(super) async fn roll(context: &Context, key: &ObjectKey, partition: &Partition, nodes: &Nodes) -> Rolling {
    match rolling::next(nodes) {
        Step::Done => Rolling::default(),
        Step::Stop { message } => {
            Rolling { trouble: Some(Trouble::new(true, "PodsStayOutdated", message)), ..Rolling::default() }
        }
        Step::Wait { quorum, message, after } => {
            Rolling { wait: Some(Wait { quorum, message }), again: after, trouble: None }
        }
        Step::Evict { ready: true, .. } if !takes_slot(context, key) => {
            let message =
                format!("{} of {} pods are outdated; waiting for other partitions", nodes.outdated(), nodes.size);
            Rolling { wait: Some(Wait { quorum: false, message }), again: Some(SLOT_AGAIN), trouble: None }
        }
        Step::Evict { name, ordinal, uid, .. } => {
            let progress = format!("{} of {} pods are outdated", nodes.outdated(), nodes.size);
            let wait = |quorum, what: String| Some(Wait { quorum, message: format!("{progress}; {what}") });
            match bounded(evict(context, key, &name, &uid)).await {
                Ok(_) => {
                    context.metrics.api_write("Pod", "evict");
                    tracing::info!(partition = %key, pod = name, "outdated pod evicted");
                    if context.memory.evict(key, ordinal, &uid, nodes.rollout.generation, Instant::now()) {
                        let note = format!("{progress} and are replaced one by one, beginning with {name}");
                        context.events.publish(partition, Severity::Normal, "Rolling", note);
                    }
                    let wait = wait(false, format!("waiting for pod {name} to end"));
                    Rolling { wait, again: Some(EVICTION_SHOWS), trouble: None }
                }
                // Gone, or another pod by now: the watch will tell.
                Err(error) if matches!(classify(&error), Class::Gone | Class::Conflict) => {
                    let wait = wait(false, format!("waiting for pod {name} to end"));
                    Rolling { wait, again: Some(ASK_AGAIN.1), trouble: None }
                }
                Err(error) if classify(&error) == Class::TooManyRequests => {
                    let refusal = message(&error);
                    let told = context.memory.refuse(key) > REFUSALS_UNTOLD;
                    tracing::debug!(partition = %key, pod = name, message = %refusal, "eviction refused");
                    let why = format!("pod {name} may not be evicted yet: {refusal}");
                    Rolling {
                        wait: wait(told, if told { why } else { format!("replacing pod {name}") }),
                        again: Some(if told { ASK_AGAIN.1 } else { ASK_AGAIN.0 }),
                        trouble: None,
                    }
                }
                Err(error) => {
                    let trouble = Trouble::from(failed("Pod", &name, &error));
                    Rolling { trouble: Some(trouble), ..Rolling::default() }
                }
            }
        }
    }
}

/// Takes leave to give up pods of a partition, if not too many partitions of its set do.
fn takes_slot(context: &Context, key: &ObjectKey) -> bool {
    let Some((set, index)) = names::set_of_partition(key) else { return true };
    let most = context.caches.sets.get(&set).and_then(|set| set.spec.max_unavailable_partitions);
    let most = usize::try_from(most.unwrap_or(DEFAULT_COUNT)).unwrap_or(1);
    context.slots.take(&set, index, most, || {
        let partitions = context.caches.partitions.with_prefix(&set.namespace, &format!("{}-", set.name));
        let broken = partitions.iter().filter(|(_, known)| !is_whole(&known.facts));
        let named = broken.filter_map(|(name, _)| names::split_partition(name));
        named.filter(|(of, _)| *of == set.name).map(|(_, index)| index).collect()
    })
}

/// Whether all pods of a partition are ready, as far as its status says.
fn is_whole(partition: &Partition) -> bool {
    let ready = partition.status.as_ref().map_or(0, |status| status.ready_replicas);
    ready >= partition.spec.template.size.unwrap_or(DEFAULT_COUNT)
}

/// Takes in that all pods of a partition are up to date and ready. Returns how long it keeps its leave to give up pods
/// until they have been ready for long enough.
pub(super) fn complete(context: &Context, key: &ObjectKey, nodes: &Nodes) -> Option<Duration> {
    let young = rolling::youngest(nodes).map(|(_, missing)| missing);
    if young.is_some() && names::set_of_partition(key).is_some_and(|(set, index)| context.slots.holds(&set, index)) {
        return young;
    }
    give_slot_back(context, key);
    None
}

/// Lets another partition of the set give up pods in place of this one.
pub(super) fn give_slot_back(context: &Context, key: &ObjectKey) {
    let Some((set, index)) = names::set_of_partition(key) else { return };
    if let Some(next) = context.slots.give_back(&set, index) {
        context.partitions.now(ObjectKey::new(key.namespace.as_str(), names::partition(&set.name, next)));
    }
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
