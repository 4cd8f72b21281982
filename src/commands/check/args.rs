//! The command line of `check`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// Options of `check`.
#[derive(Args, Clone, Debug)]
pub struct Check {
    /// Name of the controller: its Service, CA Secret and webhook configurations are called after it.
    #[arg(long, env = "CONTROLLER_NAME", default_value = "atomix-controller")]
    pub controller_name: String,

    /// Namespace of the controller's Service and CA Secret.
    #[arg(long, env = "CONTROLLER_NAMESPACE", default_value = "kube-system")]
    pub controller_namespace: String,

    /// DNS domain of the cluster.
    #[arg(long, env = "CLUSTER_DOMAIN", default_value = "cluster.local")]
    pub cluster_domain: String,

    /// Where to look at the certificate that is served, if not at the Service; such as a port that kubectl port-forward
    /// has opened.
    #[arg(long, value_name = "HOST:PORT")]
    pub address: Option<String>,

    /// Namespace to send two dry-run objects to, which only the webhooks refuse. Without it: one that they judge.
    #[arg(long, short)]
    pub namespace: Option<String>,

    /// Kubeconfig to use instead of the usual one.
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,

    /// Context of the kubeconfig to use instead of the current one.
    #[arg(long)]
    pub context: Option<String>,

    /// How to print what was found.
    #[arg(long, short, value_enum, default_value_t)]
    pub output: Output,
}

/// How findings are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// A line for each layer.
    #[default]
    Text,
    /// JSON.
    Json,
}
