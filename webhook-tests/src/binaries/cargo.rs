//! What cargo builds.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::mpsc::RecvTimeoutError;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use super::{follow, profile_dir, say, workspace};

#[derive(Deserialize)]
struct CargoMessage {
    reason: String,
    executable: Option<PathBuf>,
    target: Option<CargoTarget>,
}

#[derive(Deserialize)]
struct CargoTarget {
    name: String,
    kind: HashSet<String>,
}

/// Builds the controller, in the profile of the running test.
pub fn build_controller() -> Result<PathBuf> {
    let name = "atomix-controller";
    let profile_dir = profile_dir()?;
    let profile = match profile_dir.file_name().and_then(OsStr::to_str) {
        None | Some("debug") => "dev",
        Some(profile) => profile,
    };
    let begun = Instant::now();
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // Cargo tells a program that it runs about its package. Handed down, that
    // would make the build scripts of dependencies (ring's) run again, and all
    // that follows from them.
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")) {
            cargo.env_remove(name);
        }
    }
    let mut child = cargo
        .current_dir(workspace())
        .args(["build", "--bin", name, "--profile", profile, "--message-format=json-render-diagnostics"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("running cargo")?;
    let lines = follow(&mut child);
    let messages = child.stdout.take().context("cargo without output")?;
    let reading = thread::spawn(move || {
        BufReader::new(messages)
            .lines()
            .map_while(Result::ok)
            .filter_map(|line| serde_json::from_str::<CargoMessage>(&line).ok())
            .filter(|message| message.reason == "compiler-artifact")
            .filter(|message| {
                message.target.as_ref().is_some_and(|target| target.name == name && target.kind.contains("bin"))
            })
            .filter_map(|message| message.executable)
            .last() // reads to the end: cargo must not meet a closed pipe
    });
    let mut printed = Vec::new();
    loop {
        match lines.recv_timeout(Duration::from_secs(3)) {
            Ok(line) => printed.push(line),
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                let latest = printed.last().map_or("", |line| line.trim());
                say(&format!("cargo builds the controller, {} s: {latest}", begun.elapsed().as_secs()));
            }
        }
    }
    let status = child.wait()?;
    ensure!(status.success(), "the controller does not build:\n{}", printed.join("\n"));
    reading.join().ok().flatten().with_context(|| format!("cargo built no {name}"))
}
