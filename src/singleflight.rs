//! Reads that many callers wait for and one task makes.

use std::collections::HashMap;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::FutureExt;
use tokio::sync::{Semaphore, oneshot};

use crate::api::names::ObjectKey;

/// Keys that are read, or wait to be read, at the same time.
const MAX_KEYS: usize = 1024;

/// Why a read has no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ReadError {
    /// As many other keys as possible are read or wait to be read.
    #[error("too many different groups are asked for at once")]
    TooMany,
    /// The read panicked.
    #[error("the read ended without a result")]
    Panicked,
}

/// The callers that wait for the next read of each key. A key whose read is under way is present too.
type Waiting<T> = HashMap<ObjectKey, Vec<oneshot::Sender<T>>>;

/// The reads of one kind: one at a time for each key, a bounded number at a time for all.
#[derive(Debug)]
pub(crate) struct Singleflight<T> {
    waiting: Arc<Mutex<Waiting<T>>>,
    permits: Arc<Semaphore>,
}

impl<T: Clone + Send + 'static> Singleflight<T> {
    /// At most `concurrent` reads at a time.
    pub(crate) fn new(concurrent: usize) -> Self {
        Self { waiting: Arc::default(), permits: Arc::new(Semaphore::new(concurrent)) }
    }

    /// The result of a read of `key` that begins after this call. Callers that arrive before it begins share it.
    ///
    /// # Errors
    /// [`ReadError`] if there is no result.
    pub(crate) async fn get_or_read<F>(
        &self,
        key: &ObjectKey,
        read: impl Fn() -> F + Send + 'static,
    ) -> Result<T, ReadError>
    where
        F: Future<Output = T> + Send + 'static,
    {
        let (sender, result) = oneshot::channel();
        self.join_or_start(key, sender, read)?;
        result.await.map_err(|_| ReadError::Panicked)
    }

    fn join_or_start<F>(
        &self,
        key: &ObjectKey,
        sender: oneshot::Sender<T>,
        read: impl Fn() -> F + Send + 'static,
    ) -> Result<(), ReadError>
    where
        F: Future<Output = T> + Send + 'static,
    {
        let mut waiting = lock(&self.waiting);
        if let Some(callers) = waiting.get_mut(key) {
            callers.push(sender);
            return Ok(());
        }
        if waiting.len() >= MAX_KEYS {
            return Err(ReadError::TooMany);
        }
        waiting.insert(key.clone(), vec![sender]);
        let (waiting, permits, key) = (Arc::clone(&self.waiting), Arc::clone(&self.permits), key.clone());
        #[expect(clippy::disallowed_methods, reason = "a panic of the read is reported to its callers")]
        tokio::spawn(async move {
            loop {
                // Never closed.
                let _permit = permits.acquire().await;
                let Some(callers) = next_callers(&waiting, &key) else { return };
                let Ok(result) = AssertUnwindSafe(read()).catch_unwind().await else {
                    lock(&waiting).remove(&key);
                    return;
                };
                for caller in callers {
                    // A caller that has given up needs no result.
                    drop(caller.send(result.clone()));
                }
            }
        });
        Ok(())
    }
}

/// The callers that still wait for a read of `key`. None if there are none: then the key is removed.
fn next_callers<T>(waiting: &Mutex<Waiting<T>>, key: &ObjectKey) -> Option<Vec<oneshot::Sender<T>>> {
    let mut waiting = lock(waiting);
    let mut callers = std::mem::take(waiting.get_mut(key)?);
    callers.retain(|caller| !caller.is_closed());
    if callers.is_empty() {
        waiting.remove(key);
        return None;
    }
    Some(callers)
}

fn lock<T>(waiting: &Mutex<Waiting<T>>) -> MutexGuard<'_, Waiting<T>> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

    use futures::future::{BoxFuture, join_all};
    use tokio::time::{Instant, sleep, timeout};

    use super::*;

    const LONG: Duration = Duration::from_secs(1);
    const MOMENT: Duration = Duration::from_millis(1);

    fn key(name: &str) -> ObjectKey {
        ObjectKey::new("ns", name)
    }

    /// Reads that take a second; each results in its own number, from 1.
    #[derive(Default)]
    struct Reads(Arc<AtomicU32>);

    impl Reads {
        fn read(&self) -> impl Fn() -> BoxFuture<'static, u32> + Send + use<> {
            let count = Arc::clone(&self.0);
            move || {
                let number = count.fetch_add(1, Ordering::Relaxed) + 1;
                Box::pin(async move {
                    sleep(LONG).await;
                    number
                })
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn callers_at_the_same_time_share_one_read() {
        let (singleflight, reads) = (Singleflight::new(4), Reads::default());
        let key = key("a");
        let many = join_all((0..100).map(|_| singleflight.get_or_read(&key, reads.read()))).await;
        assert_eq!(many, vec![Ok(1); 100]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_read_that_has_begun_serves_no_later_caller_and_the_next_one_is_shared() {
        let (singleflight, reads) = (Singleflight::new(4), Reads::default());
        let k = key("a");
        let late = || async {
            sleep(MOMENT).await;
            singleflight.get_or_read(&k, reads.read()).await
        };
        let start = Instant::now();
        let results = tokio::join!(singleflight.get_or_read(&k, reads.read()), late(), late());
        assert_eq!((results, start.elapsed()), ((Ok(1), Ok(2), Ok(2)), LONG * 2), "one at a time");
        assert_eq!(singleflight.get_or_read(&k, reads.read()).await, Ok(3), "results are not kept");
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_that_gives_up_takes_nothing_from_the_others() {
        let (singleflight, reads) = (Singleflight::new(1), Reads::default());
        let k = key("a");
        let impatient = timeout(MOMENT, singleflight.get_or_read(&k, reads.read()));
        let (gone, patient) = tokio::join!(impatient, singleflight.get_or_read(&k, reads.read()));
        assert!(gone.is_err() && patient == Ok(1));
        let gone = timeout(MOMENT, singleflight.get_or_read(&k, reads.read())).await;
        assert!(gone.is_err());
        assert_eq!(singleflight.get_or_read(&k, reads.read()).await, Ok(3));
    }

    #[tokio::test(start_paused = true)]
    async fn a_read_that_panics_is_an_error_for_its_callers_and_the_next_one_is_made() {
        let singleflight = Singleflight::new(1);
        let panics = || async { panic!("while reading") };
        assert_eq!(singleflight.get_or_read(&key("a"), panics).await, Err(ReadError::Panicked));
        assert_eq!(singleflight.get_or_read(&key("a"), Reads::default().read()).await, Ok(1));
    }

    #[tokio::test(start_paused = true)]
    async fn the_number_of_reads_and_of_keys_is_bounded() {
        let (singleflight, reads) = (Singleflight::new(2), Reads::default());
        let start = Instant::now();
        let keys: Vec<_> = (0..4).map(|i| key(&format!("k-{i}"))).collect();
        join_all(keys.iter().map(|key| singleflight.get_or_read(key, reads.read()))).await;
        assert_eq!(start.elapsed(), LONG * 2);
        let keys: Vec<_> = (0..=MAX_KEYS).map(|i| key(&i.to_string())).collect();
        let mut waiting: Vec<_> =
            keys.iter().map(|key| Box::pin(singleflight.get_or_read(key, reads.read()))).collect();
        let last = waiting.pop().unwrap();
        let all = futures::future::select(join_all(waiting), last).await;
        assert!(matches!(all, futures::future::Either::Right((Err(ReadError::TooMany), _))));
    }
}
