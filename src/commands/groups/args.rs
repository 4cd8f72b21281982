//! The command line of `groups`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

use crate::api::Protocol;
use crate::rules::duration;

/// Longest timeout of a request.
const MAX_TIMEOUT: Duration = Duration::from_secs(3600);

/// Options of `groups`.
#[derive(Args, Clone, Debug)]
pub struct Groups {
    /// The action.
    #[command(subcommand)]
    pub action: Action,

    /// Address of the Atomix API: HOST:PORT.
    #[arg(
        long,
        global = true,
        env = "ATOMIX_CONTROLLER",
        value_name = "HOST:PORT",
        default_value = "atomix-controller.kube-system.svc.cluster.local:5679"
    )]
    pub server: String,

    /// Namespace of groups that are given without one. Default: `default`.
    #[arg(long, short, global = true)]
    pub namespace: Option<String>,

    /// Output format.
    #[arg(long, short, global = true, value_enum, default_value_t = Output::Table)]
    pub output: Output,

    /// Timeout of a request, such as 10s.
    #[arg(long, global = true, default_value = "10s", value_parser = timeout)]
    pub timeout: Duration,

    /// Connect over TLS and trust the certificate authorities of this machine.
    #[arg(long, global = true)]
    pub tls: bool,

    /// Connect over TLS and trust the certificate authorities in this PEM file instead.
    #[arg(long, global = true, value_name = "FILE")]
    pub ca: Option<PathBuf>,

    /// Name that the server's certificate must have, if it is not the host of --server.
    #[arg(long, global = true, value_name = "NAME")]
    pub server_name: Option<String>,

    /// Client certificate, as a PEM file. Requires --key.
    #[arg(long, global = true, value_name = "FILE", requires = "key")]
    pub certificate: Option<PathBuf>,

    /// Private key of the client certificate, as a PEM file.
    #[arg(long, global = true, value_name = "FILE", requires = "certificate")]
    pub key: Option<PathBuf>,

    /// File with a bearer token, such as that of a Kubernetes ServiceAccount. It is sent over TLS or to this machine only.
    #[arg(long, global = true, env = "ATOMIX_TOKEN_FILE", value_name = "FILE")]
    pub token_file: Option<PathBuf>,
}

/// An action on groups. A group is `name`, or `namespace.name`.
#[derive(Clone, Debug, Subcommand)]
pub enum Action {
    /// List the groups of a namespace.
    List,
    /// Show a group and the address of each partition.
    Get {
        /// Name of the group, or namespace.name.
        group: String,
    },
    /// Create a group. An existing group with the same spec is no error.
    Create(Create),
    /// Delete a group with all its partitions and their data.
    Delete {
        /// Name of the group, or namespace.name.
        group: String,
    },
}

/// Options of `groups create`.
#[derive(Args, Clone, Debug)]
pub struct Create {
    /// Name of the group, or namespace.name.
    pub group: String,

    /// Replication protocol.
    #[arg(long, value_parser = protocol, help = format!("Replication protocol: {}", Protocol::ALL.map(Protocol::as_str).join(", ")))]
    pub protocol: Protocol,

    /// Number of partitions.
    #[arg(long, default_value_t = 1)]
    pub partitions: u32,

    /// Number of pods in each partition.
    #[arg(long = "partition-size", alias = "partitionSize", default_value_t = 1)]
    pub partition_size: u32,

    /// File with options of the protocol as YAML, such as `electionTimeout: 5s`; `-` reads standard input.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// Output format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// A table.
    Table,
    /// Protobuf JSON.
    Json,
    /// Protobuf JSON as YAML.
    Yaml,
}

fn timeout(text: &str) -> Result<Duration, String> {
    let within = duration::parse_std(text).filter(|timeout| (Duration::from_nanos(1)..=MAX_TIMEOUT).contains(timeout));
    within.ok_or_else(|| "must be a duration of at most 1h, such as 10s or 500ms".to_owned())
}

fn protocol(text: &str) -> Result<Protocol, String> {
    Protocol::parse(text).ok_or_else(|| {
        let names = Protocol::ALL.map(Protocol::as_str);
        format!("must be one of {}", names.join(", "))
    })
}
