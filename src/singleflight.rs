//! Reads that many wait for and one makes.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;

use crate::api::names::ObjectKey;

/// Reads that are remembered: those under way, and those that may still serve.
const REMEMBERED: usize = 1024;

/// Why there was no read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// More different things are asked for than may be waited for.
    #[error("too many different groups are asked for at once")]
    TooMany,
    /// The read died.
    #[error("the read ended without a result")]
    Died,
}

/// One read, under way or done.
#[derive(Debug)]
struct Flight<T> {
    /// Unset until its turn has come.
    begun: Arc<OnceLock<Instant>>,
    /// What was true of the cache when it was asked for.
    mark: u64,
    result: watch::Receiver<Option<T>>,
}

// By hand, since derived it would ask for `T: Clone`.
impl<T> Clone for Flight<T> {
    fn clone(&self) -> Self {
        Self { begun: Arc::clone(&self.begun), mark: self.mark, result: self.result.clone() }
    }
}

impl<T> Flight<T> {
    fn is_done(&self) -> bool {
        self.result.borrow().is_some() || self.result.has_changed().is_err()
    }

    /// Whether what it shows is good enough for one who has asked at `asked`.
    fn serves(&self, asked: Instant, tolerance: Duration, mark: u64) -> bool {
        self.mark == mark && self.begun.get().is_none_or(|begun| *begun + tolerance >= asked)
    }
}

/// The reads of one kind: one at a time for each key, so many at a time for all. A read goes on when nobody waits for
/// it any more: others may join it.
#[derive(Debug)]
pub struct Singleflight<T> {
    tolerance: Duration,
    latest: Mutex<HashMap<ObjectKey, Flight<T>>>,
    permits: Arc<Semaphore>,
}

impl<T: Clone + Send + Sync + 'static> Singleflight<T> {
    /// At most `concurrent` reads at a time. One may have begun by `tolerance` before whoever asks for it.
    #[must_use]
    pub fn new(concurrent: usize, tolerance: Duration) -> Self {
        Self { tolerance, latest: Mutex::default(), permits: Arc::new(Semaphore::new(concurrent)) }
    }

    /// The result of a read of `key` that is recent enough, and for which `mark` has not changed since it was asked for;
    /// `read` makes it if there is none.
    ///
    /// # Errors
    /// [`Refused`] if there was no read.
    pub async fn join<F>(&self, key: &ObjectKey, mark: impl Fn() -> u64, read: impl Fn() -> F) -> Result<T, Refused>
    where
        F: Future<Output = T> + Send + 'static,
    {
        let asked = Instant::now();
        loop {
            let (mut flight, serves) = self.boarded(key, asked, mark(), &read)?;
            let result = flight.result.wait_for(Option::is_some).await.map(|result| result.clone());
            match result {
                Ok(Some(result)) if serves && flight.mark == mark() => return Ok(result),
                Err(_) if serves => return Err(Refused::Died),
                // It was too old. Whoever comes first makes the next one.
                _ => {}
            }
        }
    }

    /// The latest read of `key`, or a new one, and whether it will do. One that will not do is waited for all the same:
    /// there is one at a time.
    fn boarded<F>(
        &self,
        key: &ObjectKey,
        asked: Instant,
        mark: u64,
        read: &impl Fn() -> F,
    ) -> Result<(Flight<T>, bool), Refused>
    where
        F: Future<Output = T> + Send + 'static,
    {
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(flight) = latest.get(key) {
            let serves = flight.serves(asked, self.tolerance, mark);
            if serves || !flight.is_done() {
                return Ok((flight.clone(), serves));
            }
        }
        if latest.len() >= REMEMBERED {
            let recent = |begun: &Instant| *begun + self.tolerance >= asked;
            latest.retain(|_, flight| !flight.is_done() || flight.begun.get().is_some_and(recent));
        }
        if latest.len() >= REMEMBERED {
            return Err(Refused::TooMany);
        }
        let (sender, result) = watch::channel(None);
        let begun = Arc::new(OnceLock::new());
        let flight = Flight { begun: Arc::clone(&begun), mark, result };
        latest.insert(key.clone(), flight.clone());
        let (permits, read) = (Arc::clone(&self.permits), read());
        #[expect(clippy::disallowed_methods, reason = "one read: whoever waits for it sees that it died")]
        tokio::spawn(async move {
            // Never closed.
            let Ok(_permit) = permits.acquire().await else { return };
            begun.get_or_init(Instant::now);
            sender.send_replace(Some(read.await));
        });
        Ok((flight, true))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use futures::future::join_all;
    use tokio::time::{advance, sleep};

    use super::*;

    const LONG: Duration = Duration::from_secs(1);
    const TOLERANCE: Duration = Duration::from_millis(100);

    fn key(name: &str) -> ObjectKey {
        ObjectKey::new("ns", name)
    }

    /// Reads that take a second; each results in its own number, from 1.
    #[derive(Default)]
    struct Reads(Arc<AtomicU32>);

    impl Reads {
        fn read(&self) -> impl Fn() -> futures::future::BoxFuture<'static, u32> + '_ {
            || {
                let count = Arc::clone(&self.0);
                Box::pin(async move {
                    let number = count.fetch_add(1, Ordering::Relaxed) + 1;
                    sleep(LONG).await;
                    number
                })
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_asks_at_the_same_time_shares_one_read() {
        let (singleflight, reads) = (Singleflight::new(4, TOLERANCE), Reads::default());
        let key = key("a");
        let many = join_all((0..100).map(|_| singleflight.join(&key, || 0, reads.read()))).await;
        assert_eq!(many, vec![Ok(1); 100]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_read_that_began_too_early_is_not_joined_and_the_next_one_is_shared() {
        let (singleflight, reads) = (Singleflight::new(4, TOLERANCE), Reads::default());
        let late = || async {
            sleep(TOLERANCE + Duration::from_millis(1)).await;
            singleflight.join(&key("a"), || 0, reads.read()).await
        };
        let (k, read) = (key("a"), reads.read());
        let (first, second, third) = tokio::join!(singleflight.join(&k, || 0, read), late(), late());
        assert_eq!((first, second, third), (Ok(1), Ok(2), Ok(2)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_result_serves_for_as_long_as_its_beginning_is_recent() {
        let (singleflight, count) = (Singleflight::new(4, TOLERANCE), Arc::new(AtomicU32::new(0)));
        let read = || {
            let count = Arc::clone(&count);
            async move { count.fetch_add(1, Ordering::Relaxed) }
        };
        assert_eq!(singleflight.join(&key("a"), || 0, read).await, Ok(0));
        advance(TOLERANCE).await;
        assert_eq!(singleflight.join(&key("a"), || 0, read).await, Ok(0));
        assert_eq!(singleflight.join(&key("a"), || 1, read).await, Ok(1), "the mark has changed");
        advance(TOLERANCE + Duration::from_millis(1)).await;
        assert_eq!(singleflight.join(&key("a"), || 1, read).await, Ok(2));
    }

    #[tokio::test(start_paused = true)]
    async fn without_tolerance_only_a_read_that_begins_later_serves() {
        let (singleflight, reads) = (Singleflight::new(4, Duration::ZERO), Reads::default());
        let (k, read) = (key("a"), reads.read());
        let late = async {
            sleep(Duration::from_millis(1)).await;
            singleflight.join(&k, || 0, reads.read()).await
        };
        assert_eq!(tokio::join!(singleflight.join(&k, || 0, read), late), (Ok(1), Ok(2)));
        advance(Duration::from_millis(1)).await;
        assert_eq!(singleflight.join(&k, || 0, reads.read()).await, Ok(3));
    }

    #[tokio::test(start_paused = true)]
    async fn a_read_goes_on_without_the_one_who_asked_first() {
        let (singleflight, reads) = (Singleflight::new(4, TOLERANCE), Reads::default());
        let impatient = tokio::time::timeout(TOLERANCE / 2, singleflight.join(&key("a"), || 0, reads.read())).await;
        assert!(impatient.is_err());
        assert_eq!(singleflight.join(&key("a"), || 0, reads.read()).await, Ok(1));
    }

    #[tokio::test(start_paused = true)]
    async fn only_so_many_keys_are_read_at_a_time_and_remembered() {
        let (singleflight, reads) = (Singleflight::new(2, TOLERANCE), Reads::default());
        let start = Instant::now();
        let keys: Vec<_> = (0..4).map(|i| key(&format!("k-{i}"))).collect();
        join_all(keys.iter().map(|key| singleflight.join(key, || 0, reads.read()))).await;
        assert_eq!(start.elapsed(), LONG * 2);
        let keys: Vec<_> = (0..=REMEMBERED).map(|i| key(&i.to_string())).collect();
        let mut waiting: Vec<_> = keys.iter().map(|key| Box::pin(singleflight.join(key, || 0, reads.read()))).collect();
        let last = waiting.pop().unwrap();
        let all = futures::future::select(join_all(waiting), last).await;
        assert!(matches!(all, futures::future::Either::Right((Err(Refused::TooMany), _))));
    }
}
