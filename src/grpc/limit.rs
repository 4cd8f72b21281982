//! A bound of what is done at the same time.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// Longest wait in a queue: a burst passes in less, and a caller that waits for more does better at another replica.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);

/// A semaphore with a bounded queue, in which a caller waits for at most [`PATIENCE`].
#[derive(Debug)]
pub(super) struct Limit {
    permits: Arc<Semaphore>,
    queue: Semaphore,
}

impl Limit {
    pub(super) fn new(concurrent: usize, queue: usize) -> Self {
        Self { permits: Arc::new(Semaphore::new(concurrent)), queue: Semaphore::new(queue) }
    }

    /// A permit; none if the queue is full, or the wait is too long.
    pub(super) async fn acquire(&self) -> Option<OwnedSemaphorePermit> {
        if let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() {
            return Some(permit);
        }
        let _queued = self.queue.try_acquire().ok()?;
        timeout(PATIENCE, Arc::clone(&self.permits).acquire_owned()).await.ok()?.ok()
    }
}

#[cfg(test)]
mod tests {
    use futures::future::join_all;
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn callers_wait_in_a_bounded_queue_and_not_for_long() {
        let (limit, began) = (Limit::new(2, 3), Instant::now());
        let permits = join_all((0..6).map(|_| async { (limit.acquire().await, began.elapsed()) })).await;
        let waited = |time| permits.iter().filter(|(permit, waited)| permit.is_none() && *waited == time).count();
        assert_eq!(permits.iter().filter(|(permit, _)| permit.is_some()).count(), 2);
        assert_eq!((waited(Duration::ZERO), waited(PATIENCE)), (1, 3));
        drop(permits);
        assert!(limit.acquire().await.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_permit_that_is_released_goes_to_the_queue() {
        let limit = Limit::new(1, 1);
        let first = limit.acquire().await;
        let release = async {
            tokio::time::sleep(PATIENCE / 2).await;
            drop(first);
        };
        let (second, ()) = tokio::join!(limit.acquire(), release);
        assert!(second.is_some());
    }
}
