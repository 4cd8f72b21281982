//! Answers that are remembered for a while, and asked for once however many want them.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

/// SHA-256 of a question: says nothing of what was asked, and takes 32 bytes however long that was.
pub(super) type Key = [u8; 32];

/// The key of a question that consists of these parts.
pub(super) fn key<'a>(parts: impl IntoIterator<Item = &'a str>) -> Key {
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    for part in parts {
        // With its length, so that no two questions run together to the same.
        context.update(&part.len().to_be_bytes());
        context.update(part.as_bytes());
    }
    let mut key = Key::default();
    key.copy_from_slice(context.finish().as_ref());
    key
}

/// Ends with `None` only if whoever was to ask died.
type Asking<T> = Shared<BoxFuture<'static, Option<T>>>;

struct Entry<T: Clone> {
    /// Unset while it is asked.
    until: Option<Instant>,
    /// Tells one asking from the next.
    number: u64,
    asking: Asking<T>,
}

struct Entries<T: Clone> {
    entries: HashMap<Key, Entry<T>>,
    last_number: u64,
}

/// How long it is waited for an answer by those for whom there is no place to wait.
const MOMENT: Duration = Duration::from_millis(200);

/// How much there may be of one kind of question at a time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Answers that are remembered.
    pub(super) remembered: usize,
    /// Questions that are not answered yet, each with all that it takes to ask it.
    pub(super) asked: usize,
    /// Calls that wait for an answer for longer than [`MOMENT`].
    pub(super) waiting: usize,
}

/// The answers to one kind of question.
pub(super) struct Cache<T: Clone> {
    entries: Arc<Mutex<Entries<T>>>,
    most: usize,
    asked: Arc<Semaphore>,
    waiting: Semaphore,
}

impl<T: Clone + Send + Sync + 'static> Cache<T> {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self {
            entries: Arc::new(Mutex::new(Entries { entries: HashMap::new(), last_number: 0 })),
            most: bounds.remembered,
            asked: Arc::new(Semaphore::new(bounds.asked)),
            waiting: Semaphore::new(bounds.waiting),
        }
    }

    /// The answer to the question of that key: the one that is remembered, the one that is being asked for, or what
    /// `ask` gets. `keep` says how long an answer is good for. `None` if asking died, and soon if there are too many
    /// questions already, or too many who wait.
    pub(super) async fn get<F>(
        &self,
        key: Key,
        ask: impl FnOnce() -> F,
        keep: impl FnOnce(&T) -> Duration + Send + 'static,
    ) -> Option<T>
    where
        F: Future<Output = T> + Send + 'static,
    {
        let asking = {
            let now = Instant::now();
            let mut inner = lock(&self.entries);
            let known = inner.entries.get(&key).filter(|entry| entry.until.is_none_or(|until| now < until));
            match known {
                Some(entry) => entry.asking.clone(),
                None => self.begin(&mut inner, key, now, ask, keep)?,
            }
        };
        if let Some(answer) = asking.clone().now_or_never() {
            return answer;
        }
        match self.waiting.try_acquire() {
            Ok(_waiting) => asking.await,
            Err(_) => timeout(MOMENT, asking).await.ok().flatten(),
        }
    }

    /// Has it asked; `None` if too much is asked already, and then nothing is kept of it.
    fn begin<F>(
        &self,
        inner: &mut Entries<T>,
        key: Key,
        now: Instant,
        ask: impl FnOnce() -> F,
        keep: impl FnOnce(&T) -> Duration + Send + 'static,
    ) -> Option<Asking<T>>
    where
        F: Future<Output = T> + Send + 'static,
    {
        let place = Arc::clone(&self.asked).try_acquire_owned().ok()?;
        let ask = ask();
        inner.make_room(self.most, now);
        inner.last_number += 1;
        let (number, entries) = (inner.last_number, Arc::clone(&self.entries));
        // A task of its own: whoever asked first may go away, and the others wait on.
        #[expect(clippy::disallowed_methods, reason = "one question: whoever waits for it sees that it died")]
        let task = tokio::spawn(async move {
            let answer = AssertUnwindSafe(ask).catch_unwind().await.ok();
            drop(place);
            let good_for = answer.as_ref().map_or(Duration::ZERO, keep);
            if let Some(entry) = lock(&entries).entries.get_mut(&key).filter(|entry| entry.number == number) {
                entry.until = Some(Instant::now() + good_for);
            }
            answer
        });
        let asking = task.map(|done| done.ok().flatten()).boxed().shared();
        inner.entries.insert(key, Entry { until: None, number, asking: asking.clone() });
        Some(asking)
    }
}

impl<T: Clone> Entries<T> {
    /// Forgets what is over, and if that is not enough, what would be over first.
    fn make_room(&mut self, most: usize, now: Instant) {
        if self.entries.len() < most {
            return;
        }
        self.entries.retain(|_, entry| entry.until.is_none_or(|until| now < until));
        while self.entries.len() >= most {
            let first = self.entries.iter().min_by_key(|(_, entry)| (entry.until.is_none(), entry.until));
            let Some(key) = first.map(|(key, _)| *key) else { return };
            self.entries.remove(&key);
        }
    }
}

fn lock<T: Clone>(entries: &Mutex<Entries<T>>) -> MutexGuard<'_, Entries<T>> {
    entries.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use futures::future::join_all;
    use tokio::time::{advance, sleep};

    use super::*;

    const LONG: Duration = Duration::from_secs(1);
    const GOOD_FOR: Duration = Duration::from_secs(10);

    fn bounds(remembered: usize) -> Bounds {
        Bounds { remembered, asked: 64, waiting: 64 }
    }

    /// Answers after a second with the number of the question, from 1.
    #[derive(Default)]
    struct Server(Arc<AtomicU32>);

    impl Server {
        fn ask(&self) -> impl Future<Output = u32> + Send + 'static + use<> {
            let count = Arc::clone(&self.0);
            async move {
                let number = count.fetch_add(1, Ordering::Relaxed) + 1;
                sleep(LONG).await;
                number
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_asks_for_all_and_the_answer_is_good_for_a_while() {
        let (cache, server) = (Cache::new(bounds(8)), Server::default());
        let get = || cache.get(key(["a"]), || server.ask(), |_| GOOD_FOR);
        assert_eq!(join_all((0..50).map(|_| get())).await, [Some(1); 50]);
        advance(GOOD_FOR / 2).await;
        assert_eq!(get().await, Some(1));
        advance(GOOD_FOR / 2).await;
        assert_eq!(get().await, Some(2));
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_nobody_waited_for_any_more_is_no_older_than_any_other() {
        let (cache, server) = (Cache::new(bounds(8)), Server::default());
        let get = || cache.get(key(["a"]), || server.ask(), |_| GOOD_FOR);
        assert!(timeout(LONG / 2, get()).await.is_err());
        sleep(LONG).await;
        assert_eq!(get().await, Some(1));
        sleep(GOOD_FOR).await;
        assert_eq!(get().await, Some(2));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_good_for_no_time_is_asked_again_and_so_is_what_died() {
        let (cache, server) = (Cache::new(bounds(8)), Server::default());
        let get = || cache.get(key(["a"]), || server.ask(), |_| Duration::ZERO);
        assert_eq!((get().await, get().await), (Some(1), Some(2)));
        let died = cache.get(key(["b"]), || async { panic!("asking") }, |_| GOOD_FOR);
        assert_eq!(died.await, None);
        assert_eq!(cache.get(key(["b"]), || server.ask(), |_| GOOD_FOR).await, Some(3));
    }

    #[tokio::test(start_paused = true)]
    async fn only_so_much_is_remembered_the_oldest_goes_first() {
        let (cache, server) = (Cache::new(bounds(4)), Server::default());
        let names = ["a", "b", "c", "d", "e"];
        for name in names {
            cache.get(key([name]), || server.ask(), |_| GOOD_FOR).await;
        }
        assert_eq!(lock(&cache.entries).entries.len(), 4);
        assert_eq!(cache.get(key(["e"]), || server.ask(), |_| GOOD_FOR).await, Some(5));
        assert_eq!(cache.get(key(["a"]), || server.ask(), |_| GOOD_FOR).await, Some(6));
        for name in ["f", "g", "h", "i", "j", "k"] {
            let asking = cache.get(key([name]), || server.ask(), |_| GOOD_FOR);
            assert!(timeout(LONG / 100, asking).await.is_err());
        }
        assert!(lock(&cache.entries).entries.len() <= 4);
    }

    #[tokio::test(start_paused = true)]
    async fn only_so_many_questions_are_asked_at_a_time_and_only_so_many_wait() {
        let (cache, server) = (Cache::new(Bounds { remembered: 8, asked: 2, waiting: 3 }), Server::default());
        let get = |name: &'static str| cache.get(key([name]), || server.ask(), |_| GOOD_FOR);
        let all = join_all(["a", "b", "c", "a", "a", "b"].map(get)).await;
        assert_eq!(all, [Some(1), Some(2), None, Some(1), None, None]);
        // What is remembered needs no place.
        assert_eq!(join_all(["a", "b", "c", "d", "e", "a"].map(get)).await[..4], [Some(1), Some(2), Some(3), Some(4)]);
        // Whoever goes away leaves the question.
        let other = Cache::new(Bounds { remembered: 8, asked: 1, waiting: 1 });
        let ask = |name: &'static str| other.get(key([name]), || server.ask(), |_| GOOD_FOR);
        assert!(timeout(LONG / 2, ask("a")).await.is_err());
        assert_eq!(timeout(LONG / 4, ask("b")).await, Ok(None));
        assert!(ask("a").await.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_is_refused_what_is_answered_in_a_moment() {
        let cache = Cache::new(Bounds { remembered: 8, asked: 1, waiting: 1 });
        let get = || cache.get(key(["a"]), || sleep(MOMENT / 2), |()| GOOD_FOR);
        assert_eq!(join_all((0..50).map(|_| get())).await, [Some(()); 50]);
    }

    #[test]
    fn no_two_questions_have_the_same_key() {
        assert_ne!(key(["a", "bc"]), key(["ab", "c"]));
        assert_ne!(key(["a", ""]), key(["a"]));
        assert_eq!(key(["a", "b"]), key(["a", "b"]));
    }
}
