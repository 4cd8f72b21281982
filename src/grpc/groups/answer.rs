//! A PartitionSet as the API shows it. All of it follows from the spec of the set, so that it is complete from the start.

use std::fmt::Write as _;

use super::options::{self, Options};
use crate::api::names::{self, API_PORT};
use crate::api::{MAX_PARTITIONS, PartitionSet, Protocol};
use crate::grpc::proto::controller::{
    Partition, PartitionEndpoint, PartitionGroup, PartitionGroupId, PartitionGroupSpec,
};
use crate::rules::{SetObject, Violation, defaults, judge};

/// Most characters of a dash and an index.
const MAX_INDEX: usize = 5;
/// Where the configuration stands in a set.
pub(super) const CONFIG: &str = "spec.template.spec.config";

/// The group of a set, with defaults.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Group {
    pub(super) partitions: u32,
    /// Members of each partition.
    pub(super) size: u32,
    /// The protocol and its options; without those, if they cannot be read.
    pub(super) options: Result<Options, Protocol>,
}

impl Group {
    /// The group of a stored set.
    ///
    /// # Errors
    /// The violations that make it impossible to answer a client. Others do not.
    pub(super) fn of(set: &PartitionSet) -> Result<Self, Vec<Violation>> {
        let mut spec = set.spec.clone();
        // Of two names of one field that differ, the canonical one counts.
        let _ = defaults::fill(&mut spec, None);
        let template = &spec.template.spec;
        let count = |count: Option<i64>| count.and_then(|count| u32::try_from(count).ok()).filter(|count| *count > 0);
        let partitions = count(spec.partitions).filter(|count| i64::from(*count) <= MAX_PARTITIONS);
        let protocol = Protocol::parse(&template.protocol);
        let (Some(partitions), Some(size), Some(protocol)) = (partitions, count(template.size), protocol) else {
            let mut violations = judge::stored(&mut SetObject::from(set));
            violations.retain(|violation| !violation.field.starts_with(CONFIG));
            return Err(violations);
        };
        let options = Options::of_config(protocol, template.config.as_deref().unwrap_or_default(), CONFIG);
        Ok(Self { partitions, size, options: options.map_err(|_| protocol) })
    }

    pub(super) fn protocol(&self) -> Protocol {
        self.options.as_ref().map_or_else(|protocol| *protocol, |options| options.protocol)
    }

    /// The group of that name as the API shows it: every partition, by number, at the address of its Service.
    pub(super) fn answer(&self, namespace: &str, name: &str, cluster_domain: &str) -> PartitionGroup {
        // There may be a thousand, in every answer: each host is made in one piece.
        let domain = names::service_host("", namespace, cluster_domain);
        let partitions = (1..=self.partitions).map(|index| {
            let mut host = String::with_capacity(name.len() + domain.len() + MAX_INDEX);
            // Writing to a string cannot fail.
            let _ = write!(host, "{name}-{index}{domain}");
            Partition {
                partition_id: index.cast_signed(),
                endpoints: vec![PartitionEndpoint { host, port: i32::from(API_PORT) }],
            }
        });
        let protocol = self.options.as_ref().map_or_else(|protocol| options::unreadable(*protocol), Options::to_any);
        PartitionGroup {
            id: Some(PartitionGroupId { name: name.to_owned(), namespace: namespace.to_owned() }),
            spec: Some(PartitionGroupSpec {
                partitions: self.partitions,
                partition_size: self.size,
                protocol: Some(protocol),
            }),
            partitions: partitions.collect(),
        }
    }

    /// The differences of two groups, for a message; none if they are the same.
    pub(super) fn differences(&self, wanted: &Self) -> Vec<String> {
        let mut differences = Vec::new();
        let mut differ = |field: &str, is: String, asked: String| {
            if is != asked {
                differences.push(format!("{field} is {is}, not {asked}"));
            }
        };
        differ("partitions", self.partitions.to_string(), wanted.partitions.to_string());
        differ("partition_size", self.size.to_string(), wanted.size.to_string());
        let (is, asked) = (self.protocol(), wanted.protocol());
        differ("protocol", is.as_str().to_owned(), asked.as_str().to_owned());
        if is == asked {
            let shown = |group: &Self| group.options.as_ref().map_or_else(|_| "unreadable".to_owned(), Options::shown);
            differ("configuration", shown(self), shown(wanted));
        }
        differences
    }
}

#[cfg(test)]
#[path = "answer_tests.rs"]
mod tests;
