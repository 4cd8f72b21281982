//! Which partitions get a changed template now, so that a bad one stops at the first that it takes down.

use std::collections::BTreeSet;
use std::time::Duration;

use super::member::{Existing, Member};
use crate::api::labels::{self, annotations};
use crate::api::{DEFAULT_COUNT, Partition, TemplateSpec};
use crate::controller::metadata::Labels;
use crate::store::Cached;
use crate::store::fields::metadata_field;

/// What a rollout holds back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Rollout {
    /// Partitions that keep their earlier template for now.
    pub held: BTreeSet<i64>,
    /// When to look again, if no event comes before: a partition counts only when it has been ready for a while.
    pub again: Option<Duration>,
    /// Whether partitions get a changed template now.
    pub changes: bool,
    /// Partitions that another controller runs with another template than the set's.
    pub left_alone: BTreeSet<i64>,
}

impl Rollout {
    /// Whether a partition keeps another template than the set's.
    pub(super) fn keeps(&self, index: i64) -> bool {
        self.held.contains(&index) || self.left_alone.contains(&index)
    }
}

/// Of the partitions 1 to `count`, those to hold back while others change. `changed` are the partitions that differ from
/// the template in a way that replaces pods; at most `most` may be unavailable for it. A partition of another
/// controller counts as available if its pods are ready.
///
/// A partition that is down is never held back: there is nothing to lose, and the change may repair it. Nor is a
/// degraded one in the middle of an earlier change: the others wait for it, so a correction has to reach it, and at most
/// `most` partitions are in that state at once. The other degraded ones change before the available ones: first those
/// whose earlier change has stalled, and then those that lack pods.
pub(super) fn hold(existing: &Existing, count: i64, changed: &[i64], most: i64) -> Rollout {
    let states = (1..=count).map(|index| (index, state(existing.partitions.get(&index))));
    let states: Vec<(i64, State)> = states.collect();
    let most = usize::try_from(most).unwrap_or_default();
    let unavailable = || states.iter().filter(|(_, state)| *state != State::Available);
    let pods = |index: &i64| existing.partitions.get(index).and_then(|member| member.pods).unwrap_or_default();
    // One that has all pods and is to replace more of them waits itself for those that are degraded.
    let waits = |index: &i64| pods(index).whole && pods(index).outdated;
    let under_way = unavailable().filter(|(index, _)| !changed.contains(index) && !waits(index)).count();
    let of = |wanted: fn(&State) -> bool| {
        let states = states.iter().filter(move |(_, state)| wanted(state));
        states.map(|(index, _)| *index).filter(|index| changed.contains(index))
    };
    let (halfway, mut degraded): (Vec<i64>, Vec<i64>) =
        of(|state| *state == State::Degraded).partition(|index| pods(index).mixed);
    degraded.sort_by_key(|index| {
        let stalled = existing.partitions.get(index).is_some_and(|member| member.stall().is_some());
        (!stalled, pods(index).whole, *index)
    });
    let degraded = degraded.into_iter().skip(most.saturating_sub(under_way + halfway.len()));
    let available = of(|state| *state == State::Available).skip(most.saturating_sub(unavailable().count()));
    let held: BTreeSet<i64> =
        degraded.chain(available).chain(of(|state| matches!(state, State::NotYetAvailable(_)))).collect();
    let not_yet = states
        .iter()
        .filter_map(|(_, state)| if let State::NotYetAvailable(left) = state { Some(*left) } else { None });
    let again = not_yet.min().filter(|_| !held.is_empty());
    Rollout { changes: changed.len() > held.len(), held, again, left_alone: BTreeSet::new() }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Available,
    /// Ready, and not for long enough yet: for so much longer.
    NotYetAvailable(Duration),
    /// Not ready, but with a majority of its pods.
    Degraded,
    Down,
}

fn state(member: Option<&Member>) -> State {
    let Some(member) = member else { return State::Down };
    if member.foreign.is_some() && member.pods.is_some_and(|pods| pods.whole) {
        return State::Available;
    }
    if member.ready_since().is_some() {
        return member.available_in.map_or(State::Available, State::NotYetAvailable);
    }
    let partition = &member.known.facts;
    let ready = partition.status.as_ref().map_or(0, |status| status.ready_replicas);
    let works = ready > partition.spec.template.size.unwrap_or(DEFAULT_COUNT) / 2;
    if works { State::Degraded } else { State::Down }
}

/// Whether bringing a partition to `wanted` replaces pods of it.
pub(super) fn replaces_pods(known: &Cached<Partition>, wanted: &Partition) -> bool {
    let labels = |partition: &Partition| {
        let metadata = partition.spec.template_metadata.as_ref();
        let mut labels = metadata.and_then(|metadata| metadata.labels.clone()).unwrap_or_default();
        // The controller's own labels are on the pods whatever the template says.
        labels.retain(|key, _| !labels::RESERVED.contains(&key.as_str()));
        labels
    };
    let ports = |annotations: Option<&Labels>| annotations?.get(annotations::MEMBER_PORTS).cloned();
    let (current, new) = (&known.facts, wanted.spec.template_metadata.as_ref());
    let new_ports = ports(new.and_then(|metadata| metadata.annotations.as_ref()));
    let same_metadata = if let Some(metadata) = &current.spec.template_metadata {
        labels(current) == labels(wanted) && ports(metadata.annotations.as_ref()) == new_ports
    } else {
        // An earlier version of this controller wrote it, and took the labels of the pods from those of the Partition.
        let has = |(key, value): (&String, &String)| known.fields.contains(metadata_field("labels", key, value));
        labels(wanted).iter().all(has) && ports(current.metadata.annotations.as_ref()) == new_ports
    };
    let of_pods = |partition: &Partition| TemplateSpec {
        ip_families: None,
        ip_family_policy: None,
        ..partition.spec.template.clone()
    };
    !same_metadata || of_pods(current) != of_pods(wanted)
}

#[cfg(test)]
#[path = "rollout_tests.rs"]
mod tests;
