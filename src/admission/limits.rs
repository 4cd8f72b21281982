//! How many large reviews are read and decided at a time, and until when an answer is useful.
//!
//! Any pod can send reviews. A usual one has a few KiB and is decided in microseconds on the spot. A large one may take a
//! hundred times its length in memory once it is read, so a few at a time are read, and fewer decided, on other threads
//! than those that serve the small ones.
//!
//! A pod has 256 MiB. The limits here, and small bodies on each of the server's connections, stay well below that.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout, timeout_at};

use super::rejection::Rejection;

/// Longest body, in bytes: an object has at most 3 MiB, and a review holds two, escaped and with some words around them.
pub(super) const MAX_BODY: usize = 7 * 1024 * 1024;
/// Longest body of a small review, in bytes.
pub(super) const SMALL_BODY: usize = 16 * 1024;
/// Most memory that a review may take, as [`memory_to_read`] estimates it. The largest that an API server sends, twice an
/// object of 3 MiB, takes half.
const MAX_MEMORY: usize = 24 * 1024 * 1024;
/// Bytes of large bodies in memory at a time: four of the longest.
const LARGE_BODIES: usize = 4 * MAX_BODY;
/// Decisions about large reviews at a time.
const LARGE_DECISIONS: usize = 2;
/// Wait for the permit to read a large body. Less than a webhook's timeout: an API server that gets the rejection in time
/// repeats the call by itself.
const PERMIT_WAIT: Duration = Duration::from_secs(1);

/// Longest time for an answer, whatever the API server would wait: by default it gives up after 5 s.
const MAX_TIME: Duration = Duration::from_secs(4);
/// The API server rounds the time that it still waits up to a multiple of this.
const ROUNDED: Duration = Duration::from_secs(1);
/// Shortest time for an answer, when the API server is about to give up.
const MIN_TIME: Duration = Duration::from_millis(100);

/// Limits of large reviews. Clones share them.
#[derive(Clone, Debug)]
pub(super) struct Limits {
    bodies: Arc<Semaphore>,
    decisions: Arc<Semaphore>,
}

impl Default for Limits {
    fn default() -> Self {
        Self::new(LARGE_BODIES, LARGE_DECISIONS)
    }
}

impl Limits {
    /// Room for so many bytes of large bodies, and for so many decisions about large reviews.
    pub(super) fn new(bodies: usize, decisions: usize) -> Self {
        Self { bodies: Arc::new(Semaphore::new(bodies)), decisions: Arc::new(Semaphore::new(decisions)) }
    }

    /// The permit to have a large body of this length in memory.
    pub(super) async fn body(&self, length: usize) -> Result<OwnedSemaphorePermit, Rejection> {
        let bytes = u32::try_from(length).map_err(|_| Rejection::TooLarge)?;
        match timeout(PERMIT_WAIT, Arc::clone(&self.bodies).acquire_many_owned(bytes)).await {
            Ok(Ok(permit)) => Ok(permit),
            _ => Err(Rejection::Overload),
        }
    }

    /// The permit to decide about a large review, or `None` if there is none before the deadline.
    pub(super) async fn decision(&self, deadline: Instant) -> Option<OwnedSemaphorePermit> {
        timeout_at(deadline, Arc::clone(&self.decisions).acquire_owned()).await.ok()?.ok()
    }
}

/// Whether a body can be read within the memory that a review may take.
pub(super) fn fits_memory(body: &[u8]) -> bool {
    memory_to_read(body) <= MAX_MEMORY
}

/// An upper estimate of the bytes that a JSON text takes once it is read. Small values in many objects take most:
/// `{"":0},` has 7 bytes and becomes almost 700. Texts that look like structure count as such.
fn memory_to_read(json: &[u8]) -> usize {
    let structure = json.iter().map(|byte| match byte {
        b'{' => 640,
        b'[' => 160,
        b',' => 128,
        _ => 0,
    });
    // Each text is kept, and copied once where it is judged.
    2 * json.len() + structure.sum::<usize>()
}

/// The time by which a request that arrives now must be answered. The API server writes the seconds that it waits,
/// rounded up, into the query of the URL as `timeout`.
pub(super) fn deadline(query: Option<&str>, now: Instant) -> Instant {
    let timeout = query.into_iter().flat_map(|query| query.split('&')).find_map(|pair| pair.strip_prefix("timeout="));
    let seconds = timeout.and_then(|timeout| timeout.strip_suffix('s')?.parse().ok()).filter(|seconds| *seconds > 0);
    let time = seconds.map_or(MAX_TIME, |seconds| Duration::from_secs(seconds).saturating_sub(ROUNDED));
    now + time.clamp(MIN_TIME, MAX_TIME)
}

#[cfg(test)]
#[path = "limits_tests.rs"]
mod tests;
