//! The command line: what can be run, and how it is told what to do.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand};

use crate::controller::{Images, Settings};

/// Runs Atomix partition groups on Kubernetes.
#[derive(Debug, Parser)]
#[command(name = "atomix-controller", version, about)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve the admission webhooks and run the controllers.
    Run(Box<Run>),
    /// Print the CustomResourceDefinitions as YAML.
    Crds,
    /// Judge PartitionSets in YAML files as the webhooks would, without a cluster.
    Validate(Validate),
}

/// Options of `run`.
#[derive(Args, Clone, Debug)]
#[command(args_override_self = true)]
pub struct Run {
    /// Name of this controller: its Service, CA Secret and webhook configurations are called after it.
    #[arg(long, env = "CONTROLLER_NAME", default_value = "atomix-controller")]
    pub controller_name: String,

    /// Namespace of the controller's Service and CA Secret.
    #[arg(long, env = "CONTROLLER_NAMESPACE", default_value = "kube-system")]
    pub controller_namespace: String,

    /// Name of this replica, for events.
    #[arg(long, env = "POD_NAME")]
    pub pod_name: Option<String>,

    /// Address to serve the admission webhooks on, over TLS.
    #[arg(long, env = "WEBHOOK_ADDRESS", default_value = "0.0.0.0:9443")]
    pub webhook_address: SocketAddr,

    /// Address to serve /metrics, /livez and /readyz on, in plain HTTP.
    #[arg(long, env = "METRICS_ADDRESS", default_value = "0.0.0.0:8080")]
    pub metrics_address: SocketAddr,

    /// DNS domain of the cluster.
    #[arg(long, env = "CLUSTER_DOMAIN", default_value = "cluster.local")]
    pub cluster_domain: String,

    /// Image of Raft nodes where a set names none.
    #[arg(long, env = "RAFT_IMAGE", default_value = "atomix/atomix-raft-node:latest")]
    pub raft_image: String,

    /// Image of primary-backup nodes where a set names none.
    #[arg(long, env = "BACKUP_IMAGE", default_value = "atomix/atomix-backup-node:latest")]
    pub backup_image: String,

    /// Image of distributed log nodes where a set names none.
    #[arg(long, env = "LOG_IMAGE", default_value = "atomix/atomix-log-node:latest")]
    pub log_image: String,

    /// Whether to write core/v1 Endpoints beside the EndpointSlices, for `kubectl get endpoints` and kube-dns.
    #[arg(long, env = "LEGACY_ENDPOINTS", default_value_t = true, action = ArgAction::Set)]
    pub legacy_endpoints: bool,

    /// Partitions that are reconciled at the same time.
    #[arg(long, env = "WORKERS", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub workers: u16,

    /// What to log: a level (error, warn, info, debug, trace), or directives such as `info,atomix_controller=debug`.
    #[arg(long, env = "LOG", default_value = "info")]
    pub log: String,
}

/// Options of `validate`.
#[derive(Args, Debug)]
pub struct Validate {
    /// Files with PartitionSets; `-` reads standard input.
    #[arg(required = true)]
    pub files: Vec<PathBuf>,
}

impl Run {
    /// What the reconcilers build from.
    #[must_use]
    pub fn settings(&self) -> Settings {
        Settings {
            name: self.controller_name.clone(),
            namespace: self.controller_namespace.clone(),
            cluster_domain: self.cluster_domain.clone(),
            images: Images {
                raft: self.raft_image.clone(),
                backup: self.backup_image.clone(),
                log: self.log_image.clone(),
            },
            legacy_endpoints: self.legacy_endpoints,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn an_option_given_twice_takes_the_last() {
        let cli = Cli::parse_from(["x", "run", "--workers=2", "--workers=3"]);
        assert!(matches!(cli.command, Command::Run(run) if run.workers == 3));
    }
}
