//! The `completions` command: prints what makes a shell complete the command line.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Args, Command};
use clap_complete::Shell;

/// Options of `completions`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  # In this shell
  source <(atomix-controller completions bash)

  # In each new one
  atomix-controller completions zsh > \"${fpath[1]}/_atomix-controller\"")]
pub struct Completions {
    /// The shell.
    pub shell: Shell,
}

/// Prints the completions of `command`.
///
/// # Errors
/// If standard output is closed.
pub fn run(options: &Completions, mut command: Command) -> io::Result<ExitCode> {
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(options.shell, &mut command, name, &mut script);
    io::stdout().write_all(&script)?;
    Ok(ExitCode::SUCCESS)
}
