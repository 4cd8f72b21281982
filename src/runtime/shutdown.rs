//! The stages in which the process stops.

use super::tasks::{Supervisor, Tasks};

/// When a task stops. A stage begins when all tasks of the stage before have ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// As soon as the process is to stop: the servers, which answer for some seconds more, and the work of a leader.
    Drain,
    /// When the servers have ended: what they need, such as watches and certificates.
    Serve,
    /// At the very end: health and metrics.
    Probe,
}

/// The tasks of the process, by the stage in which they stop. Clones share them.
#[derive(Clone, Debug)]
pub struct Shutdown {
    drain: Tasks,
    serve: Tasks,
    probe: Tasks,
}

impl Shutdown {
    /// No tasks yet. The first stage begins when `supervisor` stops the process.
    pub(crate) fn new(supervisor: &Supervisor) -> Self {
        Self { drain: supervisor.tasks(), serve: supervisor.later_tasks(), probe: supervisor.later_tasks() }
    }

    /// Tasks that stop in `stage`.
    pub(crate) fn tasks(&self, stage: Stage) -> &Tasks {
        match stage {
            Stage::Drain => &self.drain,
            Stage::Serve => &self.serve,
            Stage::Probe => &self.probe,
        }
    }

    pub(crate) fn supervisor(&self) -> &Supervisor {
        self.drain.supervisor()
    }

    /// Goes through the stages; returns when all tasks have ended.
    pub(crate) async fn run(&self) {
        for tasks in [&self.drain, &self.serve, &self.probe] {
            tasks.stop().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::runtime::metrics::Registry;

    #[tokio::test]
    async fn a_stage_begins_when_the_tasks_of_the_one_before_have_ended() {
        let supervisor = Supervisor::new(Registry::default().register());
        let shutdown = Shutdown::new(&supervisor);
        let ended = Arc::new(Mutex::new(Vec::new()));
        for (stage, name) in [(Stage::Probe, "probe"), (Stage::Drain, "drain"), (Stage::Serve, "serve")] {
            let (stop, ended) = (shutdown.tasks(stage).stopping().clone(), Arc::clone(&ended));
            shutdown.tasks(stage).spawn(name, async move {
                stop.cancelled().await;
                tokio::task::yield_now().await;
                ended.lock().unwrap().push(name);
            });
        }
        supervisor.stopping().cancel();
        shutdown.run().await;
        assert_eq!(*ended.lock().unwrap(), ["drain", "serve", "probe"]);
        assert_eq!(supervisor.failure(), None);
    }
}
