//! The `check` command: diagnoses why the API server gets no answer of the webhooks.
//!
//! `inspect` reads everything from the cluster, with the rights of the kubeconfig's user; `diagnosis` is a function of
//! what was observed.

mod args;
mod canary;
mod diagnosis;
mod inspect;
mod mode;
mod observation;
mod peer;
mod report;
mod rights;

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::SystemTime;

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

pub use self::args::Check;
use self::args::Output;
use self::report::Report;
use crate::proxy;
use crate::tls::Names;

/// Why the check could not run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no runtime for the client.
    #[error("starting the async runtime: {0}")]
    Runtime(#[source] io::Error),
    /// The kubeconfig cannot be used.
    #[error("reading the kubeconfig: {0}")]
    Kubeconfig(#[from] kube::config::KubeconfigError),
    /// The API server cannot be reached as configured.
    #[error("finding the API server: {0}")]
    Client(#[from] kube::Error),
    /// The API server is behind a proxy that the client does not support.
    #[error(transparent)]
    Proxied(#[from] proxy::Proxied),
    /// The findings cannot be written as JSON.
    #[error("writing JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// Standard output is closed.
    #[error("writing to standard output: {0}")]
    Print(#[source] io::Error),
}

/// Checks every layer and prints the findings. The exit code is 1 if something is wrong.
///
/// # Errors
/// [`Error`] if the check could not run.
pub fn run(options: &Check) -> Result<ExitCode, Error> {
    // An earlier call in this process has installed the same one.
    drop(rustls::crypto::ring::default_provider().install_default());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Error::Runtime)?;
    let report = runtime.block_on(check(options))?;
    let text = match options.output {
        Output::Text => report.to_string(),
        Output::Json => serde_json::to_string_pretty(&report)? + "\n",
    };
    io::stdout().write_all(text.as_bytes()).map_err(Error::Print)?;
    Ok(if report.ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn check(options: &Check) -> Result<Report, Error> {
    let mut config = connection(options).await?;
    if let Some(variable) = proxy::bypass(&mut config)? {
        eprintln!("{variable} names a proxy, which is not used: the API server is connected to directly");
    }
    config.default_retry = false;
    let client = Client::try_from(config)?;
    let names = Names::new(&options.controller_name, &options.controller_namespace, &options.cluster_domain);
    let (address, namespace) = (options.address.as_deref(), options.namespace.as_deref());
    let observed = Box::pin(inspect::inspect(&client, &names, address, namespace)).await;
    Ok(diagnosis::diagnose(&observed, &names, SystemTime::now()))
}

async fn connection(options: &Check) -> Result<Config, Error> {
    let context = KubeConfigOptions { context: options.context.clone(), ..KubeConfigOptions::default() };
    match &options.kubeconfig {
        Some(file) => Ok(Config::from_custom_kubeconfig(Kubeconfig::read_from(file)?, &context).await?),
        None if options.context.is_some() => Ok(Config::from_kubeconfig(&context).await?),
        None => Ok(Config::infer().await.map_err(kube::Error::InferConfig)?),
    }
}
