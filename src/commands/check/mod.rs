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

pub use self::args::Check;
use self::args::Output;
use self::report::Report;
use crate::tls::Names;

/// Checks every layer and prints the findings. The exit code is 1 if something is wrong.
///
/// # Errors
/// If the check could not run.
pub fn run(options: &Check) -> anyhow::Result<ExitCode> {
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
    let (client, _) = options.kubeconfig.connect().await?;
    let names = Names::new(&options.controller_name, &options.controller_namespace, &options.cluster_domain);
    let (address, namespace) = (options.address.as_deref(), options.namespace.as_deref());
    let observed = Box::pin(inspect::inspect(&client, &names, address, namespace)).await;
    Ok(diagnosis::diagnose(&observed, &names, SystemTime::now()))
}
