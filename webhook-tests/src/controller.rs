use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::guarded::{Guarded, Signal};
use crate::http::{self, Response};

/// How long a controller may take to become ready, and to stop.
const PATIENCE: Duration = Duration::from_secs(180);

/// Between two questions to a process that is about to answer.
const PAUSE: Duration = Duration::from_millis(5);

/// The kernel counts CPU time in these for user space, on every architecture.
const TICKS_PER_SECOND: u32 = 100;

/// How one controller differs from the shipped Deployment's.
#[derive(Debug, Clone, Default)]
pub struct StartOptions {
    /// The program to run instead of the built controller, such as that of another version.
    pub program: Option<PathBuf>,
    /// The port of the webhooks. Without it: the one that the installed
    /// configurations name, which only one controller at a time can have.
    pub webhook_port: Option<u16>,
    /// The URL of the API server, if not the control plane's own.
    pub server: Option<String>,
    /// Arguments after the shipped ones; the last of a kind wins.
    pub arguments: Vec<String>,
    /// Variables beside the shipped ones; the last of a name wins.
    pub environment: Vec<(String, String)>,
}

/// A running controller process; made by [`crate::Installation::start`].
///
/// Dropping it kills it.
#[derive(Debug)]
pub struct Controller {
    process: Guarded,
    name: String,
    log: PathBuf,
    webhook: SocketAddr,
    metrics: SocketAddr,
    grpc: SocketAddr,
}

/// The ports that one controller listens on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ports {
    pub webhook: u16,
    pub metrics: u16,
    pub grpc: u16,
}

impl Controller {
    pub(crate) fn new(process: Guarded, name: String, log: PathBuf, ports: Ports) -> Self {
        let at = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Self { process, name, log, webhook: at(ports.webhook), metrics: at(ports.metrics), grpc: at(ports.grpc) }
    }

    /// Waits until `/readyz` answers 200.
    ///
    /// # Errors
    ///
    /// If the process ends, or is not ready in three minutes; with its last answer
    /// and the end of its log.
    pub fn wait_ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let last = match self.get("/readyz") {
                Ok(Response { status: 200, .. }) => return Ok(()),
                Ok(Response { status, body }) => format!("{status} {body}"),
                Err(error) => format!("{error:#}"),
            };
            if let Some(status) = self.process.try_wait()? {
                bail!("{} ended before it was ready: {status}\n{}", self.name, self.log_tail());
            }
            if Instant::now() > deadline {
                bail!("{} is not ready after {PATIENCE:?}: {last}\n{}", self.name, self.log_tail());
            }
            thread::sleep(PAUSE);
        }
    }

    /// Asks it to end with SIGTERM and waits for that. Returns how it ended.
    ///
    /// # Errors
    ///
    /// If it has not ended after three minutes; it is killed then.
    pub fn stop(&mut self) -> Result<ExitStatus> {
        self.process.signal(Signal::Term);
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Some(status) = self.process.try_wait()? {
                return Ok(status);
            }
            thread::sleep(PAUSE);
        }
        let tail = self.log_tail();
        self.kill()?;
        bail!("{} has not ended {PATIENCE:?} after SIGTERM\n{tail}", self.name)
    }

    /// Ends it with SIGKILL, and returns when it is gone.
    ///
    /// # Errors
    ///
    /// If waiting for it fails.
    pub fn kill(&mut self) -> Result<ExitStatus> {
        self.process.signal(Signal::Kill);
        self.process.wait()
    }

    /// Sends it a signal and does not wait.
    pub fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Whether it has ended, and how. A signal counts as exit code 128 plus its
    /// number.
    ///
    /// # Errors
    ///
    /// If the system call fails.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        self.process.try_wait()
    }

    /// What it knows as the name of its pod.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The process id of the controller itself.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Where it serves the webhooks, over TLS.
    #[must_use]
    pub fn webhook_addr(&self) -> SocketAddr {
        self.webhook
    }

    /// Where it serves health and metrics, over plain HTTP.
    #[must_use]
    pub fn metrics_addr(&self) -> SocketAddr {
        self.metrics
    }

    /// Where it serves the Atomix API, over gRPC.
    #[must_use]
    pub fn grpc_addr(&self) -> SocketAddr {
        self.grpc
    }

    /// A request to the plain HTTP port.
    ///
    /// # Errors
    ///
    /// If it gives no answer. One that is not 200 is none.
    pub fn get(&self, path: &str) -> Result<Response> {
        http::get(self.metrics, path).with_context(|| format!("http://{}{path}", self.metrics))
    }

    /// Whether it says that it reconciles. One that does not answer does not say so.
    #[must_use]
    pub fn leads(&self) -> bool {
        self.get("/metrics").is_ok_and(|metrics| metrics.body.lines().any(|line| line == "atomix_leader 1"))
    }

    /// Everything that it has printed so far.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The file that it prints to.
    #[must_use]
    pub fn log_file(&self) -> &Path {
        &self.log
    }

    fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        format!("--- end of its log\n{}", lines[lines.len().saturating_sub(40)..].join("\n"))
    }

    /// The memory that it has resident now.
    ///
    /// # Panics
    ///
    /// If it does not run.
    #[must_use]
    pub fn rss_bytes(&self) -> u64 {
        let status = self.proc("status");
        let kib: u64 = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.parse().ok())
            .unwrap_or_else(|| panic!("{} has no resident memory:\n{status}", self.name));
        kib * 1024
    }

    /// The CPU time that it has used so far, in user space and in the kernel.
    ///
    /// # Panics
    ///
    /// If it does not run.
    #[must_use]
    pub fn cpu_time(&self) -> Duration {
        let stat = self.proc("stat");
        // The second field is the command's name in parentheses and may hold
        // anything; user and system time are the 14th and 15th.
        let ticks: u32 = stat
            .rsplit_once(')')
            .map(|(_, fields)| fields.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u32>().ok()))
            .map_or_else(|| panic!("{} has no CPU time: {stat}", self.name), Iterator::sum);
        Duration::from_secs(1) * ticks / TICKS_PER_SECOND
    }

    fn proc(&self, file: &str) -> String {
        let path = format!("/proc/{}/{file}", self.pid());
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
    }
}
