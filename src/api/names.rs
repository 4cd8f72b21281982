//! Names of everything that belongs to a set, and where its nodes are reached.

use std::fmt;

/// Port of the client API on every node.
pub const API_PORT: u16 = 5678;
/// Port that the nodes of a partition speak their protocol on.
pub const PROTOCOL_PORT: u16 = 5679;
/// Port of the controller's own gRPC service in the nodes' configuration.
pub const CONTROLLER_GRPC_PORT: u16 = 5679;
/// Name of the container of a node in its pod.
pub const CONTAINER: &str = "atomix";
/// Longest name of a partition: a StatefulSet's pods carry it in a label together with a revision hash of 11
/// characters, and a label value has at most 63.
pub const MAX_PARTITION_NAME: usize = 52;

/// Name of partition `index` (from 1) of `set`: also the name of its StatefulSet and of its client Service.
#[must_use]
pub fn partition(set: &str, index: i64) -> String {
    format!("{set}-{index}")
}

/// The set and the index that a partition's name was made of, if it has that form.
#[must_use]
pub fn split_partition(name: &str) -> Option<(&str, i64)> {
    let (set, index) = name.rsplit_once('-')?;
    let canonical = !index.starts_with('0') && !index.is_empty() && index.bytes().all(|b| b.is_ascii_digit());
    (canonical && !set.is_empty()).then(|| Some((set, index.parse().ok()?))).flatten()
}

/// ConfigMap with the two configuration files of a partition's nodes.
#[must_use]
pub fn config_map(partition: &str) -> String {
    format!("{partition}-config")
}

/// Headless Service that gives the pods of a partition their DNS names.
#[must_use]
pub fn headless_service(partition: &str) -> String {
    format!("{partition}-hs")
}

/// PodDisruptionBudget of a partition.
#[must_use]
pub fn disruption_budget(partition: &str) -> String {
    format!("{partition}-pdb")
}

/// Address families, as EndpointSlices name them.
pub const ADDRESS_FAMILIES: [&str; 2] = ["IPv4", "IPv6"];

/// The family of an address, as EndpointSlices name it.
#[must_use]
pub fn address_family(address: &str) -> &'static str {
    if address.contains(':') { ADDRESS_FAMILIES[1] } else { ADDRESS_FAMILIES[0] }
}

/// EndpointSlice of a group's addresses of one family.
#[must_use]
pub fn endpoint_slice(set: &str, family: &str) -> String {
    format!("{set}-{}", family.to_ascii_lowercase())
}

/// DNS-resolvable host of pod `ordinal` (from 0) of a partition.
#[must_use]
pub fn pod_host(partition: &str, ordinal: i64, namespace: &str, cluster_domain: &str) -> String {
    let service = headless_service(partition);
    format!("{partition}-{ordinal}.{service}.{namespace}.svc.{cluster_domain}")
}

/// DNS-resolvable host at which clients reach a partition: that of its Service.
#[must_use]
pub fn service_host(partition: &str, namespace: &str, cluster_domain: &str) -> String {
    format!("{partition}.{namespace}.svc.{cluster_domain}")
}

/// `(other, index)` if a Service called `name` would be one that partition `index` of set `other` needs, that is, if
/// `name` is `<other>-<index>` or `<other>-<index>-hs`.
#[must_use]
pub fn service_of_partition(name: &str) -> Option<(&str, i64)> {
    split_partition(name.strip_suffix("-hs").unwrap_or(name))
}

/// Namespace and name of an object: the key of caches and work queues.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectKey {
    /// Namespace of the object.
    pub namespace: String,
    /// Name of the object.
    pub name: String,
}

impl ObjectKey {
    /// The key of `name` in `namespace`.
    #[must_use]
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }
}

/// The key of the set that a partition belongs to by its name, and the partition's index there.
#[must_use]
pub fn set_of_partition(partition: &ObjectKey) -> Option<(ObjectKey, i64)> {
    let (set, index) = split_partition(&partition.name)?;
    Some((ObjectKey::new(partition.namespace.as_str(), set), index))
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_canonical_indexes_are_partition_names() {
        assert_eq!(split_partition("a-b-3"), Some(("a-b", 3)));
        for name in ["a", "a-", "-3", "a-03", "a-0", "a-3x", "a-99999999999999999999"] {
            assert_eq!(split_partition(name), None, "{name}");
        }
    }

    #[test]
    fn a_partitions_set_is_in_the_same_namespace() {
        assert_eq!(set_of_partition(&ObjectKey::new("n", "x-y-3")), Some((ObjectKey::new("n", "x-y"), 3)));
        assert_eq!(set_of_partition(&ObjectKey::new("n", "x-y")), None);
    }

    #[test]
    fn both_services_of_a_partition_are_recognised() {
        assert_eq!(service_of_partition("x-3"), Some(("x", 3)));
        assert_eq!(service_of_partition("x-3-hs"), Some(("x", 3)));
        assert_eq!(service_of_partition("x-hs"), None);
    }
}
