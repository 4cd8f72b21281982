//! Stand-ins for pods and their containers: a file system with nothing in it but what is put there, so that programs
//! find the names, files and readiness marks that they would find in a cluster.

use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use std::{env, thread};

use webhook_tests::{Guarded, suffix};

use crate::support::{SOON, cluster};

/// Between two looks at a file that is about to be there.
const PAUSE: Duration = Duration::from_millis(5);

/// The root directory of a pod.
pub struct Pod {
    root: PathBuf,
    log: PathBuf,
}

impl Pod {
    /// A pod with these programs, where these names have these addresses and no others have any.
    pub fn new(name: &str, programs: &[&Path], hosts: &[(Ipv4Addr, &str)]) -> Self {
        let directory = cluster().control_plane.dir();
        let root = directory.join("pods").join(format!("{name}-{}", suffix()));
        let pod = Self { root, log: cluster().control_plane.logs().join(format!("{name}.log")) };
        let hosts: Vec<String> = hosts.iter().map(|(address, host)| format!("{address} {host}\n")).collect();
        pod.write("/etc/hosts", &hosts.concat());
        fs::create_dir_all(pod.path("/bin")).expect("a directory for programs");
        fs::create_dir_all(pod.path("/tmp")).expect("a directory for temporary files");
        for program in programs {
            let name = program.file_name().expect("a program with a name");
            fs::copy(program, pod.path("/bin").join(name))
                .unwrap_or_else(|error| panic!("{}: {error}", name.display()));
        }
        pod
    }

    /// A path of the pod as it is outside of it.
    fn path(&self, inside: &str) -> PathBuf {
        self.root.join(inside.trim_start_matches('/'))
    }

    /// Puts a file into the pod.
    pub fn write(&self, inside: &str, text: &str) {
        let path = self.path(inside);
        fs::create_dir_all(path.parent().expect("a directory")).expect("a directory for the file");
        fs::write(&path, text).unwrap_or_else(|error| panic!("{inside}: {error}"));
    }

    /// The words that run a program of the pod; its arguments follow.
    pub fn words(&self, program: &str) -> Vec<String> {
        let own = [self.root.to_string_lossy().into_owned(), format!("/bin/{program}")];
        chroot().iter().map(|word| (*word).to_owned()).chain(own).collect()
    }

    /// A program of the pod, and no variables.
    pub fn command(&self, program: &str) -> Command {
        let words = self.words(program);
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).env_clear().env("PATH", env::var_os("PATH").unwrap_or_default());
        command
    }
}

/// How to run something in another root directory: `root` may, others may where they are root of a namespace of their
/// own.
fn chroot() -> &'static [&'static str] {
    static WORDS: OnceLock<&[&str]> = OnceLock::new();
    WORDS.get_or_init(|| {
        let root = fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0);
        let words: &[&str] = if root { &["chroot"] } else { &["unshare", "--map-root-user", "chroot"] };
        let tried = Command::new(words[0]).args(&words[1..]).args(["/", "/bin/sh", "-c", ":"]).output();
        let refused = match tried {
            Ok(output) if output.status.success() => return words,
            Ok(output) => String::from_utf8_lossy(&output.stderr).into_owned(),
            Err(error) => error.to_string(),
        };
        panic!(
            "`{}` does not work on this machine: {refused}\nThese tests give nodes and clients a root directory of \
             their own. Run them as root, or where the kernel allows user namespaces.",
            words.join(" ")
        )
    })
}

/// A node of one member that runs in a pod.
///
/// It listens on every address of the machine, on a port that is fixed: there is one at a time, also among several
/// runs of the tests.
pub struct Node {
    _process: Guarded,
    _port: File,
}

impl Node {
    /// Starts the container of a pod, and returns when the file is there by which it says that it is ready.
    pub fn start(pod: &Pod, program: &str, arguments: &[String], ready: &str) -> Self {
        let lock = env::temp_dir().join("webhook-tests-node.lock");
        let port = File::create(&lock).unwrap_or_else(|error| panic!("{}: {error}", lock.display()));
        port.lock().unwrap_or_else(|error| panic!("{}: {error}", lock.display()));

        let words = [pod.words(program), arguments.to_owned()].concat();
        let path = ("PATH".to_owned(), env::var("PATH").unwrap_or_default());
        let process = Guarded::start(Path::new(&words[0]), &words[1..], &[path], &pod.log);
        let mut process = process.unwrap_or_else(|error| panic!("{words:?}: {error:#}"));
        let log = || fs::read_to_string(&pod.log).unwrap_or_default();
        let deadline = Instant::now() + SOON;
        while !pod.path(ready).exists() {
            if let Some(status) = process.try_wait().expect("a state of the node") {
                panic!("the node ended with {status}: {words:?}\n{}", log());
            }
            assert!(Instant::now() < deadline, "the node is not ready: {words:?}\n{}", log());
            thread::sleep(PAUSE);
        }
        Self { _process: process, _port: port }
    }
}
