//! The command line of `groups`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

use crate::api::Protocol;
use crate::rules::duration;

/// Longest time that a request may be given.
const MAX_TIMEOUT: Duration = Duration::from_secs(3600);

/// Options of `groups`.
#[derive(Args, Clone, Debug)]
pub struct Groups {
    /// What to do.
    #[command(subcommand)]
    pub action: Action,

    /// Where the Atomix API is served: HOST:PORT.
    #[arg(
        long,
        global = true,
        env = "ATOMIX_CONTROLLER",
        value_name = "HOST:PORT",
        default_value = "atomix-controller.kube-system.svc.cluster.local:5679"
    )]
    pub server: String,

    /// Namespace of groups that are given without one; `default` if left out.
    #[arg(long, short, global = true)]
    pub namespace: Option<String>,

    /// How to print groups.
    #[arg(long, short, global = true, value_enum, default_value_t = Output::Table)]
    pub output: Output,

    /// How long to wait for an answer, such as 10s.
    #[arg(long, global = true, default_value = "10s", value_parser = timeout)]
    pub timeout: Duration,

    /// Connect over TLS, and trust the certificate authorities of this machine.
    #[arg(long, global = true)]
    pub tls: bool,

    /// Connect over TLS, and trust the certificate authorities in this PEM file instead.
    #[arg(long, global = true, value_name = "FILE")]
    pub ca: Option<PathBuf>,

    /// Name that the server's certificate must have, if it is not the host of --server.
    #[arg(long, global = true, value_name = "NAME")]
    pub server_name: Option<String>,

    /// Own certificate to show, as a PEM file. Needs --key.
    #[arg(long, global = true, value_name = "FILE", requires = "key")]
    pub certificate: Option<PathBuf>,

    /// Private key of the own certificate, as a PEM file.
    #[arg(long, global = true, value_name = "FILE", requires = "certificate")]
    pub key: Option<PathBuf>,

    /// File with a bearer token to show, as that of a Kubernetes ServiceAccount. It is sent over TLS, or to this machine.
    #[arg(long, global = true, env = "ATOMIX_TOKEN_FILE", value_name = "FILE")]
    pub token_file: Option<PathBuf>,
}

/// What to do with groups. A group is `name`, or `namespace.name`.
#[derive(Clone, Debug, Subcommand)]
pub enum Action {
    /// List the groups of a namespace.
    List,
    /// Show a group and the address of each partition.
    Get {
        /// Name of the group, or namespace.name.
        group: String,
    },
    /// Create a group. It is no error if the same group exists.
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

    /// Replication protocol: raft, backup or log.
    #[arg(long, value_parser = protocol)]
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

/// How to print.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// Lines for people.
    Table,
    /// Protobuf JSON.
    Json,
    /// The same as YAML.
    Yaml,
}

fn timeout(text: &str) -> Result<Duration, String> {
    let nanos = duration::parse(text).and_then(|nanos| u64::try_from(nanos).ok()).map(Duration::from_nanos);
    let within = nanos.filter(|timeout| (Duration::from_nanos(1)..=MAX_TIMEOUT).contains(timeout));
    within.ok_or_else(|| "must be a duration of at most 1h, such as 10s or 500ms".to_owned())
}

fn protocol(text: &str) -> Result<Protocol, String> {
    Protocol::parse(text).ok_or_else(|| {
        let names = Protocol::ALL.map(Protocol::as_str);
        format!("must be one of {}", names.join(", "))
    })
}
