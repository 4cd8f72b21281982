//! Turns at what takes long while the API server does not answer.

use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

/// Longest wait for a turn: a burst passes in less, and what does not is better made again elsewhere.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);

/// So many have a turn at a time, and only so many wait for one.
#[derive(Debug)]
pub(super) struct Turns {
    at_a_time: Semaphore,
    waiting: Semaphore,
}

impl Turns {
    pub(super) fn new(at_a_time: usize, waiting: usize) -> Self {
        Self { at_a_time: Semaphore::new(at_a_time), waiting: Semaphore::new(waiting) }
    }

    /// A turn, until the result is dropped; none if too many wait, or it does not come soon.
    pub(super) async fn take(&self) -> Option<SemaphorePermit<'_>> {
        if let Ok(turn) = self.at_a_time.try_acquire() {
            return Some(turn);
        }
        let _waits = self.waiting.try_acquire().ok()?;
        timeout(PATIENCE, self.at_a_time.acquire()).await.ok()?.ok()
    }
}
