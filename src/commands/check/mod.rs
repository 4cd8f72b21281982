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

use anyhow::Context;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

pub use self::args::Check;
use self::args::Output;
use self::report::Report;
use crate::proxy;
use crate::tls::Names;

const READING: &str = "reading the kubeconfig";
const FINDING: &str = "finding the API server";

/// Checks every layer and prints the findings. The exit code is 1 if something is wrong.
///
/// # Errors
/// If the check could not run.
pub fn run(options: &Check) -> anyhow::Result<ExitCode> {
    // An earlier call in this process has installed the same one.
    drop(rustls::crypto::ring::default_provider().install_default());
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("starting the async runtime")?;
    let report = runtime.block_on(check(options))?;
    let text = match options.output {
        Output::Text => report.to_string(),
        Output::Json => serde_json::to_string_pretty(&report).context("writing JSON")? + "\n",
    };
    io::stdout().write_all(text.as_bytes()).context("writing to standard output")?;
    Ok(if report.ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn check(options: &Check) -> anyhow::Result<Report> {
    let mut config = connection(options).await?;
    if let Some(variable) = proxy::bypass(&mut config)? {
        eprintln!("{variable} names a proxy, which is not used: the API server is connected to directly");
    }
    config.default_retry = false;
    let client = Client::try_from(config).context(FINDING)?;
    let names = Names::new(&options.controller_name, &options.controller_namespace, &options.cluster_domain);
    let (address, namespace) = (options.address.as_deref(), options.namespace.as_deref());
    let observed = Box::pin(inspect::inspect(&client, &names, address, namespace)).await;
    Ok(diagnosis::diagnose(&observed, &names, SystemTime::now()))
}

async fn connection(options: &Check) -> anyhow::Result<Config> {
    let context = KubeConfigOptions { context: options.context.clone(), ..KubeConfigOptions::default() };
    let config = match &options.kubeconfig {
        Some(file) => Config::from_custom_kubeconfig(Kubeconfig::read_from(file).context(READING)?, &context).await,
        None if options.context.is_some() => Config::from_kubeconfig(&context).await,
        None => return Config::infer().await.context(FINDING),
    };
    config.context(READING)
}
