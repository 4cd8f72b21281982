//! The surroundings of every part of the process: client, tasks with the stages in which they stop, metrics, readiness.

pub mod log_filter;
pub(crate) mod metrics;
pub(crate) mod readiness;
pub mod repeats;
pub(crate) mod shutdown;
pub(crate) mod signals;
pub(crate) mod tasks;

use kube::Client;

use self::metrics::Registry;
use self::readiness::Readiness;
use self::shutdown::{Shutdown, Stage};
use self::tasks::{Supervisor, Tasks};

/// The surroundings of every part of the process. Clones share everything.
#[derive(Clone)]
pub struct Runtime {
    /// Client with the controller's own rights.
    pub(crate) client: Client,
    pub(crate) registry: Registry,
    pub(crate) readiness: Readiness,
    pub(crate) shutdown: Shutdown,
}

impl Runtime {
    /// Tasks that stop in `stage`.
    pub(crate) fn tasks(&self, stage: Stage) -> &Tasks {
        self.shutdown.tasks(stage)
    }

    /// The supervisor, for tasks that no stage ends.
    pub(crate) fn supervisor(&self) -> &Supervisor {
        self.shutdown.supervisor()
    }
}
