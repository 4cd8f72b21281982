//! The task of one partition: writes the record that its candidacies ask for, and sends their streams the result.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::candidacies::End;
use super::election::Inbox;
use super::hub::Hub;
use super::store::{PartitionView, WriteResult};
use crate::api::ElectionStatus;
use crate::api::names::ObjectKey;
use crate::backoff::Backoff;
use crate::throttle::Throttle;

/// First and longest wait after a call that failed.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// Wait after a call that failed while the process stops.
const LAST_RETRY: Duration = Duration::from_millis(250);
/// Between two checks whether pending candidacies may enter.
const CHECK: Duration = Duration::from_secs(1);
/// Writes of one partition that may follow each other, and the interval of more: members that come and go must not keep
/// the API server busy.
const WRITES: (u32, Duration) = (10, Duration::from_millis(100));

/// What the task does next.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Step {
    /// Writes this record.
    Write(ElectionStatus),
    /// Waits for a change.
    Wait,
    /// Waits for a change, but not for long.
    WaitAWhile,
    /// Ends.
    Close,
}

/// Ends the streams if the task panics: they would get no updates.
struct CloseOnDrop<'a>(&'a Hub, &'a ObjectKey);

impl Drop for CloseOnDrop<'_> {
    fn drop(&mut self) {
        self.0.close(self.1, End::Stopping);
    }
}

/// Runs the election of a partition, of which `view` is known, until it has neither streams here nor anything to write.
pub(super) async fn run(hub: Arc<Hub>, key: ObjectKey, mut view: PartitionView) {
    let close = CloseOnDrop(&hub, &key);
    let mut backoff = Backoff::new(RETRY.0, RETRY.1);
    let mut throttle = Throttle::new(WRITES.0, WRITES.1, Instant::now());
    while let Some(Inbox { wake, changed, view: found }) = hub.take_inbox(&key) {
        if let Some(found) = found.filter(|found| found.version > view.version) {
            view = found;
        }
        let current = match hub.store.cached(&key) {
            // The partition may be gone, or so new that the watch has not shown it.
            None if changed => hub.store.read(&key).await,
            cached => Ok(cached.or_else(|| Some(view.clone()))),
        };
        match current {
            Ok(Some(current)) if current.uid == view.uid || current.version < view.version => {
                if current.version > view.version {
                    view = current;
                }
            }
            Ok(_) => {
                hub.close(&key, End::Deleted);
                break;
            }
            Err(_) => {
                hub.changed(&key);
                wait(&hub, &mut backoff).await;
                continue;
            }
        }
        let now = Instant::now();
        match hub.process(&key, &view, throttle.is_idle(now)) {
            Step::Close => break,
            Step::Wait => wake.notified().await,
            Step::WaitAWhile => drop(timeout(CHECK, wake.notified()).await),
            Step::Write(record) => match throttle.wait(now) {
                // One write covers the changes of the meantime.
                Some(rest) => sleep(rest).await,
                None => match write(&hub, &key, &mut view, &record).await {
                    Ok(true) => {
                        backoff.reset();
                        throttle.record(now);
                    }
                    Ok(false) => {
                        hub.close(&key, End::Deleted);
                        break;
                    }
                    Err(()) => wait(&hub, &mut backoff).await,
                },
            },
        }
    }
    // The election is closed; another one may have begun.
    std::mem::forget(close);
}

/// Writes a record, or reads the one that was written meanwhile. Returns whether the partition still exists.
async fn write(hub: &Hub, key: &ObjectKey, view: &mut PartitionView, record: &ElectionStatus) -> Result<bool, ()> {
    match hub.store.write(key, view, record).await {
        Ok(WriteResult::Written(written)) => {
            if written.record.primary != view.record.primary || written.record.term != view.record.term {
                let ElectionStatus { term, primary, .. } = &written.record;
                tracing::info!(partition = %key, term, primary, "primary changed");
            }
            *view = written;
            Ok(true)
        }
        Ok(WriteResult::Gone) => Ok(false),
        Ok(WriteResult::Conflict) => match hub.store.read(key).await {
            Ok(Some(read)) if read.uid == view.uid => {
                *view = read;
                Ok(true)
            }
            Ok(_) => Ok(false),
            Err(_) => Err(()),
        },
        Err(error) => {
            if !error.is_away() {
                tracing::warn!(partition = %key, %error, "election not written, trying again");
            }
            Err(())
        }
    }
}

/// Waits after a call that failed. A process that stops has only seconds left to remove its candidacies.
async fn wait(hub: &Hub, backoff: &mut Backoff) {
    if hub.stopping.is_cancelled() {
        sleep(LAST_RETRY).await;
    } else {
        hub.stopping.run_until_cancelled(sleep(backoff.pause())).await;
    }
}
