use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::sync::{Once, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;
use std::{io, panic, thread};

use anyhow::{Context, Result, anyhow, bail};
use serde::Deserialize;

use crate::audit::{AuditEntry, AuditLog};
use crate::binaries::{self, say};
use crate::kubectl::Kubectl;
use crate::unique::suffix;

/// The supervisor itself gives up earlier and says why.
const PATIENCE: Duration = Duration::from_secs(150);

/// The account of the shipped manifest.
const SHIPPED: &str = "system:serviceaccount:kube-system:atomix-controller";

/// Whether it is a request of the shipped account that was answered.
fn is_complete(entry: &AuditEntry) -> bool {
    entry.user == SHIPPED && entry.stage == "ResponseComplete"
}

/// A running control plane.
///
/// Its supervisor holds the other end of a pipe to this process: when the pipe
/// is closed, by dropping this or by the end of the process, SIGKILL included,
/// it ends all components and removes the directory.
#[derive(Debug)]
pub struct ControlPlane {
    supervisor: Child,
    place: Place,
    kubectl: Kubectl,
    audit: AuditLog,
    keep: AtomicBool,
}

/// What the supervisor prints when all is ready.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Place {
    dir: PathBuf,
    kubeconfig: PathBuf,
    server: String,
    audit_log: PathBuf,
}

impl ControlPlane {
    /// Starts a control plane of its own. It takes about five seconds, and
    /// minutes if its binary has to be built first.
    ///
    /// # Errors
    ///
    /// If it cannot be built, or a component does not come up; the error ends
    /// with the log of that component.
    pub fn start() -> Result<Self> {
        Self::start_as(&[])
    }

    /// As [`ControlPlane::start`], with an API server that shows the
    /// certificate in this file, with the key in the other, to every webhook.
    ///
    /// # Errors
    ///
    /// As for [`ControlPlane::start`].
    pub fn start_with_client_certificate(certificate: &Path, key: &Path) -> Result<Self> {
        let option = |name: &str, path: &Path| format!("--webhook-client-{name}={}", path.display());
        Self::start_as(&[option("certificate", certificate), option("key", key)])
    }

    /// As [`ControlPlane::start`], with Services that can have addresses of both
    /// families. Those that ask for nothing have an IPv4 address.
    ///
    /// # Errors
    ///
    /// As for [`ControlPlane::start`].
    pub fn start_dual_stack() -> Result<Self> {
        Self::start_as(&["--dual-stack".to_owned()])
    }

    fn start_as(options: &[String]) -> Result<Self> {
        let binary = binaries::controlplane()?;
        // Between the choice of a free port and its use another process may take it.
        let mut started = Self::start_with(binary, options);
        for _ in 0..2 {
            match &started {
                Err(error) if error.to_string().contains("address already in use") => {
                    started = Self::start_with(binary, options);
                }
                _ => break,
            }
        }
        started
    }

    fn start_with(binary: &Path, options: &[String]) -> Result<Self> {
        let dir = std::env::temp_dir().join(format!("webhook-tests-run-{}", suffix()));
        let bin = dir.join("bin");
        fs::create_dir_all(&bin).with_context(|| bin.display().to_string())?;
        // For people who look around with the directory in their PATH.
        let kubectl = bin.join("kubectl");
        symlink(binary.with_file_name("kubectl"), &kubectl)?;

        let mut supervisor = Command::new(binary)
            .args(["up", "--dir"])
            .arg(&dir)
            .args(options)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("starting the supervisor")?;
        let said = repeat_stderr(&mut supervisor);
        match first_line(&mut supervisor) {
            Ok(line) => {
                let place: Place = serde_json::from_str(&line).with_context(|| line.clone())?;
                let kubectl = Kubectl::new(kubectl, place.kubeconfig.clone(), place.dir.join("home"));
                let audit = AuditLog::new(place.audit_log.clone());
                Ok(Self { supervisor, place, kubectl, audit, keep: AtomicBool::new(false) })
            }
            Err(error) => {
                let _ = File::create(dir.join("keep"));
                drop(supervisor.stdin.take());
                let status = supervisor.wait()?;
                // Complete only now: why it ended is what it says last.
                let said = said.join().unwrap_or_default();
                bail!("the control plane did not come up: {error}; {status}\n{said}\nlogs: {}", dir.display());
            }
        }
    }

    /// The control plane that the tests of this process share. It ends with
    /// the process; its logs are kept if any test panics.
    ///
    /// # Panics
    ///
    /// If it cannot be started.
    #[must_use]
    pub fn shared() -> &'static Self {
        Self::try_shared().unwrap_or_else(|error| panic!("{error:#}"))
    }

    pub(crate) fn try_shared() -> Result<&'static Self> {
        // The error is kept as well: starting again would fail again, slowly.
        static SHARED: OnceLock<Result<ControlPlane, String>> = OnceLock::new();
        let started = SHARED.get_or_init(|| {
            let started = Self::start().map_err(|error| format!("{error:#}"))?;
            started.keep_logs_after_panics();
            Ok(started)
        });
        started.as_ref().map_err(|error| anyhow!("{error}"))
    }

    /// The administrator's kubeconfig.
    #[must_use]
    pub fn kubeconfig(&self) -> &Path {
        &self.place.kubeconfig
    }

    /// The URL of the API server.
    #[must_use]
    pub fn server(&self) -> &str {
        &self.place.server
    }

    /// The directory of everything that belongs to this control plane. It is
    /// removed at the end.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.place.dir
    }

    /// The directory of the components' logs, and of the controllers'.
    #[must_use]
    pub fn logs(&self) -> PathBuf {
        self.place.dir.join("logs")
    }

    /// The administrator's kubectl.
    #[must_use]
    pub fn kubectl(&self) -> &Kubectl {
        &self.kubectl
    }

    /// The process id of the supervisor, whose children the components are.
    #[must_use]
    pub fn supervisor_pid(&self) -> u32 {
        self.supervisor.id()
    }

    /// The completed requests of the `ServiceAccount` of the shipped manifest,
    /// in the order of their completion. A watch completes when it ends: see
    /// [`ControlPlane::audit_stages`].
    ///
    /// # Panics
    ///
    /// If the audit log cannot be read.
    #[must_use]
    pub fn audit(&self) -> Vec<AuditEntry> {
        self.audit.look(|entries| entries.iter().filter(|entry| is_complete(entry)).cloned().collect())
    }

    /// How many of [`ControlPlane::audit`] are like this, for those who ask again and again.
    ///
    /// # Panics
    ///
    /// If the audit log cannot be read.
    #[must_use]
    pub fn count_audit(&self, wanted: impl Fn(&AuditEntry) -> bool) -> usize {
        self.audit.look(|entries| entries.iter().filter(|entry| is_complete(entry) && wanted(entry)).count())
    }

    /// As [`ControlPlane::audit`], with all recorded stages: a watch has one
    /// `ResponseStarted` when it begins.
    ///
    /// # Panics
    ///
    /// If the audit log cannot be read.
    #[must_use]
    pub fn audit_stages(&self) -> Vec<AuditEntry> {
        self.audit_stages_of(SHIPPED)
    }

    /// As [`ControlPlane::audit_stages`], for another `ServiceAccount`: see
    /// [`crate::Installation::user`].
    ///
    /// # Panics
    ///
    /// If the audit log cannot be read.
    #[must_use]
    pub fn audit_stages_of(&self, user: &str) -> Vec<AuditEntry> {
        self.audit.look(|entries| entries.iter().filter(|entry| entry.user == user).cloned().collect())
    }

    /// Leaves the logs where they are when this control plane ends, and says
    /// where that is.
    pub fn keep_logs(&self) {
        self.keep.store(true, Ordering::Relaxed);
        keep(&self.place.dir);
    }

    fn keep_logs_after_panics(&self) {
        static SHOWN: Once = Once::new();
        let dir = self.place.dir.clone();
        let previous = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            previous(info);
            SHOWN.call_once(|| keep(&dir));
        }));
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        if thread::panicking() && !self.keep.load(Ordering::Relaxed) {
            keep(&self.place.dir);
        }
        drop(self.supervisor.stdin.take());
        let _ = self.supervisor.wait();
    }
}

fn keep(dir: &Path) {
    if File::create(dir.join("keep")).is_ok() {
        say(&format!("logs are kept in {}", dir.display()));
    }
}

/// Passes on what the supervisor says (that a component died, for instance).
/// The thread returns all of it when the supervisor has ended.
fn repeat_stderr(supervisor: &mut Child) -> JoinHandle<String> {
    let stderr = supervisor.stderr.take();
    thread::spawn(move || {
        let mut said = String::new();
        for line in stderr.into_iter().flat_map(|stderr| BufReader::new(stderr).lines()).map_while(Result::ok) {
            let _ = writeln!(io::stderr(), "{line}");
            said.push_str(&line);
            said.push('\n');
        }
        said
    })
}

fn first_line(supervisor: &mut Child) -> Result<String> {
    let stdout = supervisor.stdout.take().context("the supervisor has no output")?;
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        let mut line = String::new();
        let read = BufReader::new(stdout).read_line(&mut line);
        let _ = sender.send(read.map(|_| line));
    });
    let line = lines.recv_timeout(PATIENCE).map_err(|_| anyhow!("not ready in {PATIENCE:?}"))??;
    if line.is_empty() {
        bail!("its supervisor ended")
    }
    Ok(line)
}
