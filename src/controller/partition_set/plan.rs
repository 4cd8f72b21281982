//! What a set should consist of, as a function of the set and of what exists.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Endpoints;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::ResourceExt;

use super::build;
use super::member::{Existing, Member};
use super::rollout::{self, Rollout};
use crate::api::labels::annotations;
use crate::api::names::ADDRESS_FAMILIES;
use crate::api::{DEFAULT_COUNT, Partition, PartitionSet, names};
use crate::controller::desired::Desired;
use crate::controller::settings::Settings;
use crate::controller::trouble::{NAMED, Trouble};
use crate::rules::{Consent, SetObject};
use crate::store::GroupService;
use crate::text::listed;

/// Reason of a set some of whose Partitions name another controller.
pub(super) const ANOTHER_CONTROLLER: &str = "AnotherController";

/// What has to be true of a set, in the order of the fields.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// The Service under whose name the partitions are found.
    pub group_service: Desired<GroupService>,
    /// The partitions to bring to what the set says now, but for the template of those that are held back; those that are
    /// so already are left out.
    pub partitions: Vec<Desired<Partition>>,
    /// Where the partitions are reached. None while a partition has no address: a client picks a partition by the number
    /// of addresses, so a partial list must never be published.
    pub endpoints: Option<GroupEndpoints>,
    /// Partitions that the set has no longer, the highest first: to be deleted once no endpoints name them.
    pub surplus: Vec<i64>,
    /// Partitions that keep an earlier template until others are ready again.
    pub rollout: Rollout,
    /// Edits of the set that are not carried out, with the reason.
    pub refused: Vec<Trouble>,
}

/// The endpoints of a group in both forms.
#[derive(Clone, Debug)]
pub(super) struct GroupEndpoints {
    /// One for each address family.
    pub slices: Vec<Desired<EndpointSlice>>,
    /// The same for readers of core/v1 Endpoints, if they are wanted.
    pub legacy: Option<Desired<Endpoints>>,
    /// Names of slices of families in which the partitions have no addresses any more.
    pub stale_slices: Vec<String>,
}

/// The plan for `set`, of which `object` is the form with its defaults and with what cannot change as it was.
pub(super) fn plan(set: &PartitionSet, object: &SetObject, existing: &Existing, settings: &Settings) -> Plan {
    let asked = object.spec.partitions.unwrap_or(DEFAULT_COUNT);
    let highest = existing.partitions.keys().next_back().copied().unwrap_or_default();
    // Only while the webhook is away can a set shrink without the user's consent. Then nothing is destroyed.
    let mut surplus = existing.partitions.range(asked.saturating_add(1)..);
    let refused = surplus.any(|(index, member)| !may_go(object, *index, member)).then(|| {
        let message = format!(
            "spec.partitions is {asked} and {highest} partitions exist; removing them destroys their data: to agree, set the annotation {}: \"{}\"",
            annotations::ALLOW_PARTITION_REMOVAL,
            Consent { count: asked, generation: object.generation.unwrap_or_default() }
        );
        Trouble::new(true, "PartitionRemovalNotAllowed", message)
    });
    let count = if refused.is_some() { highest } else { asked };
    let template = build::PartitionTemplate::new(set, object, settings);
    let differs = |index: &i64| {
        let member = existing.partitions.get(index);
        let right = member.is_some_and(|member| {
            member.foreign.is_some() || (!member.known.deleting && template.is_met_by(*index, &member.known))
        });
        !right
    };
    let outdated: Vec<(i64, Desired<Partition>)> =
        (1..=count).filter(differs).map(|index| (index, template.partition(index))).collect();
    let replaced = outdated.iter().filter(|(index, wanted)| {
        let member = existing.partitions.get(index);
        member.is_some_and(|member| rollout::replaces_pods(&member.known, &wanted.object))
    });
    let replaced: Vec<i64> = replaced.map(|(index, _)| *index).collect();
    let most = object.spec.max_unavailable_partitions.unwrap_or(DEFAULT_COUNT);
    let mut rollout = rollout::hold(existing, count, &replaced, most);
    let keeps = |(index, member): (&i64, &Member)| {
        member.foreign.is_some() && rollout::replaces_pods(&member.known, &template.partition(*index).object)
    };
    rollout.left_alone =
        existing.partitions.range(1..=count).filter(|member| keeps(*member)).map(|(index, _)| *index).collect();
    let partitions = outdated.into_iter().filter_map(|(index, partition)| {
        let held = existing.partitions.get(&index).filter(|_| rollout.held.contains(&index));
        let Some(member) = held else { return Some(partition) };
        let earlier = template.with_earlier_template(index, &member.known.facts);
        (!earlier.is_met_by(&member.known)).then_some(earlier)
    });
    let partitions = partitions.collect();
    let surplus = existing.partitions.range(count + 1..).rev();
    let surplus = surplus.filter(|(_, member)| !member.known.deleting && member.foreign.is_none());
    Plan {
        group_service: build::group_service(set, settings),
        partitions,
        endpoints: endpoints(set, existing, count, settings),
        surplus: surplus.map(|(index, _)| *index).collect(),
        rollout,
        refused: refused.into_iter().chain(left_alone(&object.name, existing)).collect(),
    }
}

/// That partitions name other controllers, if some do.
fn left_alone(set: &str, existing: &Existing) -> Option<Trouble> {
    let foreign = existing.partitions.iter().filter_map(|(index, member)| Some((index, member.foreign.as_ref()?)));
    let partitions: Vec<String> =
        foreign.clone().map(|(index, _)| format!("{:?}", names::partition(set, *index))).collect();
    let controllers: BTreeSet<String> = foreign.map(|(_, controller)| format!("{controller:?}")).collect();
    let (what, its) = match partitions.len() {
        0 => return None,
        1 => ("Partition", "is left alone: its"),
        _ => ("Partitions", "are left alone: their"),
    };
    let message = format!(
        "{what} {} {its} annotation {} names another controller, {}",
        listed(partitions, NAMED),
        annotations::CONTROLLER,
        listed(controllers.into_iter().collect(), NAMED)
    );
    Some(Trouble::new(true, ANOTHER_CONTROLLER, message))
}

/// Whether a partition is one that the set has no longer and the user agrees to lose: its consent was given when the
/// partition was there already.
pub(super) fn may_go(object: &SetObject, index: i64, member: &Member) -> bool {
    let count = object.spec.partitions.unwrap_or(DEFAULT_COUNT);
    let made_at = member.known.facts.annotations().get(annotations::SET_GENERATION);
    let made_at: i64 = made_at.and_then(|generation| generation.parse().ok()).unwrap_or_default();
    let consent = Consent::of(&object.annotations);
    index > count
        && consent.is_some_and(|consent| consent.covers(count, object.generation) && made_at <= consent.generation)
}

fn endpoints(set: &PartitionSet, existing: &Existing, count: i64, settings: &Settings) -> Option<GroupEndpoints> {
    let members: Option<Vec<&Member>> = (1..=count).map(|index| existing.partitions.get(&index)).collect();
    let members = members?;
    let addresses = |family: &str| -> Option<Vec<(String, String)>> {
        // Of a group that shrinks, the others stay published where they were, whatever has become of their Services: else
        // what is no longer wanted could not go. So does one that another controller runs, whose Service is not for this
        // controller to make: else the endpoints of the others could not follow their Services.
        let published = existing.published.get(family);
        let shrinks = published.is_some_and(|published| published.len() > members.len());
        members
            .iter()
            .zip(1..)
            .map(|(member, index)| {
                let name = names::partition(set.metadata.name.as_deref()?, index);
                let own = member.addresses.iter().find(|address| names::address_family(address) == family);
                let stays = shrinks || member.foreign.is_some();
                let address = own.or_else(|| published.filter(|_| stays)?.get(&name))?.clone();
                Some((name, address))
            })
            .collect()
    };
    let families: Vec<_> =
        ADDRESS_FAMILIES.into_iter().filter_map(|family| Some((family, addresses(family)?))).collect();
    let (_, first) = families.first()?;
    let stale = ADDRESS_FAMILIES.into_iter().filter(|family| families.iter().all(|(used, _)| used != family));
    Some(GroupEndpoints {
        stale_slices: stale.map(|family| names::endpoint_slice(&set.name_any(), family)).collect(),
        legacy: settings.legacy_endpoints.then(|| build::legacy_endpoints(set, first, settings).into()),
        slices: families
            .iter()
            .map(|(family, addresses)| build::slice(set, family, addresses, settings).into())
            .collect(),
    })
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
