//! The command line of the program. The options of `run` have a file for each subsystem.

mod certificates;
mod grpc;
mod partitions;
mod run;
#[cfg(test)]
mod tests;
mod values;
mod webhook;

use clap::{Parser, Subcommand};

pub use self::grpc::{GrpcAuth, GrpcDelete};
pub use self::run::{LogFormat, Run};
use crate::commands::check::Check;
use crate::commands::completions::Completions;
use crate::commands::groups::Groups;
use crate::commands::man::Man;
use crate::commands::status::Status;
use crate::commands::validate::Validate;

/// Runs Atomix partition groups on Kubernetes.
#[derive(Debug, Parser)]
#[command(name = "atomix-controller", version, about)]
pub struct Cli {
    /// The command to run.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve the admission webhooks and the Atomix API, and run the controllers.
    Run(Box<Run>),
    /// Print the CustomResourceDefinitions as YAML.
    Crds,
    /// Diagnose why the API server gets no answer of the webhooks: Secret, Service, certificate, trust or reachability.
    /// Uses the rights of the kubeconfig's user.
    Check(Box<Check>),
    /// Show PartitionSets, their partitions and pods and what they wait for, and follow a change until it is complete.
    Status(Status),
    /// List, show, create and delete partition groups over the Atomix API.
    Groups(Box<Groups>),
    /// Validate PartitionSets in YAML or JSON files as `kubectl create` would, without a cluster. Policies of namespaces
    /// are not checked. The exit code is 0 if all are valid, 1 if one is invalid, and 2 if a file cannot be read or the
    /// command line is wrong.
    Validate(Validate),
    /// Print the completions of a shell.
    Completions(Completions),
    /// Write the manual pages.
    Man(Man),
}
