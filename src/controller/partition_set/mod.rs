//! The PartitionSet controller: the Partitions of a group, and the one name under which clients find them all.

mod build;
mod endpoints;
mod handover;
mod immutable;
mod news;
mod plan;
mod removed;
mod rollout;
mod status;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::future;
use futures::stream::{self, StreamExt};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::{Api, ResourceExt};
use tokio::time::Instant;

pub use self::build::slice_name;
pub use self::handover::OwnSets;
use self::plan::{Existing, Member, Plan};
pub use self::removed::RemovedPartitions;
use self::rollout::Rollout;
use self::status::ROLLING_OUT;
use super::caches;
use super::context::{Context, Written};
use super::ensure::{Done, bounded};
use super::first_seen::Now;
use super::partition::{min_ready, pods_of};
use super::refusals::Refusal;
use super::trouble::Trouble;
use super::write_error::{Error, failed};
use crate::api::conditions::{self, READY};
use crate::api::labels::annotations;
use crate::api::names::{self, ObjectKey};
use crate::api::{Partition, PartitionSet, Protocol};
use crate::events::Severity;
use crate::queue::Outcome;
use crate::rules::SetObject;
use crate::rules::judge;
use crate::store::watch::version_of;

/// How long a change of a child waits for more of them before its owner is reconciled.
pub const CHILD_DELAY: Duration = Duration::from_millis(20);
/// How long a change of a partition waits for more of them before its set is reconciled.
pub const PARTITION_DELAY: Duration = Duration::from_millis(50);
/// Partitions of one set that are written at the same time.
const CONCURRENT_WRITES: usize = 8;
/// Address families, as EndpointSlices name them.
const FAMILIES: [&str; 2] = ["IPv4", "IPv6"];
/// Reason of the conditions of a set for which nothing is written.
const PAUSED: &str = "Paused";

/// Whether the user has asked that nothing be written for the set.
#[must_use]
pub fn is_paused(set: &PartitionSet) -> bool {
    set.annotations().get(annotations::PAUSED).is_some_and(|value| value == "true")
}

/// Brings the Partitions and the group's endpoints of one PartitionSet to what it says, and its status to what is true.
pub async fn reconcile(context: &Context, key: ObjectKey) -> Outcome {
    let Some(set) = context.caches.sets.get(&key) else {
        context.pacing.forget(&key);
        context.refused_sets.record(&key, None, &context.sets);
        context.ready_partitions.forget(&key);
        context.own_sets.forget(&key);
        return Outcome::Done;
    };
    if set.metadata.deletion_timestamp.is_some() {
        return Outcome::Done;
    }
    let existing = gather(context, &key, &set);
    let is_handed_over = plan::is_run_by_another(&existing);
    if !is_handed_over {
        context.own_sets.record(&key);
    } else if !context.own_sets.may_report(&key, &set) {
        tracing::debug!(set = %key, "another controller runs this set: it is left alone");
        return Outcome::Done;
    }
    let mut object = SetObject::from(&*set);
    let kept = immutable::keep(&mut object, &existing);
    let violations = judge::stored(&mut object);
    let Applied { trouble, failed, refusal, rollout } = if is_paused(&set) {
        let message = format!("the annotation {} is set: nothing is written for this set", annotations::PAUSED);
        Applied::nothing(Trouble::new(false, PAUSED, message))
    } else if violations.is_empty() && is_handed_over {
        Applied::left_alone(plan::plan(&set, &object, &existing, &context.settings))
    } else if violations.is_empty() {
        resume(context, &key, &set);
        apply(context, &key, &set, &object, &existing, kept).await
    } else {
        Applied::nothing(violations.into())
    };
    context.permits.wake(context, &key);
    let fleeting = failed && trouble.as_ref().is_some_and(Trouble::is_fleeting);
    if context.pacing.hush(&key, fleeting) {
        tracing::debug!(set = %key, ?trouble, "trying again");
        return Outcome::Failed;
    }
    if let Some(trouble) = trouble.as_ref().filter(|_| failed) {
        if trouble.is_silent() {
            tracing::debug!(set = %key, "the namespace is being deleted: nothing is written");
            return Outcome::Failed;
        }
        let shown = set.status.as_ref().map_or(&[][..], |status| &status.conditions);
        if !trouble.is_shown(shown) {
            tracing::info!(set = %key, reason = trouble.reason, why = trouble.message, "set cannot be completed yet");
        }
    }
    let written = write_status(context, &key, &set, &object, rollout.as_ref(), trouble.as_ref()).await;
    if is_handed_over && written == Written::Yes {
        context.own_sets.forget(&key);
    }
    let unwritten = context.unwritten.refusal(set.metadata.uid.as_deref().unwrap_or_default());
    let refused = context.refused_sets.record(&key, refusal.or(unwritten), &context.sets);
    if let Some(wait) = written.later().filter(|_| failed) {
        // The back-off may last far longer than the status may lag.
        context.sets.after(key.clone(), wait);
    }
    if written == Written::Failed && unwritten.is_none() {
        return Outcome::Failed;
    }
    if failed || unwritten.is_some() {
        let again = trouble.and_then(|trouble| trouble.again).map_or(Outcome::Failed, Outcome::Again);
        return refused.map_or(again, Outcome::Refused);
    }
    let again = rollout.and_then(|rollout| rollout.again);
    written.later().into_iter().chain(again).min().map_or(Outcome::Done, Outcome::Again)
}

/// What came of bringing a set to what it says.
struct Applied {
    trouble: Option<Trouble>,
    /// Whether something did not succeed that may succeed when it is tried again.
    failed: bool,
    /// What of that the API server refuses until something changes that no watch shows.
    refusal: Option<Refusal>,
    /// None if it was not looked at what the set consists of.
    rollout: Option<Rollout>,
}

impl Applied {
    fn nothing(trouble: Trouble) -> Self {
        Self { trouble: Some(trouble), failed: false, refusal: None, rollout: None }
    }

    /// Of a set that another controller runs.
    fn left_alone(plan: Plan) -> Self {
        Self { trouble: Trouble::first(plan.refused), failed: false, refusal: None, rollout: Some(plan.rollout) }
    }
}

/// Partitions of a set that was paused have missed what happened meanwhile.
fn resume(context: &Context, key: &ObjectKey, set: &PartitionSet) {
    let conditions = set.status.iter().flat_map(|status| &status.conditions);
    if conditions.into_iter().any(|condition| condition.reason == PAUSED) {
        for (name, _) in context.caches.partitions.with_prefix(&key.namespace, &format!("{}-", key.name)) {
            context.partitions.now(ObjectKey::new(key.namespace.as_str(), name));
        }
    }
}

/// What exists of a set, read off the caches.
fn gather(context: &Context, key: &ObjectKey, set: &PartitionSet) -> Existing {
    let uid = set.uid().unwrap_or_default();
    let partitions = context.caches.partitions.with_prefix(&key.namespace, &format!("{}-", key.name));
    let partitions = partitions.into_iter().filter_map(|(name, known)| {
        let (prefix, index) = names::split_partition(&name)?;
        let ours = known.owner.as_ref().is_some_and(|owner| owner.uid == uid);
        (ours && prefix == key.name).then(|| {
            let service = context.caches.services.get(&ObjectKey::new(key.namespace.as_str(), name.as_str()));
            let service = service.filter(|service| {
                !service.deleting && service.owner.as_ref().is_some_and(|owner| owner.uid == known.uid)
            });
            let addresses = service.map(|service| service.facts.clone()).unwrap_or_default();
            let foreign = plan::foreign(&known.facts, &context.settings);
            let unwritten = context.unwritten.why(&known.uid);
            (index, Member { addresses, known, counts_in: None, pods: None, foreign, unwritten })
        })
    });
    let mut partitions: BTreeMap<i64, Member> = partitions.collect();
    let ready: Vec<_> =
        partitions.values().map(|member| (member.known.uid.as_str(), status::ready_since(member))).collect();
    let min_ready = Protocol::parse(&set.spec.template.spec.protocol).map(min_ready).unwrap_or_default();
    let remaining = context.ready_partitions.remaining(key, min_ready, &ready, Now::read());
    for ((index, member), remaining) in partitions.iter_mut().zip(remaining) {
        member.counts_in = remaining;
        let partition = ObjectKey::new(key.namespace.as_str(), names::partition(&key.name, *index));
        let is_reported = member.foreign.is_none() && member.unwritten.is_none();
        if !is_reported || status::ready_since(member).is_none() && was_changed(context, &partition) {
            member.pods = Some(pods_of(context, &partition, &member.known.facts));
        }
    }
    let published = FAMILIES.map(|family| {
        let slice = context.caches.endpoint_slices.get(&slice_key(key, family));
        let slice = slice.filter(|slice| slice.owner.as_ref().is_some_and(|owner| owner.uid == uid));
        (family, slice.map(|slice| slice.facts.clone()).unwrap_or_default())
    });
    Existing { partitions, published: published.into() }
}

/// Whether the template of a partition's pods has been changed since they were first made.
fn was_changed(context: &Context, partition: &ObjectKey) -> bool {
    context.caches.stateful_sets.get(partition).is_some_and(|known| known.facts.generation > 1)
}

fn slice_key(set: &ObjectKey, family: &str) -> ObjectKey {
    ObjectKey::new(set.namespace.as_str(), slice_name(&set.name, family))
}

/// Whether the user does not want by now what is being written.
fn is_over(context: &Context, key: &ObjectKey, set: &PartitionSet) -> bool {
    context.caches.sets.get(key).is_none_or(|known| {
        known.metadata.deletion_timestamp.is_some() || known.metadata.uid != set.metadata.uid || is_paused(&known)
    })
}

/// Writes what has to be written: what a new partition needs before the group's endpoints name it, and the endpoints
/// before a partition goes that they name.
async fn apply(
    context: &Context,
    key: &ObjectKey,
    set: &PartitionSet,
    object: &SetObject,
    existing: &Existing,
    kept: Option<Trouble>,
) -> Applied {
    let Plan { group_service, partitions, endpoints, surplus, rollout, refused } =
        plan::plan(set, object, existing, &context.settings);
    let (writer, caches) = (&context.writer, &*context.caches);
    let group_service = writer.ensure(&group_service, &caches.group_services);
    let goes_on = &AtomicBool::new(true);
    let partitions = stream::iter(partitions)
        .take_while(|_| future::ready(goes_on.load(Ordering::Relaxed) && !is_over(context, key, set)))
        .map(|partition| async move {
            let done = writer.ensure(&partition, &caches.partitions).await;
            // Also if it was right already: what has just been read need not have been told by the watch.
            if done.is_ok() {
                context.partitions.now(ObjectKey::new(key.namespace.as_str(), partition.object.name_any()));
            }
            // What has no room, or no place, for one has none for the next.
            if matches!(done, Err(Error::Quota { .. } | Error::NamespaceEnds)) {
                goes_on.store(false, Ordering::Relaxed);
            }
            (partition.object, done)
        })
        .buffer_unordered(CONCURRENT_WRITES)
        .collect::<Vec<_>>();
    let (group_service, partitions) = tokio::join!(group_service, partitions);
    tell(context, set, &partitions, &rollout);
    let mut troubles: Vec<Trouble> = Vec::new();
    if !is_over(context, key, set) {
        let published = match (&group_service, endpoints) {
            (Err(Error::Collision { .. }), _) => {
                endpoints::withdraw(context, key, set).await.err().into_iter().collect()
            }
            (_, Some(wanted)) => endpoints::publish(context, key, set, wanted).await,
            (_, None) if status::is_stuck(existing) => endpoints::collisions(context, set, existing).await,
            (_, None) => Vec::new(),
        };
        troubles.extend(published.into_iter().map(Trouble::from));
        troubles.extend(endpoints::foreign_slices(context, key, group_service.is_ok()).await);
    }
    troubles.extend(group_service.err().map(Trouble::from));
    troubles.extend(partitions.into_iter().filter_map(|(_, done)| done.err()).map(Trouble::from));
    troubles.extend(remove(context, key, set, existing, &surplus).await.err().map(Trouble::from));
    let failed = !troubles.is_empty();
    let unseen = || troubles.iter().filter(|trouble| trouble.unseen);
    let count = u32::try_from(unseen().count()).unwrap_or(u32::MAX);
    let refusal = unseen().next().map(|first| Refusal { reason: first.reason, writes: count });
    let trouble = Trouble::first(kept.into_iter().chain(refused).chain(troubles).collect());
    Applied { trouble, failed, refusal, rollout: Some(rollout) }
}

/// Deletes partitions that the set has no longer, as soon as no endpoints name them. The set is read before each of
/// them: what it says by now counts, and not what it said when this began.
async fn remove(
    context: &Context,
    key: &ObjectKey,
    set: &PartitionSet,
    existing: &Existing,
    surplus: &[i64],
) -> Result<(), Error> {
    let sets: Api<PartitionSet> = Api::namespaced(context.client.clone(), &key.namespace);
    for index in surplus {
        let Some(member) = existing.partitions.get(index) else { continue };
        let partition = ObjectKey::new(key.namespace.as_str(), names::partition(&key.name, *index));
        if endpoints::name(context, key, set, &partition.name) {
            continue;
        }
        let current = match bounded(sets.get_opt(&key.name)).await {
            Ok(current) => current.filter(|current| current.metadata.uid == set.metadata.uid),
            Err(error) => return Err(failed("PartitionSet", &key.name, &error)),
        };
        let current = current.filter(|current| current.metadata.deletion_timestamp.is_none() && !is_paused(current));
        if !current.is_some_and(|current| plan::may_go(&SetObject::from(&current), *index, member)) {
            return Ok(());
        }
        // Nothing of it is made anew from here on, also if the answer does not arrive.
        context.removed.record(partition.clone(), member.known.uid.clone());
        if let Err(error) = context.writer.delete::<Partition>(&partition, &member.known.uid).await {
            context.removed.forget(&partition);
            return Err(error);
        }
        let note = format!("Partition {} is deleted: the set has fewer partitions now", partition.name);
        context.events.publish(set, Severity::Normal, "PartitionRemoved", note);
    }
    Ok(())
}

fn tell(context: &Context, set: &PartitionSet, partitions: &[(Partition, Result<Done, Error>)], rollout: &Rollout) {
    let did = |wanted: Done| {
        let done = partitions.iter().filter(move |(_, done)| matches!(done, Ok(done) if *done == wanted));
        done.map(|(partition, _)| partition.name_any()).collect::<Vec<_>>()
    };
    for (done, reason, verb) in [
        (Done::Created, "PartitionsCreated", "created"),
        (Done::Replaced, "PartitionsUpdated", "brought up to date"),
        (Done::Adopted, "PartitionsAdopted", "without an owner adopted"),
    ] {
        let mut names = did(done);
        if names.is_empty() {
            continue;
        }
        names.sort_by_key(|name| names::split_partition(name).map(|(_, index)| index));
        let listed = if names.len() > 10 {
            format!("{}, ... {}", names[..3].join(", "), names[names.len() - 1])
        } else {
            names.join(", ")
        };
        let plural = if names.len() == 1 { "" } else { "s" };
        let note = format!("{} partition{plural} {verb}: {listed}", names.len());
        tracing::info!(set = %set.name_any(), namespace = set.namespace(), reason, note, "partitions written");
        // A rollout goes through them one after the other: its beginning and its end are told.
        if done == Done::Replaced && (!rollout.held.is_empty() || rollout.changes || was_rolling_out(set)) {
            continue;
        }
        context.events.publish(set, Severity::Normal, reason, note);
    }
}

fn was_rolling_out(set: &PartitionSet) -> bool {
    let ready = set.status.as_ref().and_then(|status| conditions::find(&status.conditions, READY));
    ready.is_some_and(|ready| ready.reason == ROLLING_OUT)
}

async fn write_status(
    context: &Context,
    key: &ObjectKey,
    set: &Arc<PartitionSet>,
    object: &SetObject,
    rollout: Option<&Rollout>,
    trouble: Option<&Trouble>,
) -> Written {
    let before = set.status.clone().unwrap_or_default();
    let existing = gather(context, key, set);
    let status = status::status(set, object, &existing, rollout, trouble, &Time(Timestamp::now()));
    if status == before {
        context.unwritten.record(set.metadata.uid.as_deref().unwrap_or_default(), None);
        return Written::No;
    }
    if let Err(wait) = context.pacing.admit(key, status::is_urgent(&before, &status), Instant::now()) {
        return Written::Later(wait);
    }
    match context.patch_status(&**set, &status).await {
        Ok(Some(written)) => {
            for (severity, reason, note) in news::news(&before, &status) {
                context.events.publish(&**set, severity, reason, note);
            }
            let version = version_of(&written);
            context.pacing.written(key);
            context.caches.sets.observe(key.clone(), version, caches::slim(written));
            Written::Yes
        }
        Ok(None) => Written::Later(context.pacing.refused(key)),
        Err(error) => {
            tracing::warn!(set = %key, %error, "status not written, trying again");
            context.pacing.refused(key);
            Written::Failed
        }
    }
}
