//! The children of a partition as values: a function of the Partition and the settings.

mod config_map;
mod disruption_budget;
mod pod;
mod services;
mod stateful_set;

use std::net::IpAddr;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, Service};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;

pub(in crate::controller) use self::services::{cluster_ip_service, port};
pub(in crate::controller) use self::stateful_set::min_ready;
use super::identity::Identity;
use crate::api::{DEFAULT_COUNT, Partition, Protocol, TemplateSpec, labels};
use crate::controller::objects::{self, Labels};
use crate::controller::settings::Settings;
use crate::rules::{Violation, config, judge};

/// Everything that a partition owns.
#[derive(Clone, Debug)]
pub struct Children {
    /// The nodes' configuration files.
    pub config_map: ConfigMap,
    /// The Service that clients of the partition use.
    pub service: Service,
    /// The Service that names the pods.
    pub headless_service: Service,
    /// The pods; after the ConfigMap, or a new pod starts with the old files.
    pub stateful_set: StatefulSet,
    /// The budget, unless the partition has one pod: it would block every drain of its node.
    pub disruption_budget: Option<PodDisruptionBudget>,
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
    labels: Labels,
}

/// The children of `partition`, which [`Identity::of`] has identified. `former_ip` is the address that the partition's
/// Service had before it was deleted, if it was.
///
/// # Errors
/// Everything wrong with the partition's spec, which can be stored only while the webhook is away.
pub fn children(
    partition: &Partition,
    identity: &Identity,
    settings: &Settings,
    former_ip: Option<IpAddr>,
) -> Result<Children, Vec<Violation>> {
    let violations = judge::stored_partition(&partition.spec);
    let spec = &partition.spec.template;
    let Some(protocol) = Protocol::parse(&spec.protocol).filter(|_| violations.is_empty()) else {
        return Err(violations);
    };
    let text = spec.config.as_deref().unwrap_or_default();
    let options = config::check(text, Some(protocol), "spec.config")?;
    let selector = objects::selector(&identity.set, identity.index);
    // The Partition's own labels are what the set's controller made of the template; ours win over any edit of them.
    let mut labels = partition.labels().clone();
    labels.extend(selector.clone());
    labels.extend(objects::recommended_labels(&identity.set, protocol.as_str(), &settings.name));
    let size = spec.size.unwrap_or(DEFAULT_COUNT);
    let plan = Plan { identity, partition, spec, settings, protocol, size, selector, labels };
    let config_map = plan.config_map(&options);
    Ok(Children {
        service: plan.service(former_ip),
        headless_service: plan.headless_service(),
        stateful_set: plan.stateful_set(&config_map),
        disruption_budget: plan.disruption_budget(),
        config_map,
    })
}

impl Plan<'_> {
    fn metadata(&self, name: String) -> ObjectMeta {
        let owner = objects::owned_by(self.partition);
        objects::metadata(&self.identity.namespace, name, self.labels.clone(), owner)
    }

    fn member_ports(&self) -> Option<&str> {
        self.partition.annotations().get(labels::annotations::MEMBER_PORTS).map(String::as_str)
    }
}

#[cfg(test)]
mod tests;
