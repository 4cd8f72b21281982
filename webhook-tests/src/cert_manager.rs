use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::binaries;
use crate::control_plane::ControlPlane;
use crate::guarded::Guarded;
use crate::objects::condition;

/// How long the API server may take to serve new kinds.
const PATIENCE: Duration = Duration::from_secs(180);

/// Between two questions whether it does.
const PAUSE: Duration = Duration::from_millis(100);

/// The real cert-manager on a control plane: its custom resources, the
/// controller that makes certificates and the cainjector that puts authorities
/// into webhook configurations, with the rights of the administrator.
///
/// Dropping it ends both processes.
#[derive(Debug)]
pub struct CertManager {
    kubeconfig: PathBuf,
    logs: PathBuf,
    started: AtomicU32,
    _controller: Guarded,
    injector: Option<Guarded>,
}

impl CertManager {
    /// Installs and starts it.
    ///
    /// # Errors
    ///
    /// If it cannot be built or started, or its kinds are not served in three
    /// minutes.
    pub fn start(control_plane: &ControlPlane) -> Result<Self> {
        let kubectl = control_plane.kubectl();
        let crds = binaries::cert_manager_crds()?;
        kubectl.attempt(&["create", "-f", &crds.to_string_lossy()])?;
        kubectl.try_wait_until(&["customresourcedefinitions"], PATIENCE, |found| {
            found.iter().all(|crd| condition(crd, "Established").is_some_and(|is| is["status"] == "True"))
        })?;
        // What is established is served a moment later.
        let deadline = Instant::now() + PATIENCE;
        while let Err(error) = kubectl.attempt(&["get", "certificates.cert-manager.io"]) {
            ensure!(Instant::now() < deadline, "certificates are not served after {PATIENCE:?}: {error:#}");
            thread::sleep(PAUSE);
        }
        let (kubeconfig, logs) = (control_plane.kubeconfig().to_owned(), control_plane.logs());
        let controller = run(&["controller", &kubeconfig.to_string_lossy()], &logs.join("cert-manager.log"))?;
        let mut started =
            Self { kubeconfig, logs, started: AtomicU32::new(0), _controller: controller, injector: None };
        started.restart_injector(true)?;
        Ok(started)
    }

    /// Starts the cainjector, in the place of the one that runs. It adds
    /// authorities to those that a configuration trusts, as since version 1.19,
    /// or puts them in their place, as before.
    ///
    /// # Errors
    ///
    /// If it cannot be started.
    pub fn restart_injector(&mut self, merges: bool) -> Result<()> {
        self.injector = None;
        let log = self.logs.join(format!("cainjector-{}.log", self.started.fetch_add(1, Ordering::Relaxed)));
        let features = format!("CAInjectorMerging={merges}");
        self.injector = Some(run(&["cainjector", &self.kubeconfig.to_string_lossy(), &features], &log)?);
        Ok(())
    }
}

fn run(arguments: &[&str], log: &std::path::Path) -> Result<Guarded> {
    let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
    Guarded::start(binaries::cert_manager()?, &arguments, &[], log)
}
