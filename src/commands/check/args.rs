//! The command line of `check`.

use clap::{Args, ValueEnum};

use crate::commands::kubeconfig::KubeconfigArgs;

/// Options of `check`.
#[derive(Args, Clone, Debug)]
pub struct Check {
    /// Name of the controller and of its Service, CA Secret and webhook configurations.
    #[arg(long, env = "CONTROLLER_NAME", default_value = "atomix-controller")]
    pub controller_name: String,

    /// Namespace of the controller's Service and CA Secret.
    #[arg(long, env = "CONTROLLER_NAMESPACE", default_value = "kube-system")]
    pub controller_namespace: String,

    /// DNS domain of the cluster.
    #[arg(long, env = "CLUSTER_DOMAIN", default_value = "cluster.local")]
    pub cluster_domain: String,

    /// Address of the serving certificate, such as a port that kubectl port-forward has opened. Default: that of the
    /// Service.
    #[arg(long, value_name = "HOST:PORT")]
    pub address: Option<String>,

    /// Namespace of two dry-run objects, which only the webhooks refuse. Default: one that they select.
    #[arg(long, short)]
    pub namespace: Option<String>,

    /// How the API server is reached.
    #[command(flatten)]
    pub kubeconfig: KubeconfigArgs,

    /// Output format.
    #[arg(long, short, value_enum, default_value_t)]
    pub output: Output,
}

/// Output format.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// A line for each layer.
    #[default]
    Text,
    /// JSON.
    Json,
}
