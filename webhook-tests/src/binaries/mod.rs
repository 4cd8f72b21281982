//! The programs that tests run, built when they are needed.

mod cargo;
mod go;

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::OnceLock;
use std::sync::mpsc;
use std::thread;

use anyhow::{Context, Result, anyhow, ensure};

use go::Module;

const CONTROLPLANE: Module = Module {
    name: "the control plane",
    sources: "controlplane",
    packages: "./...",
    program: "controlplane",
    target: None,
    linker_flags: Some(|sources| Ok(version_flags(&kubernetes_version(sources)?))),
};

const ATOMIX_2019: Module = Module {
    name: "Atomix of 2019",
    sources: "clients/atomix-2019",
    packages: ".",
    program: "atomix-2019",
    target: None,
    linker_flags: None,
};

const ATOMIX_2020: Module = Module {
    name: "Atomix of 2020",
    sources: "clients/atomix-2020",
    packages: "./...",
    program: "atomix-2020",
    target: None,
    linker_flags: None,
};

const GRPCURL: Module = Module {
    name: "grpcurl",
    sources: "clients/grpcurl",
    packages: "tool",
    program: "grpcurl",
    target: None,
    linker_flags: None,
};

const CERT_MANAGER: Module = Module {
    name: "cert-manager",
    sources: "clients/cert-manager",
    packages: ".",
    program: "cert-manager",
    target: None,
    linker_flags: None,
};

const HELM_3: Module = Module {
    name: "Helm 3",
    sources: "clients/helm",
    packages: "helm.sh/helm/v3/cmd/helm",
    program: "helm",
    target: Some("helm-3"),
    // What it takes a cluster for that it does not ask.
    linker_flags: Some(|_| {
        let flags = ["chartutil", "lint/rules"].map(|package| {
            let variable = format!("helm.sh/helm/v3/pkg/{package}.k8sVersion");
            format!(" -X {variable}Major=1 -X {variable}Minor=36")
        });
        Ok(flags.concat())
    }),
};

const HELM_4: Module = Module {
    name: "Helm 4",
    packages: "helm.sh/helm/v4/cmd/helm",
    target: Some("helm-4"),
    linker_flags: None,
    ..HELM_3
};

/// Names a ready-made controller instead of building one: a release build, or
/// the one of an image.
const CONTROLLER_VARIABLE: &str = "ATOMIX_CONTROLLER_BINARY";

/// The root of the workspace.
#[must_use]
pub fn workspace() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here)
}

/// The binary of the control plane, with `kubectl` beside it. It is built on first use, which takes
/// minutes when Go's cache is cold, and again only when its sources change.
///
/// # Errors
///
/// If there is no Go, or one that is too old, or the build fails.
pub fn controlplane() -> Result<&'static Path> {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    once(&BUILT, || CONTROLPLANE.build())
}

/// Atomix as it was in autumn 2019: a node, and a client that takes a lock. Its
/// arguments are in `clients/atomix-2019/main.go`.
///
/// # Errors
///
/// As for [`controlplane`].
pub fn atomix_2019() -> Result<&'static Path> {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    once(&BUILT, || ATOMIX_2019.build())
}

/// Atomix as it was in January 2020: a node, and a client for groups and locks.
/// Its arguments are in `clients/atomix-2020/main.go`. The program `example`,
/// which the documents print, lies beside it.
///
/// # Errors
///
/// As for [`controlplane`].
pub fn atomix_2020() -> Result<&'static Path> {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    once(&BUILT, || ATOMIX_2020.build())
}

/// grpcurl.
///
/// # Errors
///
/// As for [`controlplane`].
pub fn grpcurl() -> Result<&'static Path> {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    once(&BUILT, || GRPCURL.build())
}

/// The two parts of cert-manager that certificates inside a cluster need. Its
/// arguments are in `clients/cert-manager/main.go`.
///
/// # Errors
///
/// As for [`controlplane`].
pub fn cert_manager() -> Result<&'static Path> {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    once(&BUILT, || CERT_MANAGER.build())
}

/// Helm 3 and Helm 4.
///
/// # Errors
///
/// As for [`controlplane`].
pub fn helms() -> Result<[&'static Path; 2]> {
    static BUILT: [OnceLock<Result<PathBuf, String>>; 2] = [const { OnceLock::new() }; 2];
    Ok([once(&BUILT[0], || HELM_3.build())?, once(&BUILT[1], || HELM_4.build())?])
}

/// The directory of the custom resource definitions of that cert-manager.
///
/// # Errors
///
/// If Go cannot be run, or its module is neither here nor can be had.
pub fn cert_manager_crds() -> Result<PathBuf> {
    Ok(CERT_MANAGER.dependency("github.com/cert-manager/cert-manager")?.join("deploy/crds"))
}

/// The binary of the controller: built by cargo once per process, in the
/// profile of the running test, so that it is never stale. The environment
/// variable `ATOMIX_CONTROLLER_BINARY` names one to take instead.
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
        None => cargo::build_controller(),
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
