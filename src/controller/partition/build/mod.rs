//! The children of a partition as values: a function of the Partition and the settings.

mod config_map;
mod disruption_budget;
mod pod;
mod services;
mod stateful_set;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, Service};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

pub use self::services::Network;
pub(in crate::controller) use self::services::{APP_PROTOCOL, cluster_ip_service, initial_ports, port};
pub(in crate::controller) use self::stateful_set::min_ready;
use super::identity::Identity;
use crate::api::{DEFAULT_COUNT, Partition, PartitionSet, Protocol, TemplateSpec, labels};
use crate::controller::desired::{Desired, record_copied_labels};
use crate::controller::objects::{self, Labels};
use crate::controller::settings::Settings;
use crate::rules::{Violation, config, judge};

/// Everything that a partition owns.
#[derive(Clone, Debug)]
pub struct Children {
    /// The nodes' configuration files.
    pub config_map: Desired<ConfigMap>,
    /// The Service that clients of the partition use.
    pub service: Desired<Service>,
    /// The Service that names the pods.
    pub headless_service: Desired<Service>,
    /// The pods; after the ConfigMap, or a new pod starts with the old files, and after the Service that names them, which
    /// must not be somebody else's.
    pub stateful_set: Desired<StatefulSet>,
    /// The budget, unless the partition has one pod: it would block every drain of its node.
    pub disruption_budget: Option<Desired<PodDisruptionBudget>>,
}

/// What the builders of the single children share.
struct Plan<'a> {
    identity: &'a Identity,
    partition: &'a Partition,
    spec: &'a TemplateSpec,
    settings: &'a Settings,
    protocol: Protocol,
    size: i64,
    selector: Labels,
    /// Labels of the set's template.
    copied: Labels,
    labels: Labels,
}

/// The children of `partition`, which [`Identity::of`] has identified, with Services where `network` says.
/// `set` is the PartitionSet that it belongs to, if that is known.
///
/// # Errors
/// Everything wrong with the partition's spec, which can be stored only while the webhook is away.
pub fn children(
    partition: &Partition,
    identity: &Identity,
    settings: &Settings,
    network: &Network,
    set: Option<&PartitionSet>,
) -> Result<Children, Vec<Violation>> {
    let violations = judge::stored_partition(&partition.spec);
    let spec = &partition.spec.template;
    let Some(protocol) = Protocol::parse(&spec.protocol).filter(|_| violations.is_empty()) else {
        return Err(violations);
    };
    let text = spec.config.as_deref().unwrap_or_default();
    let options = config::check(text, Some(protocol), "spec.config")?;
    let selector = objects::selector(&identity.set, identity.index);
    let copied = copied_labels(partition, set);
    let mut labels = copied.clone();
    labels.extend(selector.clone());
    labels.extend(objects::recommended_labels(&identity.set, protocol.as_str(), &settings.name));
    let size = spec.size.unwrap_or(DEFAULT_COUNT);
    let plan = Plan { identity, partition, spec, settings, protocol, size, selector, copied, labels };
    let config_map = plan.config_map(&options);
    Ok(Children {
        service: plan.service(network),
        headless_service: plan.headless_service(network),
        stateful_set: plan.stateful_set(&config_map),
        disruption_budget: plan.disruption_budget().map(Desired::from),
        config_map: config_map.into(),
    })
}

/// The labels of the set's template. What stands in the Partition's own metadata may be anybody's; but one that an
/// earlier version or the project's first controller wrote has them there only, and without them its pods would be
/// replaced as soon as the Partition is brought up to date. `set` says which of these labels are the template's.
fn copied_labels(partition: &Partition, set: Option<&PartitionSet>) -> Labels {
    if let Some(metadata) = &partition.spec.template_metadata {
        return metadata.labels.clone().unwrap_or_default();
    }
    let template = set.and_then(|set| set.spec.template.metadata.as_ref()?.labels.as_ref());
    let mut labels = partition.metadata.labels.clone().unwrap_or_default();
    labels.retain(|key, _| {
        !labels::RESERVED.contains(&key.as_str()) && template.is_some_and(|template| template.contains_key(key))
    });
    labels
}

impl Plan<'_> {
    fn metadata(&self, name: String) -> ObjectMeta {
        let owner = objects::owned_by(self.partition);
        let mut metadata = objects::metadata(&self.identity.namespace, name, self.labels.clone(), owner);
        record_copied_labels(&mut metadata, &self.copied);
        metadata
    }

    /// The form of the members. A Partition that an earlier version wrote has it among its own annotations.
    fn member_ports(&self) -> Option<&str> {
        let annotations = match &self.partition.spec.template_metadata {
            Some(metadata) => metadata.annotations.as_ref(),
            None => self.partition.metadata.annotations.as_ref(),
        };
        annotations?.get(labels::annotations::MEMBER_PORTS).map(String::as_str)
    }
}

#[cfg(test)]
mod tests;
