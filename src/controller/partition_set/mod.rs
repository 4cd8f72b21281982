//! The PartitionSet controller: the Partitions of a group, and the one name under which clients find them all.

mod apply;
mod build;
mod endpoints;
mod gather;
mod immutable;
mod member;
mod plan;
mod rollout;
mod state;
mod status;
mod transition_events;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;

use self::apply::Applied;
use self::rollout::Rollout;
pub(super) use self::state::Sets;
use super::partition;
use super::status_writer::{Attempt, StatusWrite};
use super::trouble::Trouble;
use crate::api::PartitionSet;
use crate::api::conditions::PAUSED;
use crate::api::labels::annotations;
use crate::api::names::ObjectKey;
use crate::queue::Outcome;
use crate::rules::{SetObject, judge};
use crate::store::cache::version_of;
use crate::store::cached::slim;

/// Reconciles one PartitionSet: its Partitions, the endpoints of its group, and its status.
pub(super) async fn reconcile(sets: &Sets, key: ObjectKey) -> Outcome {
    let context = &*sets.context;
    let Some(set) = context.caches.sets.get(&key) else {
        sets.states.forget(&key);
        sets.statuses.forget(&key);
        return Outcome::Done;
    };
    if set.metadata.deletion_timestamp.is_some() {
        return Outcome::Done;
    }
    let existing = gather::existing(sets, &key, &set);
    let is_handed_over = existing.is_run_by_another();
    let may_report = sets.states.with(&key, |state| {
        state.is_own |= !is_handed_over;
        state.may_report(&set)
    });
    if !may_report {
        tracing::debug!(set = %key, "another controller runs this set: it is left alone");
        return Outcome::Done;
    }
    let mut object = SetObject::from(&*set);
    let kept = immutable::keep(&mut object, &existing);
    let violations = judge::stored(&mut object);
    let Applied { trouble, failed, refusal, rollout } = if set.is_paused() {
        let message = format!("the annotation {} is set: nothing is written for this set", annotations::PAUSED);
        Applied::nothing(Trouble::new(false, PAUSED, message))
    } else if violations.is_empty() && is_handed_over {
        Applied::left_alone(plan::plan(&set, &object, &existing, &context.settings))
    } else if violations.is_empty() {
        resume(sets, &key, &set);
        apply::apply(sets, &key, &set, &object, &existing, kept).await
    } else {
        Applied::nothing(violations.into())
    };
    partition::notify_waiting(&sets.partitions, &key);
    let failure = trouble.as_ref().filter(|_| failed);
    let shown = set.status.as_ref().map_or(&[][..], |status| &status.conditions);
    if sets.statuses.suppress_transient(&key, failure, shown) {
        return Outcome::Failed;
    }
    let status = write_status(sets, &key, &set, &object, rollout.as_ref(), trouble.as_ref()).await;
    if is_handed_over && matches!(status, StatusWrite::Written(_)) {
        sets.states.with(&key, |state| state.is_own = false);
    }
    let again = rollout.and_then(|rollout| rollout.again);
    sets.statuses.outcome(&key, &Attempt { trouble: failure, refusal, status, again })
}

/// Partitions of a set that was paused have missed what happened meanwhile.
fn resume(sets: &Sets, key: &ObjectKey, set: &PartitionSet) {
    let conditions = set.status.iter().flat_map(|status| &status.conditions);
    if conditions.into_iter().any(|condition| condition.reason == PAUSED) {
        let Sets { context, .. } = sets;
        for (_, partition, _) in context.caches.partitions_of(key) {
            context.triggers.partitions.now(partition);
        }
    }
}

async fn write_status(
    sets: &Sets,
    key: &ObjectKey,
    set: &PartitionSet,
    object: &SetObject,
    rollout: Option<&Rollout>,
    trouble: Option<&Trouble>,
) -> StatusWrite<PartitionSet> {
    let context = &sets.context;
    let before = set.status.clone().unwrap_or_default();
    let existing = gather::existing(sets, key, set);
    let after = status::status(set, object, &existing, rollout, trouble, &Time(Timestamp::now()));
    let urgent = status::is_urgent(&before, &after);
    let write = sets.statuses.write(context, set, (&before, &after), urgent).await;
    if let StatusWrite::Written(written) = &write {
        for (severity, reason, note) in transition_events::of_status(&before, &after) {
            context.events.publish(set, severity, reason, note);
        }
        let version = version_of(&**written);
        context.caches.sets.observe(key.clone(), version, slim(PartitionSet::clone(written)));
    }
    write
}
