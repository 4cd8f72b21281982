//! Debian's Prometheus and promtool.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use webhook_tests::{Guarded, free_port, get, harness, suffix};

/// Longer than anything here takes on a busy machine.
pub const SOON: Duration = Duration::from_secs(120);
/// Between two questions to a process that is about to answer.
const PAUSE: Duration = Duration::from_millis(50);
/// Name of the job, as a `ServiceMonitor` takes it from the Service.
pub const JOB: &str = "atomix-controller";

/// A Prometheus that scrapes each second; it ends when it is dropped.
pub struct Prometheus {
    address: SocketAddr,
    _process: Guarded,
}

impl Prometheus {
    /// Scrapes `target`, and evaluates the groups of these files.
    pub fn start(target: SocketAddr, rules: &[PathBuf]) -> Self {
        let directory = folder("prometheus");
        let config = json!({
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
            "rule_files": rules,
            "scrape_configs": [{
                "job_name": JOB,
                "static_configs": [{"targets": [target.to_string()], "labels": {"namespace": "kube-system"}}],
            }],
        });
        let file = directory.join("prometheus.json");
        fs::write(&file, config.to_string()).expect("a configuration");
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let arguments = [
            format!("--config.file={}", file.display()),
            format!("--storage.tsdb.path={}", directory.join("data").display()),
            format!("--web.listen-address={address}"),
        ];
        let log = directory.join("log");
        let process = Guarded::start(&program("prometheus"), &arguments, &[], &log).expect("a Prometheus");
        let deadline = Instant::now() + SOON;
        while !get(address, "/-/ready").is_ok_and(|answer| answer.status == 200) {
            let log = fs::read_to_string(&log).unwrap_or_default();
            assert!(Instant::now() < deadline, "Prometheus is not ready\n{log}");
            sleep(PAUSE);
        }
        Self { address, _process: process }
    }

    fn api(&self, path: &str) -> Value {
        let answer = get(self.address, path).expect("an answer");
        let json: Value = serde_json::from_str(&answer.body).expect("JSON");
        assert_eq!(json["status"], "success", "{path}: {json}");
        json["data"].clone()
    }

    /// The finite values of an instant query.
    pub fn query(&self, expression: &str) -> Vec<f64> {
        let mut path = "/api/v1/query?query=".to_owned();
        for byte in expression.bytes() {
            // Writing to a String cannot fail.
            let _ = write!(path, "%{byte:02X}");
        }
        let data = self.api(&path);
        let samples = data["result"].as_array().expect("samples").iter();
        let values = samples.filter_map(|sample| sample["value"][1].as_str()?.parse::<f64>().ok());
        values.filter(|value| value.is_finite()).collect()
    }

    /// The alerts, as Prometheus evaluates them.
    pub fn alerts(&self) -> Vec<Value> {
        let groups = self.api("/api/v1/rules")["groups"].as_array().cloned().expect("groups");
        groups.iter().flat_map(|group| group["rules"].as_array().cloned().expect("rules")).collect()
    }

    /// Waits until each of these expressions has values, while `load` goes on.
    #[track_caller]
    pub fn await_values(&self, mut expressions: Vec<String>, mut load: impl FnMut()) {
        let deadline = Instant::now() + SOON;
        while !expressions.is_empty() {
            assert!(Instant::now() < deadline, "no data: {expressions:#?}");
            load();
            expressions.retain(|expression| self.query(expression).is_empty());
        }
    }
}

/// A new folder for a program.
pub fn folder(name: &str) -> PathBuf {
    let directory = harness().control_plane().dir().join(format!("{name}-{}", suffix()));
    fs::create_dir(&directory).expect("a folder");
    directory
}

/// A program of Debian's package.
fn program(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file());
    found.unwrap_or_else(|| {
        panic!("'{name}' is needed and was not found: install it (Debian and Ubuntu: apt-get install prometheus)")
    })
}

/// Runs promtool in a folder, which must find nothing wrong.
#[track_caller]
pub fn promtool(directory: &Path, arguments: &[&str], input: &str) {
    let mut tool = Command::new(program("promtool"));
    let tool = tool.args(arguments).current_dir(directory);
    let mut tool = tool.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("promtool");
    tool.stdin.take().expect("its input").write_all(input.as_bytes()).expect("its input");
    let output = tool.wait_with_output().expect("its output");
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "promtool {arguments:?}: {}", String::from_utf8_lossy(&said));
}
