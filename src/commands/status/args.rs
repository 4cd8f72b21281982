//! The command line of `status`.

use std::time::Duration;

use clap::Args;

use crate::commands::kubeconfig::KubeconfigArgs;
use crate::rules::duration;

/// Options of `status`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  # All sets of the namespace, a line each
  atomix-controller status

  # One set with its partitions and pods, and what it waits for
  atomix-controller status raft

  # Follow a change until all pods have it, at most ten minutes
  kubectl apply -f raft.yaml && atomix-controller status raft --watch --timeout 10m

The exit code is 0 if every set shown is ready and as its spec requires, and 1 if not, or if the timeout ends first.
With --watch, it is 1 as soon as a set is stalled or paused, since that does not change by itself.")]
pub struct Status {
    /// Name of the PartitionSet. Default: all of the namespace.
    pub set: Option<String>,

    /// Namespace. Default: that of the kubeconfig's context.
    #[arg(long, short)]
    pub namespace: Option<String>,

    /// All namespaces.
    #[arg(long, short = 'A', conflicts_with_all = ["set", "namespace"])]
    pub all_namespaces: bool,

    /// Print a line at each change, and end when all of it is ready.
    #[arg(long, short)]
    pub watch: bool,

    /// Longest time to watch, such as 10m. Default: no limit.
    #[arg(long, value_name = "DURATION", requires = "watch", value_parser = timeout)]
    pub timeout: Option<Duration>,

    /// How the API server is reached.
    #[command(flatten)]
    pub kubeconfig: KubeconfigArgs,
}

fn timeout(text: &str) -> Result<Duration, String> {
    let timeout = duration::parse_std(text).filter(|timeout| !timeout.is_zero());
    timeout.ok_or_else(|| "must be a duration, such as 90s or 10m".to_owned())
}
