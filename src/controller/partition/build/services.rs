//! The two Services of a partition: one for its clients, one that gives its pods their names.

use std::net::IpAddr;

use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::Plan;
use crate::api::names::{self, API_PORT, PROTOCOL_PORT};

impl Plan<'_> {
    /// `former_ip` is asked for again, so that clients that hold the address go on.
    pub(super) fn service(&self, former_ip: Option<IpAddr>) -> Service {
        Service {
            metadata: self.metadata(self.identity.name.clone()),
            spec: Some(ServiceSpec {
                cluster_ip: former_ip.map(|ip| ip.to_string()),
                ports: Some(vec![port("api", API_PORT)]),
                ..self.service_spec()
            }),
            status: None,
        }
    }

    pub(super) fn headless_service(&self) -> Service {
        Service {
            metadata: self.metadata(names::headless_service(&self.identity.name)),
            spec: Some(ServiceSpec {
                cluster_ip: Some("None".to_owned()),
                publish_not_ready_addresses: Some(true),
                ports: Some(vec![port("api", API_PORT), port("protocol", PROTOCOL_PORT)]),
                ..self.service_spec()
            }),
            status: None,
        }
    }

    fn service_spec(&self) -> ServiceSpec {
        ServiceSpec { selector: Some(self.selector.clone()), ..cluster_ip_service() }
    }
}

/// A ClusterIP Service with the defaults that the API server gives it.
pub(in crate::controller) fn cluster_ip_service() -> ServiceSpec {
    ServiceSpec {
        type_: Some("ClusterIP".to_owned()),
        session_affinity: Some("None".to_owned()),
        internal_traffic_policy: Some("Cluster".to_owned()),
        ..ServiceSpec::default()
    }
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
