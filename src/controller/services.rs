//! What all Services of a set have in common.

use k8s_openapi::api::core::v1::{ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::{Value, json};

/// Protocol of the ports, for meshes and gateways.
pub(super) const APP_PROTOCOL: &str = "grpc";

/// Fields of ports that a new Service has and other programs may change.
pub(super) fn initial_ports(ports: &[u16]) -> Value {
    let ports = ports.iter().map(|port| json!({ "port": port, "appProtocol": APP_PROTOCOL }));
    json!({ "ports": ports.collect::<Value>() })
}

/// A ClusterIP Service.
pub(super) fn cluster_ip_service() -> ServiceSpec {
    ServiceSpec { type_: Some("ClusterIP".to_owned()), ..ServiceSpec::default() }
}

/// A TCP port of a Service that its pods have under the same number.
pub(super) fn port(name: &str, number: u16) -> ServicePort {
    ServicePort {
        name: Some(name.to_owned()),
        port: number.into(),
        protocol: Some("TCP".to_owned()),
        target_port: Some(IntOrString::Int(number.into())),
        ..ServicePort::default()
    }
}
