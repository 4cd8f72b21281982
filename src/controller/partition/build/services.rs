//! The two Services of a partition: one for its clients, one that gives its pods their names.

use std::net::IpAddr;

use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use serde_json::{Value, json};

use super::context::BuildContext;
use crate::api::names::{self, API_PORT, PROTOCOL_PORT};
use crate::controller::desired::Desired;
use crate::controller::services::{cluster_ip_service, initial_ports, port};

/// Cluster IPs that a recreated Service of a partition requests.
#[derive(Clone, Debug, Default)]
pub(crate) struct ServiceAddresses {
    /// Addresses that the client Service had before it was deleted: the new Service requests them, so that clients that
    /// cached them stay connected. Empty if there is no former Service.
    pub(crate) former_addresses: Vec<IpAddr>,
    /// Addresses of the client Service of another partition of the group: a new Service gets the same address families.
    pub(crate) sibling: Vec<IpAddr>,
}

impl BuildContext<'_> {
    pub(super) fn service(&self, addresses: &ServiceAddresses) -> Desired<Service> {
        let former = &addresses.former_addresses;
        let service = Service {
            metadata: self.metadata(self.identity.name.clone()),
            spec: Some(self.service_spec(vec![port("api", API_PORT)])),
            status: None,
        };
        let mut initial = self.initial(addresses, &[API_PORT]);
        if let Some(first) = former.first() {
            initial["spec"]["clusterIP"] = json!(first);
            initial["spec"]["clusterIPs"] = json!(former);
        }
        Desired { existed: !former.is_empty(), ..Desired::from(service).with_initial(initial) }
    }

    pub(super) fn headless_service(&self, addresses: &ServiceAddresses) -> Desired<Service> {
        let service = Service {
            metadata: self.metadata(names::headless_service(&self.identity.name)),
            spec: Some(ServiceSpec {
                cluster_ip: Some("None".to_owned()),
                publish_not_ready_addresses: Some(true),
                ..self.service_spec(vec![port("api", API_PORT), port("protocol", PROTOCOL_PORT)])
            }),
            status: None,
        };
        Desired::from(service).with_initial(self.initial(addresses, &[API_PORT, PROTOCOL_PORT]))
    }

    fn service_spec(&self, ports: Vec<ServicePort>) -> ServiceSpec {
        ServiceSpec {
            selector: Some(self.selector.clone()),
            ports: Some(ports),
            ip_families: self.spec.ip_families.clone(),
            ip_family_policy: self.spec.ip_family_policy.clone(),
            ..cluster_ip_service()
        }
    }

    /// What a new Service has and other programs may change. Where the set does not say which address families its Services
    /// have, a new one has those of the others: the group's endpoints need the addresses of all partitions.
    fn initial(&self, addresses: &ServiceAddresses, ports: &[u16]) -> Value {
        let mut spec = initial_ports(ports);
        let known =
            if addresses.former_addresses.is_empty() { &addresses.sibling } else { &addresses.former_addresses };
        let unsaid = self.spec.ip_families.is_none() && self.spec.ip_family_policy.is_none();
        if unsaid && !known.is_empty() {
            let families = known.iter().map(|address| if address.is_ipv4() { "IPv4" } else { "IPv6" });
            spec["ipFamilies"] = families.collect();
            spec["ipFamilyPolicy"] = json!(if known.len() > 1 { "PreferDualStack" } else { "SingleStack" });
        }
        json!({ "spec": spec })
    }
}
