//! What a set should consist of, as a function of the set and of what exists.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Endpoints, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::ResourceExt;

use super::super::digest::digest;
use super::super::objects::Known;
use super::super::settings::Settings;
use super::super::trouble::Trouble;
use super::build;
use crate::api::labels::annotations;
use crate::api::{DEFAULT_COUNT, Partition, PartitionSet, names};
use crate::rules::SetObject;

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
    /// The partitions to bring to what the set says; those that are so already are left out.
    pub partitions: Vec<Partition>,
    /// Where the partitions are reached. None as long as not all of them can be: a client picks a partition by the
    /// number of addresses it sees, so a partial list must never be visible.
    pub endpoints: Option<GroupEndpoints>,
    /// Partitions that the set has no longer, the highest first, as name and uid: to be deleted once the endpoints do
    /// not name them.
    pub surplus: Vec<(String, String)>,
    /// Why the number of partitions is not what the set says, if it is not to be.
    pub refused: Option<Trouble>,
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
    of: (Option<String>, Option<i64>),
    by_index: BTreeMap<i64, u64>,
}

impl Digests {
    fn get(&mut self, index: i64, template: &build::PartitionTemplate<'_>) -> u64 {
        *self.by_index.entry(index).or_insert_with(|| digest(&template.partition(index)))
    }

    /// Forgets what was kept of another spec.
    fn keep_for(&mut self, set: &PartitionSet) {
        let of = (set.metadata.uid.clone(), set.metadata.generation);
        if self.of != of {
            *self = Self { of, by_index: BTreeMap::new() };
        }
    }
}

/// The plan for `set`, of which `object` is the form with its defaults.
pub(super) fn plan(
    set: &PartitionSet,
    object: &SetObject,
    existing: &Existing,
    settings: &Settings,
    digests: &mut Digests,
) -> Plan {
    digests.keep_for(set);
    let asked = object.spec.partitions.unwrap_or(DEFAULT_COUNT);
    let highest = existing.partitions.keys().next_back().copied().unwrap_or_default();
    let agreed = object.annotations.get(annotations::ALLOW_PARTITION_REMOVAL).map(String::as_str);
    // Only while the webhook is away can a set shrink without the user's word. Then nothing is destroyed.
    let refused = (highest > asked && agreed != Some(asked.to_string().as_str())).then(|| Trouble {
        stalled: true,
        reason: "PartitionRemovalNotAllowed",
        message: format!(
            "spec.partitions is {asked} and {highest} partitions exist; removing them destroys their data: to agree, set the annotation {}: \"{asked}\"",
            annotations::ALLOW_PARTITION_REMOVAL
        ),
    });
    let count = if refused.is_some() { highest } else { asked };
    let template = build::PartitionTemplate::new(set, object, settings);
    let partitions = (1..=count).filter_map(|index| {
        let wanted = digests.get(index, &template);
        let member = existing.partitions.get(&index);
        let right = member.is_some_and(|member| !member.known.deleting && member.known.digest == wanted);
        (!right).then(|| template.partition(index))
    });
    let partitions = partitions.collect();
    let surplus = existing.partitions.range(count + 1..).rev().filter(|(_, member)| !member.known.deleting);
    Plan {
        group_service: build::group_service(set, settings),
        partitions,
        endpoints: endpoints(set, existing, count, settings),
        surplus: surplus
            .map(|(index, member)| (names::partition(&object.name, *index), member.known.uid.clone()))
            .collect(),
        refused,
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
