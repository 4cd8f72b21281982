//! The two Services of a partition: one for its clients, one that gives its pods their names.

use std::net::IpAddr;

use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::{Value, json};

use super::Plan;
use crate::api::names::{self, API_PORT, PROTOCOL_PORT};
use crate::controller::desired::Desired;

/// Protocol of both ports, as meshes and gateways want to be told it.
pub(in crate::controller) const APP_PROTOCOL: &str = "grpc";

/// Where the Services of a partition are to be, as far as that follows from what is or was there.
#[derive(Clone, Debug, Default)]
pub struct Network {
    /// The addresses that the client Service had before it was deleted: they are asked for again, so that clients that
    /// hold them go on. None if it was never there.
    pub former_addresses: Vec<IpAddr>,
    /// Addresses of the client Service of another partition of the group, whose address families are followed.
    pub sibling: Vec<IpAddr>,
}

impl Plan<'_> {
    pub(super) fn service(&self, network: &Network) -> Desired<Service> {
        let former = &network.former_addresses;
        let service = Service {
            metadata: self.metadata(self.identity.name.clone()),
            spec: Some(self.service_spec(vec![port("api", API_PORT)])),
            status: None,
        };
        let mut initial = self.initial(network, &[API_PORT]);
        if let Some(first) = former.first() {
            initial["spec"]["clusterIP"] = json!(first);
            initial["spec"]["clusterIPs"] = json!(former);
        }
        Desired { existed: !former.is_empty(), ..Desired::from(service).with_initial(initial) }
    }

    pub(super) fn headless_service(&self, network: &Network) -> Desired<Service> {
        let service = Service {
            metadata: self.metadata(names::headless_service(&self.identity.name)),
            spec: Some(ServiceSpec {
                cluster_ip: Some("None".to_owned()),
                publish_not_ready_addresses: Some(true),
                ..self.service_spec(vec![port("api", API_PORT), port("protocol", PROTOCOL_PORT)])
            }),
            status: None,
        };
        Desired::from(service).with_initial(self.initial(network, &[API_PORT, PROTOCOL_PORT]))
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

    /// What a new Service has and anybody may change. Where the set does not say which address families its Services
    /// have, a new one has those of the others: the group's endpoints need the addresses of all partitions.
    fn initial(&self, network: &Network, ports: &[u16]) -> Value {
        let mut spec = initial_ports(ports);
        let known = if network.former_addresses.is_empty() { &network.sibling } else { &network.former_addresses };
        let unsaid = self.spec.ip_families.is_none() && self.spec.ip_family_policy.is_none();
        if unsaid && !known.is_empty() {
            let families = known.iter().map(|address| if address.is_ipv4() { "IPv4" } else { "IPv6" });
            spec["ipFamilies"] = families.collect();
            spec["ipFamilyPolicy"] = json!(if known.len() > 1 { "PreferDualStack" } else { "SingleStack" });
        }
        json!({ "spec": spec })
    }
}

/// What is said of ports that anybody may change.
pub(in crate::controller) fn initial_ports(ports: &[u16]) -> Value {
    let ports = ports.iter().map(|port| json!({ "port": port, "appProtocol": APP_PROTOCOL }));
    json!({ "ports": ports.collect::<Value>() })
}

/// A ClusterIP Service.
pub(in crate::controller) fn cluster_ip_service() -> ServiceSpec {
    ServiceSpec { type_: Some("ClusterIP".to_owned()), ..ServiceSpec::default() }
}

/// A TCP port of a Service that its pods have under the same number.
pub(in crate::controller) fn port(name: &str, number: u16) -> ServicePort {
    ServicePort {
        name: Some(name.to_owned()),
        port: number.into(),
        protocol: Some("TCP".to_owned()),
        target_port: Some(IntOrString::Int(number.into())),
        ..ServicePort::default()
    }
}
