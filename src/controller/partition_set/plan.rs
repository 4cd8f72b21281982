//! What a set should consist of, as a function of the set and of what exists.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Endpoints, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;

use super::super::digest::digest;
use super::super::objects::Known;
use super::super::partition::min_ready;
use super::super::settings::Settings;
use super::super::trouble::Trouble;
use super::build;
use super::rollout::{self, Rollout};
use crate::api::labels::annotations;
use crate::api::{DEFAULT_COUNT, Partition, PartitionSet, PartitionSetSpec, Protocol, names};
use crate::rules::{Consent, SetObject};

/// What exists of a set.
#[derive(Clone, Debug, Default)]
pub(super) struct Existing {
    /// Its partitions by index.
    pub partitions: BTreeMap<i64, Member>,
}

/// A partition that exists.
#[derive(Clone, Debug)]
pub(super) struct Member {
    /// The partition.
    pub known: Arc<Known<Partition>>,
    /// Cluster IPs of its Service; none if that does not exist yet.
    pub addresses: Vec<String>,
}

/// What has to be true of a set, in the order of the fields.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// The Service under whose name the partitions are found.
    pub group_service: Service,
    /// The partitions to bring to what the set says now; those that are so already, or are held back, are left out.
    pub partitions: Vec<Partition>,
    /// Where the partitions are reached. None as long as not all of them can be: a client picks a partition by the
    /// number of addresses it sees, so a partial list must never be visible.
    pub endpoints: Option<GroupEndpoints>,
    /// Partitions that the set has no longer, the highest first, as name and uid: to be deleted once the endpoints do
    /// not name them.
    pub surplus: Vec<(String, String)>,
    /// Partitions that keep an earlier template until others are ready again.
    pub rollout: Rollout,
    /// What the set asks for and is not to be done.
    pub refused: Vec<Trouble>,
}

/// The endpoints of a group in both forms.
#[derive(Clone, Debug)]
pub(super) struct GroupEndpoints {
    /// One for each address family.
    pub slices: Vec<EndpointSlice>,
    /// The same for readers of core/v1 Endpoints, if they are wanted.
    pub legacy: Option<Endpoints>,
    /// Names of slices of families in which the partitions have no addresses any more.
    pub stale_slices: Vec<String>,
}

/// The digests that the partitions of a set should have, by index. They depend on nothing but the set's identity and
/// spec, and making them for a thousand partitions takes a while: worth keeping from one plan to the next.
#[derive(Clone, Debug, Default)]
pub(super) struct Digests {
    of: Option<(Option<String>, PartitionSetSpec)>,
    by_index: BTreeMap<i64, u64>,
}

impl Digests {
    fn get(&mut self, index: i64, template: &build::PartitionTemplate<'_>) -> u64 {
        *self.by_index.entry(index).or_insert_with(|| digest(&template.partition(index)))
    }

    /// Forgets what was kept of another spec.
    fn keep_for(&mut self, set: &PartitionSet, object: &SetObject) {
        let known = self.of.as_ref();
        if !known.is_some_and(|(uid, spec)| *uid == set.metadata.uid && *spec == object.spec) {
            *self = Self { of: Some((set.metadata.uid.clone(), object.spec.clone())), by_index: BTreeMap::new() };
        }
    }
}

/// The other controller that a partition names, if it names one: it is left alone then.
fn foreign<'a>(member: &'a Member, settings: &Settings) -> Option<&'a str> {
    let named = member.known.facts.annotations().get(annotations::CONTROLLER)?;
    (!settings.is_identity(named)).then_some(named)
}

/// The other controller that runs a set, if all partitions that there are name another one.
pub(super) fn run_by_another<'a>(existing: &'a Existing, settings: &Settings) -> Option<&'a str> {
    let mut others = existing.partitions.values().map(|member| foreign(member, settings));
    let first = others.next()??;
    others.all(|other| other.is_some()).then_some(first)
}

/// The plan for `set`, of which `object` is the form with its defaults and with what cannot change as it was.
pub(super) fn plan(
    set: &PartitionSet,
    object: &SetObject,
    existing: &Existing,
    settings: &Settings,
    digests: &mut Digests,
    now: Timestamp,
) -> Plan {
    digests.keep_for(set, object);
    let asked = object.spec.partitions.unwrap_or(DEFAULT_COUNT);
    let highest = existing.partitions.keys().next_back().copied().unwrap_or_default();
    let agreed = Consent::of(&object.annotations).is_some_and(|consent| consent.covers(asked, object.generation));
    // Only while the webhook is away can a set shrink without the user's consent. Then nothing is destroyed.
    let refused = (highest > asked && !agreed).then(|| Trouble {
        stalled: true,
        reason: "PartitionRemovalNotAllowed",
        message: format!(
            "spec.partitions is {asked} and {highest} partitions exist; removing them destroys their data: to agree, set the annotation {}: \"{}\"",
            annotations::ALLOW_PARTITION_REMOVAL,
            Consent { count: asked, generation: object.generation.unwrap_or_default() }
        ),
    });
    let count = if refused.is_some() { highest } else { asked };
    let other = existing.partitions.iter().find_map(|(index, member)| Some((index, foreign(member, settings)?)));
    let another = other.map(|(index, controller)| Trouble {
        stalled: true,
        reason: "AnotherController",
        message: format!(
            "Partition {:?} is left alone: its annotation {} names another controller, {controller:?}",
            names::partition(&object.name, *index),
            annotations::CONTROLLER
        ),
    });
    let template = build::PartitionTemplate::new(set, object, settings);
    let differs = |index: &i64| {
        let wanted = digests.get(*index, &template);
        let member = existing.partitions.get(index);
        let right = member.is_some_and(|member| {
            foreign(member, settings).is_some() || (!member.known.deleting && member.known.digest == wanted)
        });
        !right
    };
    let outdated: Vec<(i64, Partition)> =
        (1..=count).filter(differs).map(|index| (index, template.partition(index))).collect();
    let replaced = outdated.iter().filter(|(index, wanted)| {
        let member = existing.partitions.get(index);
        member.is_some_and(|member| rollout::replaces_pods(&member.known.facts, wanted))
    });
    let replaced: Vec<i64> = replaced.map(|(index, _)| *index).collect();
    let most = object.spec.max_unavailable_partitions.unwrap_or(DEFAULT_COUNT);
    let min_ready = Protocol::parse(&object.spec.template.spec.protocol).map(min_ready).unwrap_or_default();
    let rollout = rollout::hold(existing, count, &replaced, most, min_ready, now);
    let partitions = outdated.into_iter().filter(|(index, _)| !rollout.held.contains(index));
    let partitions = partitions.map(|(_, partition)| partition).collect();
    let surplus = existing.partitions.range(count + 1..).rev();
    let surplus = surplus.filter(|(_, member)| !member.known.deleting && foreign(member, settings).is_none());
    Plan {
        group_service: build::group_service(set, settings),
        partitions,
        endpoints: endpoints(set, existing, count, settings),
        surplus: surplus
            .map(|(index, member)| (names::partition(&object.name, *index), member.known.uid.clone()))
            .collect(),
        rollout,
        refused: refused.into_iter().chain(another).collect(),
    }
}

fn endpoints(set: &PartitionSet, existing: &Existing, count: i64, settings: &Settings) -> Option<GroupEndpoints> {
    let members: Option<Vec<&Member>> = (1..=count).map(|index| existing.partitions.get(&index)).collect();
    let members = members?;
    let addresses = |ipv6: bool| -> Option<Vec<(String, String)>> {
        members
            .iter()
            .zip(1..)
            .map(|(member, index)| {
                let address = member.addresses.iter().find(|address| address.contains(':') == ipv6)?;
                Some((names::partition(set.metadata.name.as_deref()?, index), address.clone()))
            })
            .collect()
    };
    let families: Vec<_> = [("IPv4", addresses(false)), ("IPv6", addresses(true))]
        .into_iter()
        .filter_map(|(family, addresses)| Some((family, addresses?)))
        .collect();
    let (_, first) = families.first()?;
    let stale = ["IPv4", "IPv6"].into_iter().filter(|family| families.iter().all(|(used, _)| used != family));
    Some(GroupEndpoints {
        stale_slices: stale.map(|family| build::slice_name(&set.name_any(), family)).collect(),
        legacy: settings.legacy_endpoints.then(|| build::legacy_endpoints(set, first, settings)),
        slices: families.iter().map(|(family, addresses)| build::slice(set, family, addresses, settings)).collect(),
    })
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
