//! What every part of the process is given: the client, its tasks and the stages in which they stop, its metrics, and
//! what readiness waits for.

pub mod metrics;
pub mod readiness;
pub mod repeats;
pub mod shutdown;
pub mod tasks;

use kube::Client;

use self::metrics::Registry;
use self::readiness::Readiness;
use self::shutdown::{Shutdown, Stage};
use self::tasks::{Supervisor, Tasks};

/// What every part of the process is given. Clones share everything.
#[derive(Clone)]
pub struct Runtime {
    /// Client with the controller's own rights.
    pub client: Client,
    /// Where each subsystem registers its metrics.
    pub registry: Registry,
    /// What `/readyz` waits for.
    pub readiness: Readiness,
    /// The tasks of the process, by the stage in which they stop.
    pub shutdown: Shutdown,
}

impl Runtime {
    /// Tasks that stop in `stage`.
    #[must_use]
    pub fn tasks(&self, stage: Stage) -> &Tasks {
        self.shutdown.tasks(stage)
    }

    /// Observes tasks that no stage ends.
    #[must_use]
    pub fn supervisor(&self) -> &Supervisor {
        self.shutdown.supervisor()
    }
}
