use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{self, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::Value;

use crate::binaries::workspace;
use crate::watch::{self, Watch};

/// The real kubectl, pointed at one control plane.
///
/// Arguments are passed on as they are, so everything that kubectl can do is
/// there, impersonation (`--as`, `--as-group`) included.
#[derive(Debug, Clone)]
pub struct Kubectl {
    program: PathBuf,
    kubeconfig: PathBuf,
    home: PathBuf,
    namespace: Option<String>,
}

/// What a run of a program printed, and how it ended.
#[derive(Debug, Clone)]
pub struct Output {
    /// Standard output.
    pub stdout: String,
    /// Standard error: messages of the API server, warnings.
    pub stderr: String,
    /// Success is exit code 0.
    pub status: ExitStatus,
}

impl From<process::Output> for Output {
    fn from(output: process::Output) -> Self {
        Self {
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            status: output.status,
        }
    }
}

impl Kubectl {
    pub(crate) fn new(program: PathBuf, kubeconfig: PathBuf, home: PathBuf) -> Self {
        Self { program, kubeconfig, home, namespace: None }
    }

    /// The same kubectl with another kubeconfig: another user, that is.
    #[must_use]
    pub fn with_kubeconfig(&self, kubeconfig: &Path) -> Self {
        Self { kubeconfig: kubeconfig.to_owned(), ..self.clone() }
    }

    /// The same kubectl with a default namespace. A `--namespace` among the
    /// arguments of a call still wins.
    #[must_use]
    pub fn in_namespace(&self, namespace: &str) -> Self {
        Self { namespace: Some(namespace.to_owned()), ..self.clone() }
    }

    pub(crate) fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// The namespace of calls that name none.
    #[must_use]
    pub fn namespace(&self) -> &str {
        self.namespace.as_deref().unwrap_or("default")
    }

    /// A command with the connection set and nothing else, for uses that the
    /// methods here do not cover.
    #[must_use]
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command
            .env("HOME", &self.home)
            .env("KUBECACHEDIR", self.home.join("cache"))
            .env("KUBECONFIG", &self.kubeconfig)
            .stdin(Stdio::null());
        if let Some(namespace) = &self.namespace {
            command.args(["--namespace", namespace]);
        }
        command
    }

    /// Runs kubectl to its end.
    ///
    /// # Panics
    ///
    /// If the program cannot be run at all.
    #[must_use]
    pub fn run(&self, arguments: &[&str]) -> Output {
        self.feed(arguments, "")
    }

    /// Runs kubectl with something on its standard input.
    ///
    /// # Panics
    ///
    /// If the program cannot be run at all.
    #[must_use]
    pub fn feed(&self, arguments: &[&str], input: &str) -> Output {
        let mut child = self
            .command()
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("kubectl {}: {error}", arguments.join(" ")));
        // Written from a thread: kubectl may fill its output before it has
        // read all of its input. One that reads none breaks the pipe.
        let mut stdin = child.stdin.take();
        let output = std::thread::scope(|scope| {
            scope.spawn(move || stdin.take().map(|mut pipe| pipe.write_all(input.as_bytes())));
            child.wait_with_output()
        })
        .unwrap_or_else(|error| panic!("kubectl {}: {error}", arguments.join(" ")));
        output.into()
    }

    /// Runs commands of a shell in which `kubectl` is this one, from the root of
    /// the repository, up to the first that fails.
    ///
    /// # Panics
    ///
    /// If there is no shell.
    #[must_use]
    pub fn shell(&self, commands: &str) -> Output {
        let this = self.command();
        let words = [this.get_program()].into_iter().chain(this.get_args());
        let words: Vec<String> = words.map(|word| format!("'{}'", word.to_string_lossy())).collect();
        let script = format!("set -e\nkubectl() {{ {} \"$@\"; }}\n{commands}", words.join(" "));
        let envs = this.get_envs().filter_map(|(name, value)| Some((name, value?)));
        let mut shell = Command::new("sh");
        shell.args(["-c", &script]).current_dir(workspace()).envs(envs).stdin(Stdio::null());
        let output = shell.output().unwrap_or_else(|error| panic!("sh: {error}"));
        output.into()
    }

    /// Runs kubectl; returns its standard output.
    ///
    /// # Errors
    ///
    /// If it fails, with all that it printed.
    pub fn attempt(&self, arguments: &[&str]) -> Result<String> {
        let output = self.run(arguments);
        ensure!(output.status.success(), "{}", described(arguments, &output, "failed"));
        Ok(output.stdout)
    }

    /// Runs kubectl, which has to succeed; returns its standard output.
    ///
    /// # Panics
    ///
    /// If it fails, with all that it printed.
    #[track_caller]
    #[allow(clippy::must_use_candidate)] // often run for its effect
    pub fn ok(&self, arguments: &[&str]) -> String {
        succeeded(arguments, self.run(arguments))
    }

    /// Runs kubectl, which has to fail; returns its standard error.
    ///
    /// # Panics
    ///
    /// If it succeeds, with all that it printed.
    #[track_caller]
    #[allow(clippy::must_use_candidate)]
    pub fn fails(&self, arguments: &[&str]) -> String {
        failed(arguments, self.run(arguments))
    }

    /// `kubectl apply -f -`, which has to succeed.
    ///
    /// # Panics
    ///
    /// If it fails, with all that it printed.
    #[track_caller]
    #[allow(clippy::must_use_candidate)]
    pub fn apply_stdin(&self, yaml: &str) -> String {
        self.feed_ok(&["apply", "-f", "-"], yaml)
    }

    /// `kubectl create -f -`, which has to succeed.
    ///
    /// # Panics
    ///
    /// If it fails, with all that it printed.
    #[track_caller]
    #[allow(clippy::must_use_candidate)]
    pub fn create_stdin(&self, yaml: &str) -> String {
        self.feed_ok(&["create", "-f", "-"], yaml)
    }

    /// Runs kubectl with something on its standard input; it has to succeed.
    ///
    /// # Panics
    ///
    /// If it fails, with all that it printed.
    #[track_caller]
    #[allow(clippy::must_use_candidate)]
    pub fn feed_ok(&self, arguments: &[&str], input: &str) -> String {
        succeeded(arguments, self.feed(arguments, input))
    }

    /// Runs kubectl with something on its standard input; it has to fail.
    ///
    /// # Panics
    ///
    /// If it succeeds, with all that it printed.
    #[track_caller]
    #[allow(clippy::must_use_candidate)]
    pub fn feed_fails(&self, arguments: &[&str], input: &str) -> String {
        failed(arguments, self.feed(arguments, input))
    }

    /// `kubectl get ... -o json`.
    ///
    /// # Panics
    ///
    /// If it fails.
    #[track_caller]
    #[must_use]
    pub fn get_json(&self, arguments: &[&str]) -> Value {
        let arguments = [&["get", "-o", "json"], arguments].concat();
        let text = self.ok(&arguments);
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("kubectl {}: {error}:\n{text}", arguments.join(" ")))
    }

    /// Follows a selection of objects. The arguments are those of `kubectl
    /// get`: a resource, perhaps a name (`pods web-0` or `pods/web-0`), `-n`,
    /// `-A`, `-l`, `--field-selector`.
    ///
    /// # Panics
    ///
    /// If the arguments are others than these.
    #[must_use]
    pub fn watch(&self, arguments: &[&str]) -> Watch {
        Watch::new(self.clone(), arguments)
    }

    /// Waits until the predicate holds of the selected objects, which are
    /// those of [`Kubectl::watch`] in the order of their namespaces and names.
    /// It is asked once for the state at the beginning (which may be empty)
    /// and again after every change. Returns the state that satisfied it.
    ///
    /// ```no_run
    /// # let kubectl: webhook_tests::Kubectl = unimplemented!();
    /// # use std::time::Duration;
    /// kubectl.wait_until(&["pods", "-l", "app=web"], Duration::from_secs(30), |pods| {
    ///     pods.len() == 3 && pods.iter().all(|pod| pod["status"]["phase"] == "Running")
    /// });
    /// ```
    ///
    /// # Panics
    ///
    /// If it does not hold in time, with the last state.
    #[track_caller]
    #[allow(clippy::must_use_candidate)]
    pub fn wait_until(
        &self,
        arguments: &[&str],
        timeout: Duration,
        predicate: impl FnMut(&[Value]) -> bool,
    ) -> Vec<Value> {
        match self.try_wait_until(arguments, timeout, predicate) {
            Ok(state) => state,
            Err(error) => panic!("{error:#}"),
        }
    }

    /// As [`Kubectl::wait_until`], for callers that do not want the panic.
    ///
    /// # Errors
    ///
    /// If it does not hold in time, with the last state.
    ///
    /// # Panics
    ///
    /// If the arguments are not those of [`Kubectl::watch`].
    pub fn try_wait_until(
        &self,
        arguments: &[&str],
        timeout: Duration,
        predicate: impl FnMut(&[Value]) -> bool,
    ) -> Result<Vec<Value>> {
        watch::wait_until(self, arguments, timeout, predicate)
    }
}

#[track_caller]
fn succeeded(arguments: &[&str], output: Output) -> String {
    assert!(output.status.success(), "{}", described(arguments, &output, "failed"));
    output.stdout
}

#[track_caller]
fn failed(arguments: &[&str], output: Output) -> String {
    assert!(!output.status.success(), "{}", described(arguments, &output, "should have failed"));
    output.stderr
}

fn described(arguments: &[&str], output: &Output, what: &str) -> String {
    format!(
        "kubectl {} {what}: {}\n--- stdout\n{}--- stderr\n{}",
        arguments.join(" "),
        output.status,
        output.stdout,
        output.stderr
    )
}
