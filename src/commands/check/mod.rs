//! The `check` command: says which layer is wrong when the API server gets no answer of the webhooks.
//!
//! `gather` looks, with the rights of whoever asks; `judge` says what it means, and is a function of values.

pub mod args;
mod canary;
mod gather;
mod judge;
mod peer;
pub mod report;
mod rights;
mod seen;

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

/// Why nothing could be looked at.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no runtime for the client.
    #[error("starting the async runtime: {0}")]
    Runtime(#[source] io::Error),
    /// The kubeconfig cannot be used.
    #[error("reading the kubeconfig: {0}")]
    Kubeconfig(#[from] kube::config::KubeconfigError),
    /// There is no usable way to the API server.
    #[error("finding the API server: {0}")]
    Client(#[from] kube::Error),
    /// The way to the API server is one that this program cannot go.
    #[error(transparent)]
    Proxied(#[from] proxy::Proxied),
    /// The findings cannot be written as JSON.
    #[error("writing JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// Nobody takes them.
    #[error("writing to standard output: {0}")]
    Print(#[source] io::Error),
}

/// Looks at every layer and prints what was found. The process ends with 1 if something is wrong.
///
/// # Errors
/// [`Error`] if nothing could be looked at.
pub fn run(options: &Check) -> Result<ExitCode, Error> {
    // Whoever was first has installed the same one.
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
    let seen = Box::pin(gather::gather(&client, &names, address, namespace)).await;
    Ok(judge::judge(&seen, &names, SystemTime::now()))
}

async fn connection(options: &Check) -> Result<Config, Error> {
    let context = KubeConfigOptions { context: options.context.clone(), ..KubeConfigOptions::default() };
    match &options.kubeconfig {
        Some(file) => Ok(Config::from_custom_kubeconfig(Kubeconfig::read_from(file)?, &context).await?),
        None if options.context.is_some() => Ok(Config::from_kubeconfig(&context).await?),
        None => Ok(Config::infer().await.map_err(kube::Error::InferConfig)?),
    }
}
