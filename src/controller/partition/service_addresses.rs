//! Which cluster IPs a recreated Service of a partition requests.

use std::net::IpAddr;

use super::build::ServiceAddresses;
use super::identity::Identity;
use crate::api::DEFAULT_COUNT;
use crate::api::names::{self, ObjectKey};
use crate::store::Caches;

/// The cluster IPs that the Services of a partition request. The group's endpoints still have the addresses that the
/// partition's client Service had before it was deleted.
pub(super) fn of(caches: &Caches, identity: &Identity) -> ServiceAddresses {
    let key = |name: &str| ObjectKey::new(identity.namespace.as_str(), name);
    let addresses = |service: &ObjectKey| -> Vec<IpAddr> {
        let service = caches.services.get(service).map(|service| service.facts.clone()).unwrap_or_default();
        service.iter().filter_map(|address| address.parse().ok()).collect()
    };
    if !addresses(&key(&identity.name)).is_empty() {
        return ServiceAddresses::default();
    }
    let published = |family: &str| -> Option<IpAddr> {
        let slice = caches.endpoint_slices.get(&key(&names::endpoint_slice(&identity.set, family)))?;
        slice.facts.get(&identity.name)?.parse().ok()
    };
    let count = caches.sets.get(&key(&identity.set)).and_then(|set| set.spec.partitions).unwrap_or(DEFAULT_COUNT);
    let siblings = (1..=count).filter(|index| *index != identity.index);
    let siblings = siblings.map(|index| addresses(&key(&names::partition(&identity.set, index))));
    let sibling = siblings.into_iter().find(|addresses| !addresses.is_empty()).unwrap_or_default();
    let mut former: Vec<IpAddr> = ["ipv4", "ipv6"].into_iter().filter_map(published).collect();
    if sibling.first().is_some_and(IpAddr::is_ipv6) {
        former.reverse();
    }
    ServiceAddresses { former_addresses: former, sibling }
}
