//! Options of `run` for the Atomix API.

use std::net::SocketAddr;

use clap::{ArgAction, Args, ValueEnum};

use super::values;
use crate::grpc::tls::Sources;
use crate::tls::source::Source;

/// Options of the Atomix API.
#[derive(Args, Clone, Debug)]
pub struct Grpc {
    /// Address of the Atomix API; unencrypted without --grpc-certificate. `[::]` is every IPv4 and IPv6 address, and every
    /// IPv4 address where IPv6 is off.
    #[arg(
        id = "grpc_address",
        long = "grpc-address",
        value_name = "ADDRESS",
        env = "GRPC_ADDRESS",
        default_value = "[::]:5679"
    )]
    pub address: SocketAddr,

    /// Do not create or delete partition groups over gRPC. Nodes still elect their primaries.
    #[arg(id = "grpc_read_only", long = "grpc-read-only", value_name = "true|false", env = "GRPC_READ_ONLY", default_value_t = false, action = ArgAction::Set, num_args = 0..=1, default_missing_value = "true")]
    pub read_only: bool,

    /// Partition groups that are deleted over gRPC without --grpc-auth: those that were created over gRPC, or any. With
    /// --grpc-auth=kubernetes the rights of the caller decide.
    #[arg(
        id = "grpc_delete",
        long = "grpc-delete",
        value_name = "GROUPS",
        env = "GRPC_DELETE",
        value_enum,
        default_value_t
    )]
    pub delete: GrpcDelete,

    /// Namespace to serve over gRPC; can be repeated or comma-separated. Default: all watched namespaces.
    #[arg(id = "grpc_namespaces", long = "grpc-namespaces", env = "GRPC_NAMESPACES", value_name = "NAMESPACE", value_delimiter = ',', value_parser = values::namespace)]
    pub namespaces: Vec<String>,

    /// Serve the Atomix API over TLS, with the certificate (tls.crt and tls.key) in this Secret of the controller's
    /// namespace or in this directory. The certificate is reloaded when it changes.
    #[arg(
        id = "grpc_certificate",
        long = "grpc-certificate",
        env = "GRPC_CERTIFICATE",
        value_name = "secret:NAME|files:DIRECTORY"
    )]
    pub certificate: Option<Source>,

    /// Require a client certificate that an authority in ca.crt of this Secret or directory has signed.
    #[arg(
        id = "grpc_client_ca",
        long = "grpc-client-ca",
        env = "GRPC_CLIENT_CA",
        value_name = "secret:NAME|files:DIRECTORY",
        requires = "grpc_certificate"
    )]
    pub client_ca: Option<Source>,

    /// Authentication and authorization of clients: `none`, or `kubernetes`, which requires a bearer token of the cluster
    /// and allows what RBAC allows its user to do with PartitionSets.
    #[arg(id = "grpc_auth", long = "grpc-auth", value_name = "METHOD", env = "GRPC_AUTH", value_enum, default_value_t)]
    pub auth: GrpcAuth,
}

/// Authentication and authorization of the Atomix API.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum GrpcAuth {
    /// Every client that reaches the port is allowed.
    #[default]
    None,
    /// Users of the cluster are allowed what RBAC allows them.
    Kubernetes,
}

/// The groups that are deleted over the Atomix API.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum GrpcDelete {
    /// Those that were created over it.
    #[default]
    Own,
    /// Every group, PartitionSets that were created with kubectl among them.
    Any,
}

impl Grpc {
    /// Sources of the API's certificates; none if it is served unencrypted.
    #[must_use]
    pub(crate) fn tls(&self) -> Option<Sources> {
        let certificate = self.certificate.clone()?;
        Some(Sources { certificate, client_ca: self.client_ca.clone() })
    }
}
