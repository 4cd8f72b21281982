//! Places for connections, or for calls: how many there may be at a time, and which one goes when there are too many.
//!
//! Any pod can open connections and say nothing. If newcomers had to wait for a place, such connections would keep the
//! API server, or the nodes, out. So whoever has used up most of this side's patience makes room. For a connection that
//! is half open it is seconds, for a kept one minutes: of those that came together the half-open one goes first. But who
//! came just now has used up nothing yet, and stays while another has been idle for long: newcomers that took the place
//! of each other, all of them half open at first, would not get anywhere.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

use super::Tenant;

/// Until it is looked again who could go, when everybody was waiting for an answer.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// Until another one has to go, if the one that was ended has not gone.
const GOING: Duration = Duration::from_secs(1);

type Taken<T> = Mutex<HashMap<u64, Arc<T>>>;

/// The places.
#[derive(Debug)]
pub struct Places<T> {
    free: Arc<Semaphore>,
    taken: Arc<Taken<T>>,
    /// Of those who wait, one looks who could go. It also keeps their order.
    turn: tokio::sync::Mutex<()>,
    numbers: AtomicU64,
}

/// A place that is taken; free again when this is dropped.
#[derive(Debug)]
pub struct Place<T> {
    number: u64,
    tenant: Arc<T>,
    taken: Arc<Taken<T>>,
    _permit: OwnedSemaphorePermit,
}

impl<T> Place<T> {
    /// Who has it.
    #[must_use]
    pub fn tenant(&self) -> &Arc<T> {
        &self.tenant
    }
}

impl<T> Drop for Place<T> {
    fn drop(&mut self) {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.number);
    }
}

impl<T: Tenant> Places<T> {
    /// So many places, all free.
    #[must_use]
    pub fn new(count: usize) -> Self {
        Self {
            free: Arc::new(Semaphore::new(count)),
            taken: Arc::default(),
            turn: tokio::sync::Mutex::default(),
            numbers: AtomicU64::new(0),
        }
    }

    /// A place for `tenant`. If there is none, another one loses its own; while it is this side's turn with all of
    /// them, this waits. `None` never happens: places are not closed.
    pub async fn take(&self, tenant: Arc<T>) -> Option<Place<T>> {
        let permit = match Arc::clone(&self.free).try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => self.wait().await?,
        };
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        self.taken.lock().unwrap_or_else(PoisonError::into_inner).insert(number, Arc::clone(&tenant));
        Some(Place { number, tenant, taken: Arc::clone(&self.taken), _permit: permit })
    }

    async fn wait(&self) -> Option<OwnedSemaphorePermit> {
        let _turn = self.turn.lock().await;
        loop {
            let time = if self.make_room() { GOING } else { LOOK_AGAIN };
            if let Ok(permit) = timeout(time, Arc::clone(&self.free).acquire_owned()).await {
                return permit.ok();
            }
        }
    }

    /// Ends the one who has used up most of its time, if any client is waited for; says whether it did.
    pub fn make_room(&self) -> bool {
        let now = Instant::now();
        let taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = taken.values().filter_map(|tenant| Some((tenant.waits()?.spent(now), tenant)));
        waiting.max_by(|(one, _), (other, _)| one.total_cmp(other)).is_some_and(|(_, tenant)| tenant.evict())
    }
}

#[cfg(test)]
#[path = "places_tests.rs"]
mod tests;
