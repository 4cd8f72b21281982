//! The Partition controller: one StatefulSet of Atomix nodes and what makes it reachable.

mod apply;
mod availability;
mod budgets;
mod build;
mod claims;
mod creation_failures;
mod deletion;
mod disruption_slots;
mod eviction;
mod former_address;
mod identity;
mod nodes;
mod obstacle;
mod roll_state;
mod rolling;
mod service_addresses;
mod state;
mod status;
mod transition_events;
mod verified;

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use tokio::time::Instant;

use self::apply::Applied;
pub(super) use self::availability::notify_waiting;
pub(super) use self::build::min_ready;
use self::identity::Identity;
use self::nodes::Nodes;
pub(super) use self::nodes::{PodsOf, pods_of};
use self::obstacle::Obstacle;
use self::rolling::Rolling;
pub(super) use self::state::Partitions;
pub(super) use self::status::PODS_NOT_READY;
use self::status::Seen;
use self::verified::Versions;
use super::refusals::Refusal;
use super::status_writer::{Attempt, StatusWrite};
use crate::api::labels::annotations;
use crate::api::names::{self, ObjectKey};
use crate::api::{Partition, PartitionStatus, Protocol};
use crate::events::Severity;
use crate::queue::Outcome;
use crate::store::cache::version_of;
use crate::store::{Cached, Kind};

/// How often a partition of a paused set is looked at.
const PAUSED_INTERVAL: Duration = Duration::from_secs(60);

/// Reconciles one Partition: its children, its pods, and its status.
pub(super) async fn reconcile(partitions: &Partitions, key: ObjectKey) -> Outcome {
    let set = names::set_of_partition(&key);
    if let Some((set, index)) = &set {
        partitions.slots.stop_waiting(set, *index);
    }
    let outcome = Box::pin(reconcile_partition(partitions, &key)).await;
    // Whatever the outcome, other partitions may wait for a disruption slot.
    if let Some((set, _)) = &set {
        notify_waiting(partitions, set);
    }
    outcome
}

async fn reconcile_partition(partitions: &Partitions, key: &ObjectKey) -> Outcome {
    let context = &*partitions.context;
    let Some(known) = context.caches.partitions.get(key) else {
        partitions.states.forget(key);
        partitions.statuses.forget(key);
        return Outcome::Done;
    };
    let partition = &known.facts;
    let named = partition.annotations().get(annotations::CONTROLLER);
    let ours = named.is_some_and(|named| context.settings.is_identity(named));
    if !ours {
        // Its status is not this controller's to write, and its set waits for its pods.
        context.triggers.set_of(key);
    }
    let is_deleted = || partitions.states.read(key, |state| state.deleted.as_ref() == Some(&known.uid));
    if known.deleting || !ours || is_deleted() == Some(true) {
        return Outcome::Done;
    }
    let applied = match Box::pin(bring_about(partitions, key, &known)).await {
        Ok(applied) => applied,
        Err(outcome) => return outcome,
    };
    transition_events::publish(context, partition, &applied.results);
    let rolling = if applied.pods_may_go {
        eviction::roll(partitions, key, partition, &Nodes::of(partitions, key, partition)).await
    } else {
        Rolling::default()
    };
    let has_written_something = applied.has_written_something();
    let trouble = applied.trouble.or(rolling.trouble);
    let trouble = trouble.as_ref();
    let shown = partition.status.as_ref().map_or(&[][..], |status| &status.conditions);
    if partitions.statuses.suppress_transient(key, trouble, shown) {
        return Outcome::Failed;
    }
    let nodes = Nodes::of(partitions, key, partition);
    let (obstacle, look_again) = lasting_obstacle(partitions, key, &nodes).await;
    let seen = Seen { nodes: &nodes, obstacle: obstacle.as_ref(), rolling: rolling.wait.as_ref(), trouble };
    let status = write_status(partitions, key, partition, seen).await;
    let mut available_in = None;
    if nodes.is_complete() && trouble.is_none() {
        if partitions.states.with(key, |state| state.roll.record_completion()) {
            let note = format!("all {} pods are up to date and ready", nodes.size);
            context.events.publish(partition, Severity::Normal, "Rolled", note);
        }
        available_in = eviction::available_in(partitions, key, &nodes);
    }
    // The status of the set says why that of a partition cannot be written.
    if status.is_news() || partitions.unwritten_status(key).is_some() || has_written_something {
        context.triggers.set_of(key);
    }
    let refusal = trouble.filter(|trouble| trouble.unseen);
    let refusal = refusal.map(|trouble| Refusal { reason: trouble.reason, writes: 1 });
    let again = [rolling.again, available_in, look_again].into_iter().flatten().min();
    partitions.statuses.outcome(key, &Attempt { trouble, refusal, status, again })
}

/// Writes what the objects of a partition lack of what they should be, or returns why nothing is to be looked at.
async fn bring_about(partitions: &Partitions, key: &ObjectKey, known: &Cached<Partition>) -> Result<Applied, Outcome> {
    let (context, partition) = (&*partitions.context, &known.facts);
    let identity = match Identity::of(partition) {
        Ok(identity) => identity,
        Err(trouble) => return Ok(Applied::nothing(trouble)),
    };
    let set = context.caches.sets.get(&ObjectKey::new(identity.namespace.as_str(), identity.set.as_str()));
    if set.as_ref().is_some_and(|set| set.is_paused()) {
        // Its set requests a reconciliation when it is resumed, unless the pause was too short to be seen.
        return Err(Outcome::Again(PAUSED_INTERVAL));
    }
    // As they are before anything is written: what changes meanwhile is compared anew.
    let versions = Versions::of(&context.caches, key, known);
    if versions.is_some() && partitions.states.read(key, |state| state.verified == versions) == Some(true) {
        return Ok(Applied::RIGHT);
    }
    if transition_events::was_right(partition)
        && deletion::lacks_object(&context.caches, key, partition)
        && deletion::is_gone(context, key, &known.uid).await
    {
        // The watch is about to show it.
        return Err(Outcome::Done);
    }
    let applied = apply::build_and_apply(context, partition, &identity, set.as_deref()).await;
    if applied.is_right() {
        partitions.states.with(key, |state| state.verified = versions);
    }
    Ok(applied)
}

/// What keeps a partition from having all its pods, if it has lasted for as long as it may; and when to look again.
async fn lasting_obstacle(
    partitions: &Partitions,
    key: &ObjectKey,
    nodes: &Nodes,
) -> (Option<Obstacle>, Option<Duration>) {
    let Some(mut obstacle) = obstacle::first(nodes, &key.name, Timestamp::now()) else {
        partitions.states.with(key, |state| state.obstacle.clear());
        return (None, None);
    };
    let left = partitions
        .states
        .with(key, |state| state.obstacle.remaining(obstacle.subject(), obstacle.patience, Instant::now()));
    if left.is_some() {
        return (None, left);
    }
    if !obstacle.is_missing() {
        return (Some(obstacle), None);
    }
    let context = &partitions.context;
    let uid = context.caches.stateful_sets.get(key).map(|known| known.uid.clone()).unwrap_or_default();
    let mut message = partitions.creation_failures.of(context, &key.namespace, &uid).await;
    if let (None, Some(ordinal)) = (&message, nodes.missing()) {
        let pod = format!("{}-{ordinal}", key.name);
        message = creation_failures::name_taken(context, &key.namespace, &pod, &uid).await;
    }
    obstacle.message = message.unwrap_or(obstacle.message);
    (Some(obstacle), Some(creation_failures::READ_AGAIN))
}

async fn write_status(
    partitions: &Partitions,
    key: &ObjectKey,
    partition: &Partition,
    seen: Seen<'_>,
) -> StatusWrite<Partition> {
    let context = &partitions.context;
    let image = image(partitions, partition, seen.nodes);
    let before = PartitionStatus { election: None, ..partition.status.clone().unwrap_or_default() };
    let after = status::status(partition, seen, image, &Time(Timestamp::now()));
    let urgent = status::is_urgent(&before, &after);
    let write = partitions.statuses.write(context, partition, (&before, &after), urgent).await;
    if let StatusWrite::Written(written) = &write {
        if let Some((reason, message)) = status::warning(&before, &after) {
            context.events.publish(partition, Severity::Warning, reason, message);
        }
        let version = version_of(&**written);
        context.caches.partitions.observe(key.clone(), version, Partition::clone(written).cached());
    }
    write
}

/// The image that the pods of a partition run: that of the StatefulSet, if it is there.
fn image(partitions: &Partitions, partition: &Partition, nodes: &Nodes) -> Option<String> {
    if !nodes.rollout.image.is_empty() {
        return Some(nodes.rollout.image.clone());
    }
    let spec = &partition.spec.template;
    Protocol::parse(&spec.protocol).map(|protocol| partitions.context.settings.image(spec, protocol).to_owned())
}
