//! The children of a partition as values: a function of the Partition and the settings.

mod config_map;
mod context;
mod disruption_budget;
mod pod;
mod services;
mod stateful_set;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, Service};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;

use self::context::BuildContext;
pub(super) use self::services::ServiceAddresses;
pub(crate) use self::stateful_set::min_ready;
use super::identity::Identity;
use crate::api::{DEFAULT_COUNT, Partition, PartitionSet, Protocol};
use crate::controller::desired::Desired;
use crate::controller::metadata;
use crate::controller::settings::Settings;
use crate::rules::{Violation, config, judge};

/// Everything that a partition owns.
#[derive(Clone, Debug)]
pub(super) struct Children {
    /// The nodes' configuration files.
    pub(super) config_map: Desired<ConfigMap>,
    /// The Service that clients of the partition use.
    pub(super) service: Desired<Service>,
    /// The Service that names the pods.
    pub(super) headless_service: Desired<Service>,
    /// The pods; after the ConfigMap, or a new pod starts with the old files, and after the Service that names them, which
    /// must not have another owner.
    pub(super) stateful_set: Desired<StatefulSet>,
    /// The budget, unless the partition has one pod: it would block every drain of its node.
    pub(super) disruption_budget: Option<Desired<PodDisruptionBudget>>,
}

/// The children of `partition`, which [`Identity::of`] has identified, with Services that request `addresses`.
/// `set` is the PartitionSet that it belongs to, if that is known.
/// The error is everything wrong with the partition's spec, which can be stored only while the webhook is away.
pub(super) fn children(
    partition: &Partition,
    identity: &Identity,
    settings: &Settings,
    addresses: &ServiceAddresses,
    set: Option<&PartitionSet>,
) -> Result<Children, Vec<Violation>> {
    let violations = judge::stored_partition(&partition.spec);
    let spec = &partition.spec.template;
    let Some(protocol) = Protocol::parse(&spec.protocol).filter(|_| violations.is_empty()) else {
        return Err(violations);
    };
    let text = spec.config.as_deref().unwrap_or_default();
    let options = config::check(text, Some(protocol), "spec.config")?;
    let selector = metadata::selector(&identity.set, identity.index);
    let copied = context::copied_labels(partition, set);
    let mut labels = copied.clone();
    labels.extend(selector.clone());
    labels.extend(metadata::recommended_labels(&identity.set, protocol.as_str(), &settings.name));
    let size = spec.size.unwrap_or(DEFAULT_COUNT);
    let context = BuildContext { identity, partition, spec, settings, protocol, size, selector, copied, labels };
    let config_map = context.config_map(&options);
    Ok(Children {
        service: context.service(addresses),
        headless_service: context.headless_service(addresses),
        stateful_set: context.stateful_set(&config_map),
        disruption_budget: context.disruption_budget().map(Desired::from),
        config_map: config_map.into(),
    })
}

#[cfg(test)]
mod tests;
