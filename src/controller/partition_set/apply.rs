//! Writes the objects of a set.

use std::sync::atomic::{AtomicBool, Ordering};

use futures::future;
use futures::stream::{self, StreamExt};
use kube::{Api, ResourceExt};

use super::member::Existing;
use super::plan::{self, Plan};
use super::rollout::Rollout;
use super::state::Sets;
use super::{endpoints, transition_events};
use crate::api::names::{self, ObjectKey};
use crate::api::{Partition, PartitionSet};
use crate::controller::context::Context;
use crate::controller::refusals::Refusal;
use crate::controller::trouble::Trouble;
use crate::controller::writer::bounded;
use crate::events::Severity;
use crate::rules::SetObject;

/// Partitions of one set that are written at the same time.
const CONCURRENT_WRITES: usize = 8;

/// What came of bringing a set to what it says.
pub(super) struct Applied {
    pub(super) trouble: Option<Trouble>,
    /// Whether something did not succeed that may succeed when it is tried again.
    pub(super) failed: bool,
    /// What of that the API server refuses until something changes that no watch shows.
    pub(super) refusal: Option<Refusal>,
    /// None if it was not looked at what the set consists of.
    pub(super) rollout: Option<Rollout>,
}

impl Applied {
    pub(super) fn nothing(trouble: Trouble) -> Self {
        Self { trouble: Some(trouble), failed: false, refusal: None, rollout: None }
    }

    /// Of a set that another controller runs.
    pub(super) fn left_alone(plan: Plan) -> Self {
        Self { trouble: Trouble::first(plan.refused), failed: false, refusal: None, rollout: Some(plan.rollout) }
    }
}

/// Whether the user does not want by now what is being written.
fn is_over(context: &Context, key: &ObjectKey, set: &PartitionSet) -> bool {
    context.caches.sets.get(key).is_none_or(|known| {
        known.metadata.deletion_timestamp.is_some() || known.metadata.uid != set.metadata.uid || known.is_paused()
    })
}

/// Writes what has to be written: what a new partition needs before the group's endpoints name it, and the endpoints
/// before a partition goes that they name.
pub(super) async fn apply(
    sets: &Sets,
    key: &ObjectKey,
    set: &PartitionSet,
    object: &SetObject,
    existing: &Existing,
    kept: Option<Trouble>,
) -> Applied {
    let Plan { group_service, partitions, endpoints, surplus, rollout, refused } =
        plan::plan(set, object, existing, &sets.context.settings);
    let (context, writer) = (&*sets.context, &sets.context.writer);
    let group_service = writer.ensure(&group_service);
    let goes_on = &AtomicBool::new(true);
    let partitions = stream::iter(partitions)
        .take_while(|_| future::ready(goes_on.load(Ordering::Relaxed) && !is_over(context, key, set)))
        .map(|partition| async move {
            let done = writer.ensure(&partition).await;
            // Also if it was right already: the watch need not have brought what has just been read.
            if done.is_ok() {
                context.triggers.partitions.now(ObjectKey::new(key.namespace.as_str(), partition.object.name_any()));
            }
            // A quota, or a namespace that is being deleted, refuses the next one as well.
            if done.as_ref().err().is_some_and(Trouble::concerns_namespace) {
                goes_on.store(false, Ordering::Relaxed);
            }
            (partition.object, done)
        })
        .buffer_unordered(CONCURRENT_WRITES)
        .collect::<Vec<_>>();
    let (group_service, partitions) = tokio::join!(group_service, partitions);
    transition_events::publish_writes(context, set, &partitions, &rollout);
    let mut troubles: Vec<Trouble> = Vec::new();
    if !is_over(context, key, set) {
        let published = match (&group_service, endpoints) {
            (Err(error), _) if error.is_collision() => {
                endpoints::withdraw(context, key, set).await.err().into_iter().collect()
            }
            (_, Some(wanted)) => endpoints::publish(context, key, set, wanted).await,
            (_, None) if existing.is_stuck() => endpoints::collisions(context, set, existing).await,
            (_, None) => Vec::new(),
        };
        troubles.extend(published);
        troubles.extend(endpoints::foreign_slices(context, key, group_service.is_ok()).await);
    }
    troubles.extend(group_service.err());
    troubles.extend(partitions.into_iter().filter_map(|(_, done)| done.err()));
    troubles.extend(remove(sets, key, set, existing, &surplus).await.err());
    let failed = !troubles.is_empty();
    let unseen = || troubles.iter().filter(|trouble| trouble.unseen);
    let count = u32::try_from(unseen().count()).unwrap_or(u32::MAX);
    let refusal = unseen().next().map(|first| Refusal { reason: first.reason, writes: count });
    let trouble = Trouble::first(kept.into_iter().chain(refused).chain(troubles).collect());
    Applied { trouble, failed, refusal, rollout: Some(rollout) }
}

/// Deletes partitions that the set no longer has, once no endpoints name them. The set is read before each deletion, so
/// that an edit in the meantime counts.
async fn remove(
    sets: &Sets,
    key: &ObjectKey,
    set: &PartitionSet,
    existing: &Existing,
    surplus: &[i64],
) -> Result<(), Trouble> {
    let context = &sets.context;
    let api: Api<PartitionSet> = Api::namespaced(context.client.clone(), &key.namespace);
    for index in surplus {
        let Some(member) = existing.partitions.get(index) else { continue };
        let partition = ObjectKey::new(key.namespace.as_str(), names::partition(&key.name, *index));
        if endpoints::name(context, key, set, &partition.name) {
            continue;
        }
        let current = match bounded(api.get_opt(&key.name)).await {
            Ok(current) => current.filter(|current| current.metadata.uid == set.metadata.uid),
            Err(error) => return Err(Trouble::of_write("PartitionSet", &key.name, &error)),
        };
        let current = current.filter(|current| current.metadata.deletion_timestamp.is_none() && !current.is_paused());
        if !current.is_some_and(|current| plan::may_go(&SetObject::from(&current), *index, member)) {
            return Ok(());
        }
        // Nothing of it is made anew from here on, also if the answer does not arrive.
        sets.partitions.record_deletion(&partition, Some(&member.known.uid));
        if let Err(error) = context.writer.delete::<Partition>(&partition, &member.known.uid).await {
            sets.partitions.record_deletion(&partition, None);
            return Err(error);
        }
        let note = format!("Partition {} is deleted: the set has fewer partitions now", partition.name);
        context.events.publish(set, Severity::Normal, "PartitionRemoved", note);
    }
    Ok(())
}
