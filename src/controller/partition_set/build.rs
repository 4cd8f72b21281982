//! The objects of a whole group as values: its Partitions, its Service and its endpoints.

use k8s_openapi::api::core::v1::{EndpointAddress, EndpointPort, EndpointSubset, Endpoints, Service, ServiceSpec};
use k8s_openapi::api::discovery::v1::{self as discovery, Endpoint, EndpointConditions, EndpointSlice};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{Resource, ResourceExt};
use serde_json::json;

use crate::api::labels::{self, annotations};
use crate::api::names::{self, API_PORT};
use crate::api::{Partition, PartitionSet, PartitionSpec, Protocol, TemplateMetadata};
use crate::controller::desired::{self, Desired, record_copied_labels};
use crate::controller::metadata::{self, Labels};
use crate::controller::services::{APP_PROTOCOL, cluster_ip_service, initial_ports, port};
use crate::controller::settings::Settings;
use crate::rules::SetObject;
use crate::store::fields::metadata_field;
use crate::store::{Cached, GroupService};

/// What the Partitions of one set have in common.
pub(super) struct PartitionTemplate<'a> {
    set: &'a SetObject,
    /// A Partition without a name and an index.
    common: Partition,
    /// Its fields.
    fields: Vec<u32>,
    /// What it has whatever the template says.
    own: Own,
}

/// Labels and annotations that Partitions have whatever the template of their set says.
struct Own {
    labels: Labels,
    annotations: Labels,
}

impl Own {
    /// Those of Partitions whose template has that metadata.
    fn with(&self, given: &TemplateMetadata) -> (Labels, Labels) {
        let all = |given: &Option<Labels>, own: &Labels, index: &str| {
            let mut all = given.clone().unwrap_or_default();
            all.remove(index);
            all.extend(own.clone());
            all
        };
        (
            all(&given.labels, &self.labels, labels::PARTITION),
            all(&given.annotations, &self.annotations, annotations::PARTITION),
        )
    }
}

impl<'a> PartitionTemplate<'a> {
    pub(super) fn new(set: &PartitionSet, object: &'a SetObject, settings: &Settings) -> Self {
        let given = object.spec.template.metadata.clone().unwrap_or_default();
        let mut template = object.spec.template.spec.clone();
        // A new default image reaches partitions as any other change does, and not all of them at once.
        if let Some(protocol) = Protocol::parse(&template.protocol) {
            template.image = Some(settings.image(&template, protocol).to_owned());
        }
        let mut own_labels = metadata::group_selector(&object.name);
        own_labels.extend(metadata::recommended_labels(&object.name, &template.protocol, &settings.name));
        let own_annotations = [
            (annotations::CONTROLLER, settings.identity()),
            (annotations::TYPE, labels::values::PARTITION.to_owned()),
            (annotations::GROUP, object.name.clone()),
        ];
        let own_annotations = own_annotations.map(|(key, value)| (key.to_owned(), value)).into();
        let own = Own { labels: own_labels, annotations: own_annotations };
        let (labels, annotations) = own.with(&given);
        let spec = PartitionSpec {
            template,
            persistent_volume_claim_retention_policy: object.spec.persistent_volume_claim_retention_policy.clone(),
            template_metadata: Some(given),
        };
        let mut common = Partition::new("", spec);
        common.metadata = ObjectMeta {
            annotations: Some(annotations),
            ..metadata::metadata(&set.namespace().unwrap_or_default(), String::new(), labels, metadata::owned_by(set))
        };
        let fields = desired::fields_of(&common);
        Self { set: object, common, fields, own }
    }

    /// Whether a stored Partition is what that of an index should be.
    pub(super) fn is_met_by(&self, number: i64, known: &Cached<Partition>) -> bool {
        let index = number.to_string();
        let own = [
            metadata_field("labels", labels::PARTITION, &index),
            metadata_field("annotations", annotations::PARTITION, &index),
        ];
        self.fields.iter().chain(&own).all(|field| known.fields.contains(*field))
            || known.ignored.is_some() && self.partition(number).is_met_by(known)
    }

    /// The Partition of an index with the template that a stored one has: all else is put right while it waits for a
    /// later template.
    pub(super) fn with_earlier_template(&self, index: i64, stored: &Partition) -> Desired<Partition> {
        let given = stored.spec.template_metadata.clone().unwrap_or_default();
        let (labels, annotations) = self.own.with(&given);
        let metadata =
            ObjectMeta { labels: Some(labels), annotations: Some(annotations), ..self.common.metadata.clone() };
        self.numbered(index, Partition { metadata, spec: stored.spec.clone(), status: None })
    }

    pub(super) fn partition(&self, index: i64) -> Desired<Partition> {
        self.numbered(index, self.common.clone())
    }

    fn numbered(&self, index: i64, mut partition: Partition) -> Desired<Partition> {
        let metadata = &mut partition.metadata;
        metadata.name = Some(names::partition(&self.set.name, index));
        metadata.labels.get_or_insert_default().insert(labels::PARTITION.to_owned(), index.to_string());
        metadata.annotations.get_or_insert_default().insert(annotations::PARTITION.to_owned(), index.to_string());
        let generation = self.set.generation.unwrap_or_default().to_string();
        let initial = json!({ "metadata": { "annotations": { annotations::SET_GENERATION: generation } } });
        Desired::from(partition).with_initial(initial)
    }
}

/// The Service of the group. It has no address of its own: DNS has a record for each endpoint of a headless Service
/// only, and no proxy forwards to another Service's address.
///
/// It has the set's labels, but for those by which tools say that they manage the set: they do not manage the Service.
pub(super) fn group_service(set: &PartitionSet, settings: &Settings) -> Desired<GroupService> {
    let (of_tools, mut copied): (Labels, Labels) =
        set.labels().clone().into_iter().partition(|(key, _)| labels::is_of_a_tool(key));
    copied.remove(labels::GROUP_OF);
    let mut metadata = metadata_of(set, set.name_any(), copied.clone(), settings);
    metadata.labels.get_or_insert_default().insert(labels::GROUP_OF.to_owned(), set.name_any());
    record_copied_labels(&mut metadata, &copied);
    let service = GroupService {
        api_version: Service::api_version(&()).into_owned(),
        kind: Service::kind(&()).into_owned(),
        metadata,
        spec: Some(ServiceSpec {
            cluster_ip: Some("None".to_owned()),
            publish_not_ready_addresses: Some(true),
            ports: Some(vec![port("api", API_PORT)]),
            ..cluster_ip_service()
        }),
    };
    Desired {
        obsolete_labels: of_tools,
        ..Desired::from(service).with_initial(json!({ "spec": initial_ports(&[API_PORT]) }))
    }
}

/// All partitions of the group, by name and address of their Services, in one object: it changes in one write.
pub(super) fn slice(
    set: &PartitionSet,
    family: &str,
    addresses: &[(String, String)],
    settings: &Settings,
) -> EndpointSlice {
    let own =
        [(labels::SERVICE_NAME, set.name_any()), (labels::SLICE_MANAGED_BY, labels::slice_manager(&settings.name))]
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
        metadata: metadata_of(set, names::endpoint_slice(&set.name_any(), family), own.into(), settings),
        ports: Some(vec![discovery::EndpointPort {
            name: Some("api".to_owned()),
            port: Some(API_PORT.into()),
            protocol: Some("TCP".to_owned()),
            app_protocol: Some(APP_PROTOCOL.to_owned()),
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
        metadata: metadata_of(set, set.name_any(), own, settings),
        subsets: Some(vec![EndpointSubset {
            addresses: Some(addresses.collect()),
            ports: Some(vec![EndpointPort {
                name: Some("api".to_owned()),
                port: API_PORT.into(),
                protocol: Some("TCP".to_owned()),
                app_protocol: Some(APP_PROTOCOL.to_owned()),
            }]),
            ..EndpointSubset::default()
        }]),
    }
}

fn metadata_of(set: &PartitionSet, name: String, mut labels: Labels, settings: &Settings) -> ObjectMeta {
    labels.extend(metadata::recommended_labels(&set.name_any(), labels::values::PARTITION_GROUP, &settings.name));
    metadata::metadata(&set.namespace().unwrap_or_default(), name, labels, metadata::owned_by(set))
}
