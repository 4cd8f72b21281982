//! Options of `run` that concern the whole process.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::certificates::Certificates;
use super::grpc::{Grpc, GrpcDelete};
use super::partitions::Partitions;
use super::values;
use super::webhook::Webhook;
use crate::controller::Settings;
use crate::grpc::Access;
use crate::scope::Scope;
use crate::tls::{self, Names};

/// Options of `run`.
#[derive(Args, Clone, Debug)]
#[command(args_override_self = true)]
pub struct Run {
    /// Name of this controller and of its Service, CA Secret and webhook configurations.
    #[arg(long, env = "CONTROLLER_NAME", default_value = "atomix-controller", value_parser = values::controller_name)]
    pub controller_name: String,

    /// Namespace of the controller's Service and CA Secret.
    #[arg(long, env = "CONTROLLER_NAMESPACE", default_value = "kube-system", value_parser = values::namespace)]
    pub controller_namespace: String,

    /// Namespace to watch; can be repeated or comma-separated. Default: all namespaces.
    #[arg(long = "namespace", env = "WATCH_NAMESPACES", value_name = "NAMESPACE", value_delimiter = ',', value_parser = values::namespace)]
    pub namespaces: Vec<String>,

    /// DNS domain of the cluster.
    #[arg(long, env = "CLUSTER_DOMAIN", default_value = "cluster.local", value_parser = values::domain)]
    pub cluster_domain: String,

    /// Name of this replica in events, in the Lease and in the API server's audit log.
    #[arg(long, env = "POD_NAME")]
    pub pod_name: Option<String>,

    /// Address of /metrics, /livez and /readyz, over plain HTTP.
    #[arg(long, env = "METRICS_ADDRESS", default_value = "[::]:8080")]
    pub metrics_address: SocketAddr,

    /// How long the servers still answer after SIGTERM, until clients no longer connect to this replica; such as 5s or
    /// 500ms, at most 5m.
    #[arg(long, env = "DRAIN", default_value = "5s", value_parser = values::drain)]
    pub drain: Duration,

    /// Log filter: a level (error, warn, info, debug, trace), or directives such as `info,atomix_controller=debug`.
    #[arg(long, env = "LOG", default_value = "info")]
    pub log: String,

    /// File whose text is taken in place of --log while it has any; it is read every two seconds.
    #[arg(long, env = "LOG_FILTER_FILE", value_name = "FILE")]
    pub log_filter_file: Option<PathBuf>,

    /// Form of log lines.
    #[arg(long, value_name = "FORM", env = "LOG_FORMAT", value_enum, default_value_t)]
    pub log_format: LogFormat,

    /// Options of the partitions.
    #[command(flatten, next_help_heading = "Partitions")]
    pub partitions: Partitions,

    /// Options of the Atomix API.
    #[command(flatten, next_help_heading = "Atomix API (gRPC)")]
    pub grpc: Grpc,

    /// Options of the admission webhooks.
    #[command(flatten, next_help_heading = "Admission webhooks")]
    pub webhook: Webhook,

    /// Periods of the webhooks' self-signed certificates.
    #[command(flatten, next_help_heading = "Self-signed certificates of the webhooks")]
    pub certificates: Certificates,
}

/// Form of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// A JSON object a line, for programs.
    #[default]
    Json,
    /// Text, for people.
    Text,
}

impl Run {
    /// Name of this replica in messages.
    #[must_use]
    pub fn replica(&self) -> &str {
        self.pod_name.as_deref().unwrap_or(&self.controller_name)
    }

    /// The namespaces to watch.
    #[must_use]
    pub fn scope(&self) -> Scope {
        Scope::of(&self.namespaces)
    }

    /// The webhooks' certificates.
    #[must_use]
    pub(crate) fn webhook_tls(&self) -> tls::Settings {
        tls::Settings {
            mode: self.webhook.certificate.clone(),
            clients: self.webhook.clients(),
            names: Names::new(&self.controller_name, &self.controller_namespace, &self.cluster_domain),
            periods: self.certificates.periods(),
        }
    }

    /// What every client of the Atomix API is allowed.
    #[must_use]
    pub(crate) fn access(&self) -> Access {
        let namespaces = if self.grpc.namespaces.is_empty() { &self.namespaces } else { &self.grpc.namespaces };
        Access {
            read_only: self.grpc.read_only,
            delete_any: self.grpc.delete == GrpcDelete::Any,
            namespaces: Scope::of(namespaces),
            authority: None,
        }
    }

    /// Settings of the reconcilers.
    #[must_use]
    pub fn settings(&self) -> Settings {
        Settings {
            name: self.controller_name.clone(),
            namespace: self.controller_namespace.clone(),
            cluster_domain: self.cluster_domain.clone(),
            images: self.partitions.images.0.clone(),
            image_pull_secrets: self.partitions.image_pull_secrets.clone(),
            legacy_endpoints: self.partitions.legacy_endpoints,
        }
    }
}
