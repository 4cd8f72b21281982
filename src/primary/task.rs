//! The task of one partition: writes what its candidacies ask for, and tells their streams what came of it.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::candidacies::End;
use super::hub::Hub;
use super::store::{View, Written};
use crate::api::ElectionStatus;
use crate::api::names::ObjectKey;

/// First and longest wait after a call that failed.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// Wait after a call that failed while the process stops.
const LAST_PAUSE: Duration = Duration::from_millis(250);
/// How often it is looked whether those that wait may enter.
const LOOK: Duration = Duration::from_secs(1);
/// Between two writes of a partition whose members come and go without a rest, and how many may follow each other
/// without it.
const REST: (Duration, u32) = (Duration::from_millis(100), 10);

/// Holds back a partition that would be written again and again: whoever may enter an election must not be able to
/// keep the API server busy.
#[derive(Debug)]
struct Pace(Instant);

impl Pace {
    /// How long to wait before the next write.
    fn wait(&self, now: Instant) -> Option<Duration> {
        let burst = REST.0 * REST.1.saturating_sub(1);
        self.0.checked_duration_since(now + burst).filter(|wait| !wait.is_zero())
    }

    fn take(&mut self, now: Instant) {
        self.0 = self.0.max(now) + REST.0;
    }

    /// Whether all is as if nothing had ever been written.
    fn has_rested(&self, now: Instant) -> bool {
        self.0 <= now
    }
}

/// What is to be done next.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Next {
    /// To write this record.
    Write(ElectionStatus),
    /// To wait until something changes.
    Wait,
    /// To look again in a while, or when something changes.
    Look,
    /// Nothing any more.
    Close,
}

/// Ends the streams if the task is cut off, by a panic for instance: nobody would tell them anything.
struct Closing<'a>(&'a Hub, &'a ObjectKey);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.0.close(self.1, End::Stopping);
    }
}

/// Looks after a partition, of which `view` is known, until it has neither streams here nor anything to be written.
pub(super) async fn run(hub: Arc<Hub>, key: ObjectKey, mut view: View) {
    let closing = Closing(&hub, &key);
    let (mut pause, mut pace) = (PAUSE.0, Pace(Instant::now()));
    while let Some(wake) = hub.wake(&key) {
        let news = hub.news(&key);
        if let Some(seen) = hub.seen(&key).filter(|seen| seen.version > view.version) {
            view = seen;
        }
        let known = match hub.store().known(&key) {
            // The watch may not have shown it yet; whether it is gone, the API server knows.
            None if news => hub.store().read(&key).await,
            known => Ok(known.or_else(|| Some(view.clone()))),
        };
        match known {
            Ok(Some(known)) if known.uid == view.uid || known.version < view.version => {
                if known.version > view.version {
                    view = known;
                }
            }
            Ok(_) => {
                hub.close(&key, End::Deleted);
                break;
            }
            Err(_) => {
                hub.changed(&key);
                pause = wait(&hub, pause).await;
                continue;
            }
        }
        let now = Instant::now();
        match hub.settle(&key, &view, pace.has_rested(now)) {
            Next::Close => break,
            Next::Wait => wake.notified().await,
            Next::Look => drop(timeout(LOOK, wake.notified()).await),
            // What happens meanwhile is written with it.
            Next::Write(record) => match pace.wait(now) {
                Some(rest) => sleep(rest).await,
                None => match write(&hub, &key, &mut view, &record).await {
                    Ok(true) => {
                        pause = PAUSE.0;
                        pace.take(now);
                    }
                    Ok(false) => {
                        hub.close(&key, End::Deleted);
                        break;
                    }
                    Err(()) => pause = wait(&hub, pause).await,
                },
            },
        }
    }
    // The slot is gone; another may have taken its place.
    std::mem::forget(closing);
}

/// Writes a record, or finds out what has come in between. Returns whether the partition is still there.
async fn write(hub: &Hub, key: &ObjectKey, view: &mut View, record: &ElectionStatus) -> Result<bool, ()> {
    match hub.store().write(key, view, record).await {
        Ok(Written::Done(written)) => {
            if written.record.primary != view.record.primary || written.record.term != view.record.term {
                let ElectionStatus { term, primary, .. } = &written.record;
                tracing::info!(partition = %key, term, primary, "primary changed");
            }
            *view = written;
            Ok(true)
        }
        Ok(Written::Gone) => Ok(false),
        Ok(Written::Conflict) => match hub.store().read(key).await {
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

/// Waits for an API server that does not answer; when the process stops there are only seconds left to withdraw.
async fn wait(hub: &Hub, pause: Duration) -> Duration {
    let stopping = hub.stopping();
    if stopping.is_cancelled() {
        sleep(LAST_PAUSE).await;
    } else {
        stopping.run_until_cancelled(sleep(pause)).await;
    }
    PAUSE.1.min(pause * 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_writes_may_follow_each_other_and_then_each_has_to_wait_for_its_turn() {
        let start = Instant::now();
        let mut pace = Pace(start);
        for _ in 0..REST.1 {
            assert_eq!(pace.wait(start), None);
            pace.take(start);
        }
        assert_eq!(pace.wait(start), Some(REST.0));
        assert_eq!(pace.wait(start + REST.0), None);
        pace.take(start + REST.0);
        assert!(pace.wait(start + REST.0).is_some());
        assert!(!pace.has_rested(start + REST.0 * REST.1));
        assert!(pace.has_rested(start + REST.0 * (REST.1 + 1)));
    }
}
