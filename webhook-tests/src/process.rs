//! Processes that are not children of this one, such as the components of a control plane.

use std::path::PathBuf;
use std::process::Command;
use std::{fs, io};

use anyhow::{Context, Result, ensure};

use crate::guarded::Signal;

fn proc_file(pid: u32, file: &str) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}/{file}"))
}

/// The process ids of the children that the main thread of a process has started.
///
/// # Errors
///
/// If there is no such process.
pub fn children(pid: u32) -> io::Result<Vec<u32>> {
    let list = fs::read_to_string(proc_file(pid, &format!("task/{pid}/children")))?;
    Ok(list.split_whitespace().filter_map(|child| child.parse().ok()).collect())
}

/// The program and arguments of a process, with blanks between them; nothing if there is no such process.
#[must_use]
pub fn command_line(pid: u32) -> String {
    fs::read_to_string(proc_file(pid, "cmdline")).unwrap_or_default().replace('\0', " ")
}

/// Sends a signal to a process.
///
/// # Errors
///
/// If there is no such process.
pub fn signal(pid: u32, signal: Signal) -> Result<()> {
    let sent = Command::new("kill").args(["-s", signal.word(), &pid.to_string()]).status().context("kill")?;
    ensure!(sent.success(), "kill -s {} {pid}: {sent}", signal.word());
    Ok(())
}
