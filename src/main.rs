//! The `atomix-controller` binary.

use std::process::ExitCode;

use anyhow::Context;
use atomix_controller::app;
use atomix_controller::cli::{Cli, Command, LogFormat, Run};
use atomix_controller::commands::{check, completions, crds, groups, man, status, validate};
use atomix_controller::runtime::log_filter;
use atomix_controller::runtime::repeats::Repeats;
use clap::{CommandFactory, Parser};
use tracing_subscriber::Layer;
use tracing_subscriber::prelude::*;

fn main() -> ExitCode {
    run(Cli::parse()).unwrap_or_else(|error| {
        eprintln!("atomix-controller: {error:#}");
        ExitCode::FAILURE
    })
}

fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    Ok(match cli.command {
        Command::Run(options) => serve(*options)?,
        Command::Crds => crds::run()?,
        Command::Check(options) => check::run(&options)?,
        Command::Status(options) => status::run(&options)?,
        Command::Groups(options) => groups::run(&options),
        Command::Validate(options) => validate::run(&options),
        Command::Completions(options) => {
            completions::run(&options, Cli::command()).context("writing to standard output")?
        }
        Command::Man(options) => man::run(&options, Cli::command()).context("writing the manual pages")?,
    })
}

fn serve(options: Run) -> anyhow::Result<ExitCode> {
    let (filter, log_filter) = log_filter::new(&options.log).context("reading --log")?;
    let lines = tracing_subscriber::fmt::layer();
    let lines = match options.log_format {
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
        LogFormat::Text => lines.with_ansi(false).boxed(),
    };
    let lines = lines.with_filter(Repeats::default());
    tracing_subscriber::registry().with(filter).with(lines).init();
    rustls::crypto::ring::default_provider()
        .install_default()
        .map_err(|_| anyhow::anyhow!("another TLS crypto provider is installed already"))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("starting the async runtime")?;
    let result = runtime.block_on(app::run(options, log_filter)).context("running the controller");
    // Blocking calls on other threads are not waited for: they could delay the end.
    runtime.shutdown_background();
    result.map(|()| ExitCode::SUCCESS)
}
