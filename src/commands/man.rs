//! The `man` command: writes the manual pages.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Command};

/// Options of `man`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  # For the current user
  mkdir -p ~/.local/share/man/man1 && atomix-controller man ~/.local/share/man/man1
  man atomix-controller-status")]
pub struct Man {
    /// Directory that the pages are written to, one for each command.
    pub directory: PathBuf,
}

/// Writes the pages of `command` and of each command in it.
///
/// # Errors
/// If a file cannot be written.
pub fn run(options: &Man, command: Command) -> io::Result<ExitCode> {
    clap_mangen::generate_to(command, &options.directory)?;
    Ok(ExitCode::SUCCESS)
}
