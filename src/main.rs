//! The `atomix-controller` binary.

use std::process::ExitCode;

use anyhow::Context;
use atomix_controller::cli::{Cli, Command, Run};
use atomix_controller::commands::{check, groups, validate};
use atomix_controller::runtime::repeats::Repeats;
use atomix_controller::{api, app};
use clap::Parser;
use tracing_subscriber::prelude::*;
use tracing_subscriber::{EnvFilter, Layer};

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("atomix-controller: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    match cli.command {
        Command::Crds => {
            print!("{}", api::crds::yaml()?);
            Ok(ExitCode::SUCCESS)
        }
        Command::Check(options) => Ok(check::run(&options)?),
        Command::Validate(options) => {
            let mut invalid = 0;
            for file in &options.files {
                invalid += validate::validate(file)?;
            }
            Ok(if invalid == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        Command::Groups(options) => Ok(groups::run(&options)),
        Command::Run(options) => {
            serve(*options)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn serve(options: Run) -> anyhow::Result<()> {
    // Whoever made a request reports how it failed; the client need not as well.
    let directives = format!("kube_client::client::builder=off,{}", options.log);
    let filter = EnvFilter::try_new(directives).context("reading --log")?;
    let lines = tracing_subscriber::fmt::layer().json().flatten_event(true).with_filter(Repeats::default());
    tracing_subscriber::registry().with(filter).with(lines).init();
    rustls::crypto::ring::default_provider()
        .install_default()
        .map_err(|_| anyhow::anyhow!("another TLS crypto provider is installed already"))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("starting the async runtime")?;
    let result = runtime.block_on(app::run(options)).context("running the controller");
    // What is under way on other threads still is not waited for, or it could hold up the end.
    runtime.shutdown_background();
    result
}
