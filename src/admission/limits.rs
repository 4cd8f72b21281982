//! How much the webhooks take on at a time, and until when an answer is worth making.
//!
//! Any pod can send reviews. A usual one is light: a few KiB, decided in microseconds on the spot. One of megabytes may
//! take a hundred times its length in memory once it is read, and its time, so those wait for one of few places, away
//! from the threads that serve the light ones. Nobody waits beyond the deadline: an answer that asks to try again is a
//! good answer, and one that comes too late is none.
//!
//! The bounds below, with 64 KiB for each connection's light body, leave room in the pod's 256 MiB: a test of the whole
//! process floods it, and it stays under 180 MB.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

/// Longest body that is light, in bytes.
pub(super) const LIGHT_BODY: usize = 64 * 1024;
/// Most memory that a light review may take, as [`memory_to_read`] has it.
const LIGHT_MEMORY: usize = 1024 * 1024;
/// Most memory that any review may take. The largest that an API server sends, twice an object of 3 MiB, takes half.
const MAX_MEMORY: usize = 32 * 1024 * 1024;
/// Bytes of bodies that are not light, together: four of the longest.
const LONG_BODIES: usize = 4 * super::MAX_BODY;
/// Decisions at a time about reviews that are not light.
const HEAVY_DECISIONS: usize = 2;

/// Longest that an answer may take, whatever the API server would wait: by default it gives up after 5 s.
const MAX_TIME: Duration = Duration::from_secs(4);
/// The API server rounds what it still waits up to this.
const ROUNDED: Duration = Duration::from_secs(1);
/// Shortest time for an answer, when the API server says that it is about to give up.
const MIN_TIME: Duration = Duration::from_millis(100);

/// The places that reviews wait for. Clones share them.
#[derive(Clone, Debug)]
pub(super) struct Limits {
    long_bodies: Arc<Semaphore>,
    decisions: Arc<Semaphore>,
}

impl Default for Limits {
    fn default() -> Self {
        Self::new(LONG_BODIES, HEAVY_DECISIONS)
    }
}

impl Limits {
    /// Room for so many bytes of long bodies, and for so many decisions about heavy reviews.
    pub(super) fn new(long_bodies: usize, decisions: usize) -> Self {
        Self { long_bodies: Arc::new(Semaphore::new(long_bodies)), decisions: Arc::new(Semaphore::new(decisions)) }
    }

    /// Room for a long body, or `None` if there is none before the deadline. The body counts until this is dropped.
    pub(super) async fn body(&self, length: usize, deadline: Instant) -> Option<OwnedSemaphorePermit> {
        let room = Arc::clone(&self.long_bodies).acquire_many_owned(u32::try_from(length).ok()?);
        timeout_at(deadline, room).await.ok()?.ok()
    }

    /// The place for a decision about a heavy review, or `None` if there is none before the deadline.
    pub(super) async fn decision(&self, deadline: Instant) -> Option<OwnedSemaphorePermit> {
        timeout_at(deadline, Arc::clone(&self.decisions).acquire_owned()).await.ok()?.ok()
    }
}

/// What a review costs to decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Weight {
    /// Next to nothing.
    Light,
    /// Memory or time that counts.
    Heavy,
    /// More than can be afforded.
    TooHeavy,
}

impl Weight {
    /// Of the review in a body.
    pub(super) fn of(body: &[u8]) -> Self {
        match memory_to_read(body) {
            memory if memory > MAX_MEMORY => Self::TooHeavy,
            memory if memory > LIGHT_MEMORY || body.len() > LIGHT_BODY => Self::Heavy,
            _ => Self::Light,
        }
    }
}

/// An upper estimate of the bytes that a JSON text takes once it is read. Small values in many objects make it: `{"":0},`
/// has 7 bytes and becomes almost 700.
fn memory_to_read(json: &[u8]) -> usize {
    /// The smallest map that is not empty.
    const MAP: usize = 640;
    /// The smallest list that is not empty.
    const LIST: usize = 160;
    /// One more value in either, with its key.
    const VALUE: usize = 128;
    // Each text is kept, and once more where it is judged.
    let mut memory = 2 * json.len();
    let (mut in_text, mut escaped) = (false, false);
    for (index, byte) in json.iter().enumerate() {
        if in_text {
            in_text = escaped || *byte != b'"';
            escaped = !escaped && *byte == b'\\';
            continue;
        }
        let empty = |close| json.get(index + 1) == Some(&close);
        memory += match byte {
            b'"' => {
                in_text = true;
                0
            }
            b'{' if !empty(b'}') => MAP,
            b'[' if !empty(b']') => LIST,
            b',' => VALUE,
            _ => 0,
        };
    }
    memory
}

/// When the answer to a request has to be there that has just begun, by the query of its URL: the API server writes in
/// `timeout` how many seconds it waits, rounded up.
pub(super) fn deadline(query: Option<&str>, now: Instant) -> Instant {
    let timeout = query.into_iter().flat_map(|query| query.split('&')).find_map(|pair| pair.strip_prefix("timeout="));
    let seconds = timeout.and_then(|timeout| timeout.strip_suffix('s')?.parse().ok()).filter(|seconds| *seconds > 0);
    let time = seconds.map_or(MAX_TIME, |seconds| Duration::from_secs(seconds).saturating_sub(ROUNDED));
    now + time.clamp(MIN_TIME, MAX_TIME)
}

#[cfg(test)]
#[path = "limits_tests.rs"]
mod tests;
