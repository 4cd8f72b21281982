use std::process::ExitStatus;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::balancer::Balancer;
use crate::controller::{Controller, StartOptions};
use crate::installation::Installation;
use crate::unique::free_port;

/// Several controllers of one installation behind a [`Balancer`], as the
/// replicas of the Deployment are behind its Service; made by
/// [`Installation::replicas`].
#[derive(Debug)]
pub struct Replicas<'a> {
    installation: &'a Installation,
    options: StartOptions,
    balancer: Balancer,
    /// The running replicas, oldest first. Tests may take one out and do as they please with it.
    pub controllers: Vec<Controller>,
}

impl<'a> Replicas<'a> {
    pub(crate) fn start(
        installation: &'a Installation,
        count: usize,
        options: StartOptions,
        lag: Duration,
    ) -> Result<Self> {
        let balancer = Balancer::new(installation.webhook_port(), lag)?;
        let mut replicas = Self { installation, options, balancer, controllers: Vec::new() };
        for _ in 0..count {
            let controller = replicas.launch()?;
            replicas.controllers.push(controller);
        }
        for controller in &mut replicas.controllers {
            controller.wait_ready()?;
        }
        replicas.balancer.wait_until(|ready| ready.len() == count)?;
        Ok(replicas)
    }

    /// What stands before the replicas.
    #[must_use]
    pub fn balancer(&self) -> &Balancer {
        &self.balancer
    }

    /// The replica whose pod has this name.
    #[must_use]
    pub fn find(&mut self, name: &str) -> Option<&mut Controller> {
        self.controllers.iter_mut().find(|controller| controller.name() == name)
    }

    /// Starts one more and returns its name when it gets connections.
    ///
    /// # Errors
    ///
    /// If it does not start, or is not ready in three minutes.
    pub fn add(&mut self) -> Result<String> {
        let mut controller = self.launch()?;
        controller.wait_ready()?;
        let name = controller.name().to_owned();
        self.controllers.push(controller);
        self.balancer.wait_until(|ready| ready.contains(&name))?;
        Ok(name)
    }

    /// Replaces the oldest replica as a rolling update without unavailable
    /// replicas does: first a new one becomes ready, then the old one is asked
    /// to end. Returns the old one's name and how it ended.
    ///
    /// # Errors
    ///
    /// If the new one is not ready, or the old one does not end in three minutes.
    pub fn replace_oldest(&mut self) -> Result<(String, ExitStatus)> {
        self.add()?;
        let oldest = self.controllers.first_mut().context("no replica to replace")?;
        let status = oldest.stop()?;
        let old = self.controllers.remove(0);
        self.balancer.remove(old.name());
        Ok((old.name().to_owned(), status))
    }

    /// Starts the next replicas from another installation, with these options: those of another version.
    pub fn continue_with(&mut self, installation: &'a Installation, options: StartOptions) {
        (self.installation, self.options) = (installation, options);
    }

    fn launch(&self) -> Result<Controller> {
        let options = StartOptions { webhook_port: Some(free_port()), ..self.options.clone() };
        let controller = self.installation.start_with(options)?;
        self.balancer.add(&controller);
        Ok(controller)
    }
}
