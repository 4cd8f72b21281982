//! What Go builds: each module below `webhook-tests` once, and again only when
//! its sources change.

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hasher};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

use super::{follow, profile_dir, say, workspace};

/// The oldest Go that the modules name.
const GO: (u32, u32) = (1, 26);

/// How often a long build says that it is still alive.
const REPORT: Duration = Duration::from_secs(15);

/// A Go module with programs that tests run.
#[derive(Debug)]
pub struct Module {
    /// What it is called when there is something to say about it.
    pub name: &'static str,
    /// Its directory below `webhook-tests`.
    pub sources: &'static str,
    /// What of it is built, as `go build` takes it.
    pub packages: &'static str,
    /// The program that is asked for; others lie beside it.
    pub program: &'static str,
    /// Its directory below `target`, if it is not named after the program.
    pub target: Option<&'static str>,
    /// Flags of the linker, beside those that leave out symbols. They are given
    /// the module's directory.
    pub linker_flags: Option<fn(&Path) -> Result<String>>,
}

impl Module {
    /// Returns the path of the program, built if need be.
    ///
    /// # Errors
    ///
    /// If there is no Go, or one that is too old, or the build fails.
    pub fn build(&self) -> Result<PathBuf> {
        let sources = workspace().join("webhook-tests").join(self.sources);
        let target = profile_dir()?
            .parent()
            .context("a profile without a target directory")?
            .join(self.target.unwrap_or(self.program));
        let home = target.join(hash(&sources)?);
        let program = home.join(self.program);
        if program.is_file() {
            return Ok(program);
        }

        fs::create_dir_all(&target)?;
        let lock = File::create(target.join("lock"))?;
        if lock.try_lock().is_err() {
            say(&format!("waiting for another process to build {}", self.name));
            lock.lock()?;
        }
        if program.is_file() {
            return Ok(program);
        }

        let version = self.check_go(&sources)?;
        say(&format!("building {} with {version}: a minute or more the first time, seconds later", self.name));
        let own = self.linker_flags.map_or_else(|| Ok(String::new()), |flags| flags(&sources))?;
        let flags = format!("-s -w{own}");
        let unfinished = target.join("unfinished");
        remove(&unfinished)?;
        fs::create_dir(&unfinished)?;
        let mut build = Command::new("go");
        build
            .current_dir(&sources)
            // Without the state of the repository, which is not always one, nor readable for whoever builds.
            // Static: some run where there are no other files.
            .env("CGO_ENABLED", "0")
            .args(["build", "-mod=readonly", "-buildvcs=false", "-v", "-trimpath", "-ldflags", &flags, "-o"])
            .arg(&unfinished)
            .arg(self.packages);
        run_with_progress(build, self.name)?;

        remove(&home)?;
        fs::rename(&unfinished, &home)?;
        remove_others(&target, &home);
        ensure!(program.is_file(), "{} was built, and there is no {} in it", self.sources, self.program);
        Ok(program)
    }

    /// Returns the directory of a module that this one depends on, downloaded if need be.
    ///
    /// # Errors
    ///
    /// If there is no Go, or it cannot be downloaded.
    pub fn dependency(&self, module: &str) -> Result<PathBuf> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Downloaded {
            dir: PathBuf,
        }
        let output = Command::new("go")
            .current_dir(workspace().join("webhook-tests").join(self.sources))
            .args(["mod", "download", "-json", module])
            .output()
            .with_context(|| format!("{} needs Go, and `go` cannot be run", self.name))?;
        ensure!(output.status.success(), "go mod download: {}", String::from_utf8_lossy(&output.stdout));
        let Downloaded { dir } = serde_json::from_slice(&output.stdout).context("go mod download")?;
        Ok(dir)
    }

    /// Returns the version of Go, if it will do.
    fn check_go(&self, sources: &Path) -> Result<String> {
        let (major, minor) = GO;
        let output = Command::new("go")
            .current_dir(sources)
            .args(["env", "GOVERSION"])
            .output()
            .with_context(|| format!("{} needs Go {major}.{minor} or later, and `go` cannot be run", self.name))?;
        ensure!(output.status.success(), "go env: {}", String::from_utf8_lossy(&output.stderr));
        let version = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        let mut numbers = version.trim_start_matches("go").split('.').map(|part| part.parse::<u32>().unwrap_or(0));
        let found = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
        ensure!(found >= GO, "{} needs Go {major}.{minor} or later; this is {version}", self.name);
        Ok(version)
    }
}

fn remove(directory: &Path) -> Result<()> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| directory.display().to_string())
        }
        _ => Ok(()),
    }
}

/// Older binaries are 140 MB each. One that still runs keeps its inode.
fn remove_others(target: &Path, current: &Path) {
    for entry in fs::read_dir(target).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() && path != current {
            let _ = fs::remove_dir_all(path);
        }
    }
}

/// A name for the content of every file below a directory.
fn hash(dir: &Path) -> Result<String> {
    let mut files = Vec::new();
    let mut open = vec![dir.to_owned()];
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(&next).with_context(|| next.display().to_string())? {
            let path = entry?.path();
            if path.is_dir() {
                open.push(path);
            } else {
                files.push(path);
            }
        }
    }
    files.sort();
    let mut hasher = DefaultHasher::new();
    for file in files {
        let name = file.strip_prefix(dir)?.to_string_lossy().into_owned();
        let content = fs::read(&file)?;
        for part in [name.as_bytes(), &content] {
            hasher.write_usize(part.len());
            hasher.write(part);
        }
    }
    Ok(format!("{:016x}", hasher.finish()))
}

/// Runs a build that names what it compiles, line by line, on standard error.
fn run_with_progress(mut command: Command, what: &str) -> Result<()> {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    let lines = follow(&mut child);
    let begun = Instant::now();
    let mut printed = Vec::new();
    let mut next_report = begun + REPORT;
    loop {
        match lines.recv_timeout(next_report.saturating_duration_since(Instant::now())) {
            Ok(line) => printed.push(line),
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                let seconds = begun.elapsed().as_secs();
                say(&format!("building {what}: {} packages after {seconds} s", printed.len()));
                next_report += REPORT;
            }
        }
    }
    let status = child.wait()?;
    if !status.success() {
        // The last of it are the errors; before them come names of packages.
        let from = printed.len().saturating_sub(40);
        bail!("building {what} failed ({status}):\n{}", printed[from..].join("\n"));
    }
    say(&format!("built {what} in {} s", begun.elapsed().as_secs()));
    Ok(())
}
