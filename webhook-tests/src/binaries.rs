//! The two programs that tests run, built when they are needed.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hasher};
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use serde::Deserialize;

/// The oldest Go that the module names.
const GO: (u32, u32) = (1, 26);

/// How often a long build says that it is still alive.
const REPORT: Duration = Duration::from_secs(15);

/// The name of the control plane's binary, and of the directory that holds it.
const CONTROLPLANE: &str = "controlplane";

/// Names a ready-made controller instead of building one: a release build, or
/// the one of an image.
const CONTROLLER_VARIABLE: &str = "ATOMIX_CONTROLLER";

/// The root of the workspace.
#[must_use]
pub fn workspace() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here)
}

/// The binary of the control plane. It is built on first use, which takes
/// minutes when Go's cache is cold, and again only when its sources change.
///
/// # Errors
///
/// If there is no Go, or one that is too old, or the build fails.
pub fn controlplane() -> Result<&'static Path> {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    once(&BUILT, build_controlplane)
}

/// The binary of the controller: built by cargo once per process, in the
/// profile of the running test, so that it is never stale. The environment
/// variable `ATOMIX_CONTROLLER` names one to take instead.
///
/// # Errors
///
/// If it does not compile.
pub fn controller() -> Result<&'static Path> {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    once(&BUILT, || match std::env::var_os(CONTROLLER_VARIABLE) {
        Some(path) => {
            let path = PathBuf::from(path);
            ensure!(path.is_file(), "{CONTROLLER_VARIABLE}={} is not a file", path.display());
            Ok(path)
        }
        None => build_controller(),
    })
}

fn once(
    cell: &'static OnceLock<Result<PathBuf, String>>,
    build: impl FnOnce() -> Result<PathBuf>,
) -> Result<&'static Path> {
    match cell.get_or_init(|| build().map_err(|error| format!("{error:#}"))) {
        Ok(path) => Ok(path),
        Err(error) => Err(anyhow!("{error}")),
    }
}

/// The directory of the running binary's profile, such as `target/debug`.
fn profile_dir() -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    let mut dir = own.parent().context("an executable without a directory")?;
    if dir.file_name().is_some_and(|name| name == "deps" || name == "examples") {
        dir = dir.parent().context("deps without a parent")?;
    }
    Ok(dir.to_owned())
}

/// Says something to whoever waits. The macros would go to the captured output
/// of a test, which is shown only when it fails.
pub(crate) fn say(message: &str) {
    let _ = writeln!(io::stderr().lock(), "webhook-tests: {message}");
}

fn build_controlplane() -> Result<PathBuf> {
    let sources = workspace().join("webhook-tests").join(CONTROLPLANE);
    let target = profile_dir()?.parent().context("a profile without a target directory")?.join(CONTROLPLANE);
    let home = target.join(hash(&sources)?);
    let binary = home.join(CONTROLPLANE);
    if binary.is_file() {
        return Ok(binary);
    }

    fs::create_dir_all(&target)?;
    let lock = File::create(target.join("lock"))?;
    if lock.try_lock().is_err() {
        say("waiting for another process to build the control plane");
        lock.lock()?;
    }
    if binary.is_file() {
        return Ok(binary);
    }

    let version = check_go(&sources)?;
    say(&format!("building the control plane with {version}: minutes the first time, seconds later"));
    let unfinished = target.join("unfinished");
    let flags = format!("-s -w{}", version_flags(&kubernetes_version(&sources)?));
    let mut build = Command::new("go");
    build
        .current_dir(&sources)
        .env("CGO_ENABLED", "0")
        .args(["build", "-v", "-trimpath", "-ldflags", &flags, "-o"])
        .args([unfinished.as_os_str(), OsStr::new(".")]);
    run_with_progress(build, "the control plane")?;

    fs::create_dir_all(&home)?;
    fs::rename(&unfinished, &binary)?;
    remove_others(&target, &home);
    Ok(binary)
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

/// Returns the version of Go, if it will do.
fn check_go(sources: &Path) -> Result<String> {
    let (major, minor) = GO;
    let output = Command::new("go")
        .current_dir(sources)
        .args(["env", "GOVERSION"])
        .output()
        .with_context(|| format!("the control plane needs Go {major}.{minor} or later, and `go` cannot be run"))?;
    ensure!(output.status.success(), "go env: {}", String::from_utf8_lossy(&output.stderr));
    let version = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let mut numbers = version.trim_start_matches("go").split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    let found = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    ensure!(found >= GO, "the control plane needs Go {major}.{minor} or later; this is {version}");
    Ok(version)
}

fn kubernetes_version(sources: &Path) -> Result<String> {
    let module = fs::read_to_string(sources.join("go.mod"))?;
    module
        .lines()
        .find_map(|line| line.trim().strip_prefix("k8s.io/kubernetes v"))
        .map(str::to_owned)
        .context("go.mod does not require k8s.io/kubernetes")
}

/// The components do not know their version unless the linker tells them, and
/// clients that parse it would fail.
fn version_flags(version: &str) -> String {
    let mut numbers = version.split('.');
    let (major, minor) = (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default());
    ["k8s.io/component-base/version", "k8s.io/client-go/pkg/version"]
        .map(|package| {
            format!(" -X {package}.gitVersion=v{version} -X {package}.gitMajor={major} -X {package}.gitMinor={minor}")
        })
        .concat()
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

fn follow(child: &mut Child) -> mpsc::Receiver<String> {
    let (sender, lines) = mpsc::channel();
    if let Some(stderr) = child.stderr.take() {
        thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
    }
    lines
}

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

fn build_controller() -> Result<PathBuf> {
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

#[cfg(test)]
mod tests {
    use super::version_flags;

    #[test]
    fn tells_the_version_to_servers_and_clients() {
        let flags = version_flags("1.36.3");
        assert!(flags.contains("-X k8s.io/component-base/version.gitVersion=v1.36.3"));
        assert!(flags.contains("-X k8s.io/client-go/pkg/version.gitMinor=36"));
    }
}
