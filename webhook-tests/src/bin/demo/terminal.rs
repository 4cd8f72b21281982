//! What the person in front of the terminal sees: numbered steps, and commands
//! with exactly what they print.

use std::fmt::Write as _;
use std::io::{self, Read, Write as _};
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use webhook_tests::{Kubectl, binaries};

/// What the controller's program is called.
const CONTROLLER: &str = "atomix-controller";

/// Prints steps and runs commands.
pub struct Terminal {
    kubectl: Kubectl,
    /// Where the files of the demo are, and its commands run.
    directory: PathBuf,
}

/// The rule below a step's number.
const WIDTH: usize = 100;

/// Announces a step.
pub fn step(number: u32, title: &str) {
    let title = format!("== {number}. {title} ");
    println!("\n{title}{}\n", "=".repeat(WIDTH.saturating_sub(title.len())));
}

impl Terminal {
    /// Commands of this kubectl, run in this directory.
    pub fn new(kubectl: Kubectl, directory: PathBuf) -> Self {
        Self { kubectl, directory }
    }

    /// Writes a file and shows it.
    pub fn file(&self, name: &str, text: &str) -> Result<()> {
        std::fs::write(self.directory.join(name), text).with_context(|| format!("writing {name}"))?;
        println!("$ cat {name}\n{text}");
        Ok(())
    }

    /// A command that has to succeed. Returns what it printed.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        let (printed, success) = self.run("kubectl", self.kubectl.command(), arguments)?;
        ensure!(success, "this command should have succeeded: kubectl {}", arguments.join(" "));
        Ok(printed)
    }

    /// A command that has to fail. Returns what it printed.
    pub fn kubectl_fails(&self, arguments: &[&str]) -> Result<String> {
        let (printed, success) = self.run("kubectl", self.kubectl.command(), arguments)?;
        ensure!(!success, "this command should have failed: kubectl {}", arguments.join(" "));
        Ok(printed)
    }

    /// A command of the controller's own program that has to succeed. Returns what it printed.
    pub fn controller(&self, arguments: &[&str]) -> Result<String> {
        let (printed, success) = self.run(CONTROLLER, Command::new(binaries::controller()?), arguments)?;
        ensure!(success, "this command should have succeeded: {CONTROLLER} {}", arguments.join(" "));
        Ok(printed)
    }

    fn run(&self, name: &str, mut command: Command, arguments: &[&str]) -> Result<(String, bool)> {
        println!("$ {name}{}", quoted(arguments));
        // One pipe for both streams keeps their lines in order, as on a terminal.
        let (mut output, input) = io::pipe()?;
        command.args(arguments).current_dir(&self.directory).stdout(input.try_clone()?).stderr(input);
        let mut child = command.spawn().with_context(|| format!("starting {name}"))?;
        // The command holds our copies of the pipe's end, which would stay open.
        drop(command);
        let mut printed = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            let count = output.read(&mut buffer)?;
            if count == 0 {
                break;
            }
            io::stdout().write_all(&buffer[..count])?;
            io::stdout().flush()?;
            printed.extend_from_slice(&buffer[..count]);
        }
        let success = child.wait()?.success();
        println!();
        Ok((String::from_utf8_lossy(&printed).into_owned(), success))
    }
}

/// The arguments as one would type them in a shell.
fn quoted(arguments: &[&str]) -> String {
    arguments.iter().fold(String::new(), |mut line, argument| {
        let plain =
            argument.chars().all(|character| character.is_ascii_alphanumeric() || "-_=./,:".contains(character));
        let _ = if plain { write!(line, " {argument}") } else { write!(line, " '{argument}'") };
        line
    })
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn commands_can_be_copied_to_a_shell() {
        assert_eq!(quoted(&["get", "pods", "-o=name"]), " get pods -o=name");
        assert_eq!(quoted(&["-o", "jsonpath={.a[*].b}"]), " -o 'jsonpath={.a[*].b}'");
    }
}
