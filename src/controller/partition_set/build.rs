//! The objects of a whole group as values: its Partitions, its Service and its endpoints.

use k8s_openapi::api::core::v1::{EndpointAddress, EndpointPort, EndpointSubset, Endpoints, Service, ServiceSpec};
use k8s_openapi::api::discovery::v1::{self as discovery, Endpoint, EndpointConditions, EndpointSlice};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::ResourceExt;

use super::super::objects::{self, Labels};
use super::super::partition::{cluster_ip_service, port};
use super::super::settings::Settings;
use crate::api::labels::{self, annotations};
use crate::api::names::{self, API_PORT};
use crate::api::{Partition, PartitionSet, PartitionSpec, Protocol};
use crate::rules::SetObject;

/// Label by which an EndpointSlice belongs to a Service.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// What the Partitions of one set have in common.
pub(super) struct PartitionTemplate<'a> {
    set: &'a SetObject,
    namespace: String,
    owner: OwnerReference,
    spec: PartitionSpec,
    labels: Labels,
    annotations: Labels,
}

impl<'a> PartitionTemplate<'a> {
    pub(super) fn new(set: &PartitionSet, object: &'a SetObject, settings: &Settings) -> Self {
        let given = object.spec.template.metadata.clone().unwrap_or_default();
        let mut template = object.spec.template.spec.clone();
        // A new default image reaches partitions as any other change does, and not all of them at once.
        if let Some(protocol) = Protocol::parse(&template.protocol) {
            template.image = Some(settings.image(&template, protocol).to_owned());
        }
        let mut labels = given.labels.unwrap_or_default();
        labels.extend(objects::recommended_labels(&object.name, &template.protocol, &settings.name));
        let mut annotations = given.annotations.unwrap_or_default();
        annotations.extend(
            [
                (annotations::CONTROLLER, settings.identity()),
                (annotations::TYPE, labels::values::PARTITION.to_owned()),
                (annotations::GROUP, object.name.clone()),
            ]
            .map(|(key, value)| (key.to_owned(), value)),
        );
        Self {
            set: object,
            namespace: set.namespace().unwrap_or_default(),
            owner: objects::owned_by(set),
            spec: PartitionSpec {
                template,
                persistent_volume_claim_retention_policy: object.spec.persistent_volume_claim_retention_policy.clone(),
            },
            labels,
            annotations,
        }
    }

    pub(super) fn partition(&self, index: i64) -> Partition {
        let mut labels = self.labels.clone();
        labels.extend(objects::selector(&self.set.name, index));
        let mut annotations = self.annotations.clone();
        annotations.insert(annotations::PARTITION.to_owned(), index.to_string());
        let name = names::partition(&self.set.name, index);
        let mut partition = Partition::new(&name, self.spec.clone());
        partition.metadata = ObjectMeta {
            annotations: Some(annotations),
            ..objects::metadata(&self.namespace, name, labels, self.owner.clone())
        };
        partition
    }
}

/// The Service of the group. It has no address of its own: DNS has a record for each endpoint of a headless Service
/// only, and no proxy forwards to another Service's address.
pub(super) fn group_service(set: &PartitionSet, settings: &Settings) -> Service {
    Service {
        metadata: metadata(set, set.name_any(), set.labels().clone(), settings),
        spec: Some(ServiceSpec {
            cluster_ip: Some("None".to_owned()),
            publish_not_ready_addresses: Some(true),
            ports: Some(vec![port("api", API_PORT)]),
            ..cluster_ip_service()
        }),
        status: None,
    }
}

/// Name of the EndpointSlice of a group's addresses of one family: `ipv4` or `ipv6`.
#[must_use]
pub fn slice_name(set: &str, family: &str) -> String {
    format!("{set}-{}", family.to_ascii_lowercase())
}

/// All partitions of the group, by name and address of their Services, in one object: it changes in one write.
pub(super) fn slice(
    set: &PartitionSet,
    family: &str,
    addresses: &[(String, String)],
    settings: &Settings,
) -> EndpointSlice {
    let own = [(SERVICE_NAME, set.name_any()), (labels::SLICE_MANAGED_BY, labels::slice_manager(&settings.name))]
        .map(|(key, value)| (key.to_owned(), value));
    let endpoints = addresses.iter().map(|(name, address)| Endpoint {
        addresses: vec![address.clone()],
        conditions: Some(EndpointConditions { ready: Some(true), ..EndpointConditions::default() }),
        hostname: Some(name.clone()),
        ..Endpoint::default()
    });
    EndpointSlice {
        address_type: family.to_owned(),
        endpoints: endpoints.collect(),
        metadata: metadata(set, slice_name(&set.name_any(), family), own.into(), settings),
        ports: Some(vec![discovery::EndpointPort {
            name: Some("api".to_owned()),
            port: Some(API_PORT.into()),
            protocol: Some("TCP".to_owned()),
            ..discovery::EndpointPort::default()
        }]),
    }
}

/// The same for readers of core/v1 Endpoints.
pub(super) fn legacy_endpoints(set: &PartitionSet, addresses: &[(String, String)], settings: &Settings) -> Endpoints {
    let own = Labels::from([(labels::SKIP_MIRROR.to_owned(), "true".to_owned())]);
    let addresses = addresses.iter().map(|(name, address)| EndpointAddress {
        hostname: Some(name.clone()),
        ip: address.clone(),
        ..EndpointAddress::default()
    });
    Endpoints {
        metadata: metadata(set, set.name_any(), own, settings),
        subsets: Some(vec![EndpointSubset {
            addresses: Some(addresses.collect()),
            ports: Some(vec![EndpointPort {
                name: Some("api".to_owned()),
                port: API_PORT.into(),
                protocol: Some("TCP".to_owned()),
                ..EndpointPort::default()
            }]),
            ..EndpointSubset::default()
        }]),
    }
}

fn metadata(set: &PartitionSet, name: String, mut labels: Labels, settings: &Settings) -> ObjectMeta {
    labels.extend(objects::recommended_labels(&set.name_any(), labels::values::PARTITION_GROUP, &settings.name));
    objects::metadata(&set.namespace().unwrap_or_default(), name, labels, objects::owned_by(set))
}
