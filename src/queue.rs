//! The work queue of a controller: keys are deduplicated, one key is never worked on twice at a time, and a key that
//! fails waits longer each time without delaying the others.

use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use kube::runtime::scheduler::{ScheduleRequest, scheduler};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::api::names::ObjectKey;
use crate::backoff::Backoff;

/// First and longest wait of a key whose reconciliation failed.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(60));

/// Reconciliations that only keys of other namespaces than a busy one can have.
const SPARE: usize = 2;

type Requests = mpsc::UnboundedSender<ScheduleRequest<ObjectKey>>;

/// The sending side: requests the reconciliation of a key. While no queue is open, requests are dropped; the leader that
/// opens one requests every key anew. Clones share one queue.
#[derive(Clone, Debug, Default)]
pub struct Trigger(Arc<ArcSwapOption<Requests>>);

impl Trigger {
    /// Opens a queue in the place of a former one, which must be dropped already.
    #[must_use]
    pub fn open(&self) -> Queue {
        let (sender, requests) = mpsc::unbounded_channel();
        self.0.store(Some(Arc::new(sender)));
        Queue { requests, trigger: self.clone() }
    }

    /// Requests the reconciliation of `key` as soon as a worker is free.
    pub fn now(&self, key: ObjectKey) {
        self.after(key, Duration::ZERO);
    }

    /// Requests the reconciliation of `key` after a while, or before at another request.
    pub fn after(&self, key: ObjectKey, wait: Duration) {
        if let Some(requests) = &*self.0.load() {
            // The receiver is gone only while its queue is being closed.
            drop(requests.send(ScheduleRequest { message: key, run_at: Instant::now() + wait }));
        }
    }
}

/// The receiving side, run by [`Queue::run`].
#[derive(Debug)]
pub struct Queue {
    requests: mpsc::UnboundedReceiver<ScheduleRequest<ObjectKey>>,
    trigger: Trigger,
}

impl Drop for Queue {
    fn drop(&mut self) {
        self.trigger.0.store(None);
    }
}

/// How a reconciliation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing until something changes.
    Done,
    /// To be run again after a while.
    Again(Duration),
    /// It failed: to be run again after this key's back-off.
    Failed,
    /// It failed, and would again before a while has passed: to be run again then.
    Refused(Duration),
}

impl Outcome {
    /// Whether what was to be done is not done.
    #[must_use]
    pub fn is_failure(self) -> bool {
        matches!(self, Self::Failed | Self::Refused(_))
    }
}

impl Queue {
    /// Runs `reconcile` for every requested key, until `stop`; then lets those finish that have begun. At most
    /// `workers` of one namespace run at a time, and [`SPARE`] more of others: where writes of one namespace are slow,
    /// by a webhook of the cluster for instance, the others go on. A panic in `reconcile` counts as a failure of
    /// that key alone.
    pub async fn run<F, R>(mut self, workers: usize, stop: CancellationToken, reconcile: F)
    where
        F: Fn(ObjectKey) -> R,
        R: Future<Output = Outcome>,
    {
        let trigger = self.trigger.clone();
        let requests = futures::stream::poll_fn(move |context| self.requests.poll_recv(context));
        let mut scheduled = pin!(scheduler(requests));
        let mut running = FuturesUnordered::new();
        let mut busy: HashSet<ObjectKey> = HashSet::new();
        let mut of_namespace: HashMap<String, usize> = HashMap::new();
        let mut failures: HashMap<ObjectKey, Backoff> = HashMap::new();
        loop {
            let full = running.len() >= workers + SPARE;
            let has_room = |namespace: &str| of_namespace.get(namespace).is_none_or(|running| *running < workers);
            let mut next = scheduled.as_mut().hold_unless(|key| !busy.contains(key) && has_room(&key.namespace));
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some((key, outcome)) = running.next(), if !running.is_empty() => {
                    let key: ObjectKey = key;
                    busy.remove(&key);
                    if let Some(running) = of_namespace.get_mut(&key.namespace) {
                        *running -= 1;
                        if *running == 0 {
                            of_namespace.remove(&key.namespace);
                        }
                    }
                    match outcome {
                        Outcome::Done => drop(failures.remove(&key)),
                        Outcome::Again(wait) | Outcome::Refused(wait) => {
                            failures.remove(&key);
                            trigger.after(key, wait);
                        }
                        Outcome::Failed => {
                            let backoff = failures.entry(key.clone());
                            let wait = backoff.or_insert_with(|| Backoff::new(BACKOFF.0, BACKOFF.1)).pause();
                            trigger.after(key, wait);
                        }
                    }
                }
                Some(key) = next.next(), if !full => {
                    busy.insert(key.clone());
                    *of_namespace.entry(key.namespace.clone()).or_default() += 1;
                    let work = AssertUnwindSafe(reconcile(key.clone())).catch_unwind();
                    running.push(work.map(move |result| (key, result.unwrap_or(Outcome::Failed))));
                }
            }
        }
        while running.next().await.is_some() {}
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn key(name: &str) -> ObjectKey {
        ObjectKey::new("ns", name)
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_is_worked_on_once_at_a_time_and_again_when_asked_meanwhile() {
        let trigger = Trigger::default();
        let queue = trigger.open();
        let (active, runs) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let stop = CancellationToken::new();
        trigger.now(key("a"));
        trigger.now(key("a"));
        let work = queue.run(4, stop.clone(), |key| {
            let (active, runs, trigger, stop) = (&active, &runs, &trigger, &stop);
            async move {
                assert_eq!(active.fetch_add(1, Ordering::SeqCst), 0);
                if runs.fetch_add(1, Ordering::SeqCst) == 0 {
                    trigger.now(key);
                } else {
                    stop.cancel();
                }
                tokio::time::sleep(Duration::from_secs(1)).await;
                active.fetch_sub(1, Ordering::SeqCst);
                Outcome::Done
            }
        });
        work.await;
        assert_eq!(runs.load(Ordering::SeqCst), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_failing_or_panicking_key_backs_off_and_does_not_delay_the_others() {
        let trigger = Trigger::default();
        let queue = trigger.open();
        let stop = CancellationToken::new();
        let (started, runs) = (Instant::now(), Arc::new(Mutex::new(Vec::new())));
        trigger.now(key("bad"));
        trigger.now(key("good"));
        let work = queue.run(1, stop.clone(), |key| {
            let (runs, stop) = (Arc::clone(&runs), stop.clone());
            async move {
                let mut runs = runs.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                runs.push((key.name.clone(), started.elapsed().as_millis()));
                if runs.iter().filter(|(name, _)| name == "bad").count() == 4 {
                    stop.cancel();
                }
                assert!(key.name == "good", "a panic of one key");
                Outcome::Done
            }
        });
        work.await;
        let runs = runs.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        let bad: Vec<u128> = runs.iter().filter(|(name, _)| name == "bad").map(|(_, at)| *at).collect();
        assert!(bad[0] < 10 && bad[1] >= 250 && bad[2] >= 750 && bad[3] >= 1750, "{runs:?}");
        assert!(runs.iter().any(|(name, at)| name == "good" && *at < 10), "{runs:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_namespace_in_which_everything_is_slow_does_not_delay_another() {
        let trigger = Trigger::default();
        let (queue, stop, started) = (trigger.open(), CancellationToken::new(), Instant::now());
        (0..50).for_each(|number| trigger.now(ObjectKey::new("slow", format!("s-{number}"))));
        let (active, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let work = queue.run(3, stop.clone(), |key| {
            let (active, most, trigger, stop) = (&active, &most, &trigger, &stop);
            async move {
                if key.namespace == "ns" {
                    stop.cancel();
                    return Outcome::Done;
                }
                most.fetch_max(active.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                // When all that the namespace may have are taken.
                tokio::time::sleep(Duration::from_secs(1)).await;
                trigger.now(ObjectKey::new("ns", "good"));
                tokio::time::sleep(Duration::from_secs(60)).await;
                active.fetch_sub(1, Ordering::SeqCst);
                Outcome::Done
            }
        });
        // Those that have begun are waited for.
        work.await;
        assert_eq!(most.load(Ordering::SeqCst), 3);
        assert!(started.elapsed() < Duration::from_secs(70), "{:?}", started.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_trigger_while_no_replica_reconciles_is_dropped() {
        let trigger = Trigger::default();
        trigger.now(key("before"));
        drop(trigger.open());
        trigger.now(key("between"));
        let (queue, stop, seen) = (trigger.open(), CancellationToken::new(), Mutex::new(Vec::new()));
        trigger.now(key("while"));
        let work = queue.run(1, stop.clone(), |key| {
            seen.lock().unwrap().push(key.name);
            stop.cancel();
            async { Outcome::Done }
        });
        work.await;
        assert_eq!(*seen.lock().unwrap(), ["while"]);
    }
}
