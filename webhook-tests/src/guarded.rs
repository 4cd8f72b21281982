use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::binaries;

/// A signal that can be sent to a [`Guarded`] process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// Asks to end in order.
    Term,
    /// As Ctrl-C does.
    Int,
    /// Ends at once.
    Kill,
    /// Stops the process where it is, as if the machine slept.
    Stop,
    /// Lets a stopped process go on.
    Cont,
}

impl Signal {
    /// As kill(1) and the guard call it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Term => "TERM",
            Self::Int => "INT",
            Self::Kill => "KILL",
            Self::Stop => "STOP",
            Self::Cont => "CONT",
        }
    }
}

/// A process that ends with this one, however this one ends.
///
/// `PR_SET_PDEATHSIG` alone would not do: it is tied to the thread that starts
/// the process, and tests come and go on threads of their own. So the process
/// is a child of `controlplane guard`, which ends it when the pipe to here is
/// closed, and the kernel closes that pipe even after SIGKILL.
#[derive(Debug)]
pub struct Guarded {
    guard: Child,
    input: Mutex<Option<ChildStdin>>,
    pid: u32,
}

#[derive(Deserialize)]
struct Started {
    pid: u32,
}

impl Guarded {
    /// Starts a program with no environment but `environment`; its output is
    /// appended to the file `log`.
    ///
    /// # Errors
    ///
    /// If it cannot be started.
    pub fn start(program: &Path, arguments: &[String], environment: &[(String, String)], log: &Path) -> Result<Self> {
        let mut guard = Command::new(binaries::controlplane()?)
            .args([OsStr::new("guard"), OsStr::new("--log"), log.as_os_str(), OsStr::new("--")])
            .arg(program)
            .args(arguments)
            .env_clear()
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("starting the guard")?;
        let input = guard.stdin.take();
        let mut line = String::new();
        if let Some(output) = guard.stdout.take() {
            BufReader::new(output).read_line(&mut line)?;
        }
        let Ok(Started { pid }) = serde_json::from_str(&line) else {
            let status = guard.wait()?;
            bail!("{} could not be started: its guard ended with {status}", program.display());
        };
        Ok(Self { guard, input: Mutex::new(input), pid })
    }

    /// The process id of the program itself.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Sends a signal; nothing happens if the program has ended.
    pub fn signal(&self, signal: Signal) {
        let mut input = self.input.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(input) = input.as_mut() {
            // A broken pipe means that there is no process to signal any more.
            let _ = writeln!(input, "{}", signal.word());
        }
    }

    /// Waits for the end. A program that a signal has ended counts as one that
    /// exits with 128 plus the signal's number, as in a shell.
    ///
    /// # Errors
    ///
    /// If the system call fails.
    pub fn wait(&mut self) -> Result<ExitStatus> {
        // Child::wait closes the stdin that it still has; ours was taken out
        // of it, so waiting does not end the program.
        Ok(self.guard.wait()?)
    }

    /// Whether the program has ended, and how.
    ///
    /// # Errors
    ///
    /// If the system call fails.
    pub fn try_wait(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.guard.try_wait()?)
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        self.input.lock().unwrap_or_else(PoisonError::into_inner).take();
        let _ = self.guard.wait();
    }
}
