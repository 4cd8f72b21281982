//! The `crds` command: prints the CustomResourceDefinitions.

use std::process::ExitCode;

use crate::api::crds::{self, Error};

/// Prints the CustomResourceDefinitions as YAML.
///
/// # Errors
/// [`Error`] if they cannot be rendered.
pub fn run() -> Result<ExitCode, Error> {
    print!("{}", crds::yaml()?);
    Ok(ExitCode::SUCCESS)
}
