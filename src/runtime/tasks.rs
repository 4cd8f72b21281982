//! Supervised background tasks.
//!
//! A process that has lost a task looks alive and is not: a cache without its watch does not change, a leader without its
//! queue holds the Lease and reconciles nothing. So a task that panics, or that ends before it is stopped, is logged and
//! counted under its name, and the process stops in its usual order and ends with an error. Kubernetes restarts it; another
//! replica takes over meanwhile.
//!
//! A panic of one reconciliation, request, connection or election of a partition is no failure of a task: it is caught
//! where it happens, and counted in `atomix_panics_total`.

use std::any::Any;
use std::future::{Future, pending};
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures::FutureExt;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::metrics::{ProcessMetrics, TaskLabel};

/// A directory, for tests of the built binary and only in builds with debug assertions. A task panics as soon as the
/// directory has a file of its name.
const FAILPOINTS: &str = "ATOMIX_TASK_PANICS";
/// Between two checks for such a file.
const FAILPOINT_CHECK: Duration = Duration::from_millis(50);

/// How long a task that has ended early waits for the failure of another one, so that the log names the cause alone: a task
/// that panics ends those that receive from it, and they may be quicker than its report.
const CAUSE: Duration = Duration::from_millis(200);

/// The failure of a task.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the task {task:?} {why}")]
pub struct Failure {
    task: &'static str,
    why: String,
}

/// Supervises the tasks of the process. Clones share everything.
#[derive(Clone, Debug)]
pub struct Supervisor(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    metrics: Arc<ProcessMetrics>,
    stop: CancellationToken,
    failure: OnceLock<Failure>,
}

impl Supervisor {
    /// A supervisor that counts failures in `metrics`.
    pub(crate) fn new(metrics: Arc<ProcessMetrics>) -> Self {
        Self(Arc::new(Inner { metrics, stop: CancellationToken::new(), failure: OnceLock::new() }))
    }

    /// Stops the process when it is cancelled. A failure cancels it.
    pub(crate) fn stopping(&self) -> &CancellationToken {
        &self.0.stop
    }

    /// The first failure, if there was one.
    pub(crate) fn failure(&self) -> Option<Failure> {
        self.0.failure.get().cloned()
    }

    /// Tasks that stop when the process is to stop.
    pub(super) fn tasks(&self) -> Tasks {
        self.tasks_until(self.0.stop.clone())
    }

    /// Tasks that stop at [`Tasks::stop`].
    pub(super) fn later_tasks(&self) -> Tasks {
        self.tasks_until(CancellationToken::new())
    }

    fn tasks_until(&self, stop: CancellationToken) -> Tasks {
        Tasks { supervisor: self.clone(), tracker: TaskTracker::new(), stop }
    }

    /// Starts a task that ends after `stop` is cancelled.
    pub(crate) fn spawn(
        &self,
        name: &'static str,
        stop: &CancellationToken,
        work: impl Future<Output = ()> + Send + 'static,
    ) -> JoinHandle<()> {
        spawn(self.supervise(name, stop, work))
    }

    /// Starts a task that may end at any time, but not by a panic. The process does not wait for its end.
    pub(crate) fn spawn_finite(&self, name: &'static str, work: impl Future<Output = ()> + Send + 'static) {
        drop(spawn(self.observe(name, None, work)));
    }

    /// Observes `work`, which runs as a part of another task, as a task of its own name: it ends after `stop` is
    /// cancelled.
    pub(crate) fn supervise<F: Future<Output = ()>>(
        &self,
        name: &'static str,
        stop: &CancellationToken,
        work: F,
    ) -> impl Future<Output = ()> + use<F> {
        self.observe(name, Some(stop.clone()), work)
    }

    fn observe<F: Future<Output = ()>>(
        &self,
        name: &'static str,
        stop: Option<CancellationToken>,
        work: F,
    ) -> impl Future<Output = ()> + use<F> {
        // The series begins at zero, so that the first failure is an increase.
        drop(self.0.metrics.task_failures.get_or_create(&TaskLabel { task: name }));
        let supervisor = self.clone();
        async move {
            let work = async {
                tokio::select! { biased; () = failpoint(name) => {} () = work => {} }
            };
            match AssertUnwindSafe(work).catch_unwind().await {
                Err(panic) => supervisor.fail(name, format!("panicked: {}", message(&*panic))),
                Ok(()) if stop.is_some_and(|stop| !stop.is_cancelled()) => {
                    let cause = timeout(CAUSE, supervisor.0.stop.cancelled()).await;
                    if cause.is_err() {
                        supervisor.fail(name, "ended before it was stopped".to_owned());
                    }
                }
                Ok(()) => {}
            }
        }
    }

    /// Stops the process in its usual order, with an error, because of a failure of `task`.
    pub(crate) fn fail(&self, task: &'static str, why: String) {
        tracing::error!(task, why, "a task has failed: the process stops");
        self.0.metrics.task_failures.get_or_create(&TaskLabel { task }).inc();
        self.0.failure.get_or_init(|| Failure { task, why });
        self.0.stop.cancel();
    }
}

/// Tasks that stop at the same time. Clones share everything.
#[derive(Clone, Debug)]
pub struct Tasks {
    supervisor: Supervisor,
    tracker: TaskTracker,
    stop: CancellationToken,
}

impl Tasks {
    /// Cancelled when these tasks are to stop.
    pub(crate) fn stopping(&self) -> &CancellationToken {
        &self.stop
    }

    pub(crate) fn supervisor(&self) -> &Supervisor {
        &self.supervisor
    }

    /// Starts a task that ends by itself after [`Self::stopping`] is cancelled.
    pub(crate) fn spawn(&self, name: &'static str, work: impl Future<Output = ()> + Send + 'static) {
        self.track(self.supervisor.supervise(name, &self.stop, work));
    }

    /// Starts a task that never ends; it is dropped when these tasks are to stop.
    pub(crate) fn spawn_endless(&self, name: &'static str, work: impl Future<Output = ()> + Send + 'static) {
        self.spawn(name, until(self.stop.clone(), work));
    }

    /// Starts a task that may end before it is stopped, but not by a panic; it is dropped when these tasks are to stop.
    pub(crate) fn spawn_finite(&self, name: &'static str, work: impl Future<Output = ()> + Send + 'static) {
        self.track(self.supervisor.observe(name, None, until(self.stop.clone(), work)));
    }

    /// Stops the tasks, and waits until all have ended.
    pub(super) async fn stop(&self) {
        self.stop.cancel();
        self.tracker.close();
        self.tracker.wait().await;
    }

    #[expect(clippy::disallowed_methods, reason = "the work is supervised")]
    fn track(&self, supervised: impl Future<Output = ()> + Send + 'static) {
        drop(self.tracker.spawn(supervised));
    }
}

#[expect(clippy::disallowed_methods, reason = "the work is supervised")]
fn spawn(supervised: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
    tokio::spawn(supervised)
}

async fn until(stop: CancellationToken, work: impl Future<Output = ()>) {
    stop.run_until_cancelled(work).await;
}

/// The message of a panic.
pub(crate) fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&'static str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("without a message")
}

/// Panics when a test asks for it, see [`FAILPOINTS`]; otherwise it never ends.
async fn failpoint(name: &str) {
    let directory = if cfg!(debug_assertions) { std::env::var_os(FAILPOINTS) } else { None };
    let Some(directory) = directory else { return pending().await };
    let file = Path::new(&directory).join(name);
    while !file.exists() {
        sleep(FAILPOINT_CHECK).await;
    }
    panic!("{FAILPOINTS} asks for it");
}

#[cfg(test)]
mod tests {
    use std::future::{Ready, ready};

    use super::*;
    use crate::runtime::metrics::Registry;

    fn supervisor() -> (Supervisor, Arc<ProcessMetrics>) {
        let metrics = Registry::default().register::<ProcessMetrics>();
        (Supervisor::new(Arc::clone(&metrics)), metrics)
    }

    fn failures(metrics: &ProcessMetrics, task: &'static str) -> u64 {
        metrics.task_failures.get_or_create(&TaskLabel { task }).get()
    }

    #[tokio::test]
    async fn a_panic_is_counted_under_the_tasks_name_and_stops_the_process() {
        let registry = Registry::default();
        let supervisor = Supervisor::new(registry.register());
        let (now, later) = (supervisor.tasks(), supervisor.later_tasks());
        now.spawn_endless("waits", pending());
        later.spawn_endless("serves on", pending());
        now.spawn("breaks", async { panic!("at {}", 7) });
        supervisor.stopping().cancelled().await;
        assert_eq!(supervisor.failure(), Some(Failure { task: "breaks", why: "panicked: at 7".to_owned() }));
        assert_eq!(supervisor.failure().unwrap().to_string(), "the task \"breaks\" panicked: at 7");
        now.stop().await;
        assert!(!later.stopping().is_cancelled());
        later.stop().await;
        let text = registry.render().unwrap();
        for line in [
            r#"atomix_task_failures_total{task="breaks"} 1"#,
            r#"atomix_task_failures_total{task="waits"} 0"#,
            r#"atomix_task_failures_total{task="serves on"} 0"#,
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
    }

    #[tokio::test]
    async fn a_task_that_ends_before_it_is_stopped_has_failed() {
        let starts: [fn(&Tasks, &'static str, Ready<()>); 2] = [Tasks::spawn, Tasks::spawn_endless];
        for start in starts {
            let (supervisor, metrics) = supervisor();
            let tasks = supervisor.later_tasks();
            start(&tasks, "ends", ready(()));
            supervisor.stopping().cancelled().await;
            assert_eq!(supervisor.failure().unwrap().why, "ended before it was stopped");
            assert_eq!(failures(&metrics, "ends"), 1);
        }
    }

    #[tokio::test]
    async fn a_task_that_ends_because_another_one_has_panicked_is_not_reported() {
        let (supervisor, metrics) = supervisor();
        let tasks = supervisor.later_tasks();
        let (sender, mut receiver) = tokio::sync::mpsc::channel::<()>(1);
        tasks.spawn("waits", async move { assert_eq!(receiver.recv().await, None) });
        tasks.spawn("breaks", async move {
            let _sender = sender;
            tokio::task::yield_now().await;
            panic!();
        });
        supervisor.stopping().cancelled().await;
        tasks.stop().await;
        assert_eq!(supervisor.failure().unwrap().task, "breaks");
        assert_eq!((failures(&metrics, "breaks"), failures(&metrics, "waits")), (1, 0));
    }

    #[tokio::test]
    async fn a_task_that_ends_when_it_is_stopped_or_may_end_earlier_has_not_failed() {
        let (supervisor, metrics) = supervisor();
        let tasks = supervisor.later_tasks();
        let stop = tasks.stopping().clone();
        tasks.spawn("until stopped", async move { stop.cancelled().await });
        tasks.spawn_endless("dropped", pending());
        tasks.spawn_finite("done", async {});
        tasks.spawn_finite("dropped, too", pending());
        supervisor.spawn_finite("done, too", async {});
        tasks.stop().await;
        assert_eq!((supervisor.failure(), supervisor.stopping().is_cancelled()), (None, false));
        supervisor.spawn_finite("breaks", async { panic!() });
        supervisor.stopping().cancelled().await;
        assert_eq!(failures(&metrics, "breaks"), 1);
    }

    #[tokio::test]
    async fn the_first_failure_is_reported_and_a_second_one_while_stopping_hangs_nothing() {
        let (supervisor, metrics) = supervisor();
        let tasks = supervisor.tasks();
        let stop = tasks.stopping().clone();
        tasks.spawn("second", async move {
            stop.cancelled().await;
            panic!("while stopping");
        });
        tasks.spawn("first", async {});
        tasks.stopping().cancelled().await;
        tasks.stop().await;
        assert_eq!(supervisor.failure().unwrap().task, "first");
        assert_eq!((failures(&metrics, "first"), failures(&metrics, "second")), (1, 1));
    }

    #[tokio::test]
    async fn a_part_of_a_task_is_observed_under_its_own_name_and_the_rest_goes_on() {
        let (supervisor, _) = supervisor();
        let ending = CancellationToken::new();
        let part = supervisor.supervise("part", &ending, async { panic!("part") });
        let rest = async {
            supervisor.stopping().cancelled().await;
            ending.cancel();
            "done"
        };
        let ((), rest) = tokio::join!(part, rest);
        assert_eq!((rest, supervisor.failure().unwrap().task), ("done", "part"));
    }

    #[tokio::test]
    async fn work_that_is_aborted_has_not_failed() {
        let (supervisor, _) = supervisor();
        let task = supervisor.spawn("aborted", &CancellationToken::new(), pending());
        tokio::task::yield_now().await;
        task.abort();
        assert!(task.await.is_err_and(|error| error.is_cancelled()));
        assert_eq!(supervisor.failure(), None);
    }
}
