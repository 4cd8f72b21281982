//! The partitions of a set as disruption slots see them.

use std::collections::BTreeMap;

use kube::ResourceExt;

use super::disruption_slots::{Demand, OfSet, SetState, State};
use super::nodes::Nodes;
use super::rolling;
use super::state::Partitions;
use super::transition_events;
use crate::api::labels::annotations;
use crate::api::names::{self, ObjectKey};
use crate::api::{DEFAULT_COUNT, Partition};
use crate::store::Cached;

/// The partitions of a set, as the caches have them.
pub(super) fn of_set(partitions: &Partitions, set: &ObjectKey, OfSet { evicting, waiting }: &OfSet) -> SetState {
    let caches = &partitions.context.caches;
    let limit = caches.sets.get(set).and_then(|set| set.spec.max_unavailable_partitions).unwrap_or(DEFAULT_COUNT);
    let lasting = caches.partitions_of(set).into_iter().filter(|(.., known)| !known.deleting);
    let states = lasting.map(|(index, key, known)| {
        let nodes = Nodes::of(partitions, &key, &known.facts);
        let named = known.facts.annotations().get(annotations::CONTROLLER);
        let ours = named.is_none_or(|named| partitions.context.settings.is_identity(named));
        (index, state(&nodes, &known, (ours, evicting.contains(&index), waiting.contains(&index))))
    });
    SetState { partitions: states.collect::<BTreeMap<_, _>>(), limit: usize::try_from(limit).unwrap_or(1) }
}

/// One that another controller runs counts as long as pods of it are down, and has no other claim.
fn state(nodes: &Nodes, known: &Cached<Partition>, (ours, evicting, waiting): (bool, bool, bool)) -> State {
    let whole = nodes.is_whole();
    if !ours {
        return State { whole, evicting, ..State::default() };
    }
    let has_demand = nodes.outdated() > 0 && (waiting || !transition_events::is_obstructed(&known.facts));
    let demand = if nodes.is_mixed() { Demand::ToGoOn } else { Demand::ToBegin };
    State {
        whole,
        evicting,
        available_in: rolling::last_available(nodes).map(|(_, left)| left),
        demand: has_demand.then_some(demand),
    }
}

/// Requests the reconciliation of those partitions of `set` that wait for a slot and would acquire one now.
pub(crate) fn notify_waiting(partitions: &Partitions, set: &ObjectKey) {
    for index in partitions.slots.acquirable(set, |waiting| of_set(partitions, set, waiting)) {
        let partition = ObjectKey::new(set.namespace.as_str(), names::partition(&set.name, index));
        partitions.context.triggers.partitions.now(partition);
    }
}
