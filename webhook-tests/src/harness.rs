use std::sync::OnceLock;

use anyhow::Result;

use crate::control_plane::ControlPlane;
use crate::controller::Controller;
use crate::installation::Installation;
use crate::kubectl::Kubectl;

/// What most tests need: a control plane with the shipped manifest on it and
/// one ready controller, shared by the tests of a process.
///
/// Tests that stop controllers or change what is installed start their own
/// with [`ControlPlane::start`] and [`Installation::new`].
#[derive(Debug)]
pub struct Harness {
    control_plane: &'static ControlPlane,
    installation: Installation,
    controller: Controller,
}

/// The shared [`Harness`]; the first call starts it.
///
/// # Panics
///
/// If it cannot be started. Every later call panics with the same message.
#[must_use]
pub fn harness() -> &'static Harness {
    static SHARED: OnceLock<Result<Harness, String>> = OnceLock::new();
    match SHARED.get_or_init(|| Harness::start().map_err(|error| format!("{error:#}"))) {
        Ok(harness) => harness,
        Err(error) => panic!("{error}"),
    }
}

impl Harness {
    fn start() -> Result<Self> {
        let control_plane = ControlPlane::try_shared()?;
        let installation = Installation::new(control_plane)?;
        let mut controller = installation.start()?;
        controller.wait_ready()?;
        Ok(Self { control_plane, installation, controller })
    }

    /// The control plane.
    #[must_use]
    pub fn control_plane(&self) -> &ControlPlane {
        self.control_plane
    }

    /// The administrator's kubectl.
    #[must_use]
    pub fn kubectl(&self) -> &Kubectl {
        self.control_plane.kubectl()
    }

    /// What is installed.
    #[must_use]
    pub fn installation(&self) -> &Installation {
        &self.installation
    }

    /// The controller.
    #[must_use]
    pub fn controller(&self) -> &Controller {
        &self.controller
    }
}
