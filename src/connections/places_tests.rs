use futures::FutureExt;
use tokio::time::advance;

use super::*;
use crate::connections::Wait;

const SECOND: Duration = Duration::from_secs(1);
const HALF_OPEN: Duration = Duration::from_secs(5);
const IDLE: Duration = Duration::from_secs(300);

/// Has a place until it is told to go.
#[derive(Debug)]
struct Stand {
    name: &'static str,
    wait: Mutex<Option<Wait>>,
}

impl Tenant for Stand {
    fn waits(&self) -> Option<Wait> {
        *self.wait.lock().unwrap()
    }

    fn evict(&self) -> bool {
        self.wait.lock().unwrap().take().is_some()
    }
}

/// All places of a house, and who has been told to go.
struct House(Places<Stand>, Vec<Place<Stand>>);

impl House {
    fn of(count: usize) -> Self {
        Self(Places::new(count), Vec::new())
    }

    /// Somebody comes whose client is waited for now for at most `time`; says who had to go.
    async fn comes(&mut self, name: &'static str, time: Option<Duration>) -> Option<&'static str> {
        let wait = Mutex::new(time.map(|time| Wait::from(Instant::now(), time)));
        let takes = self.0.take(Arc::new(Stand { name, wait }));
        let mut takes = std::pin::pin!(takes);
        let mut gone = None;
        let place = if let Some(place) = takes.as_mut().now_or_never() {
            place
        } else {
            let leaves = self.1.iter().position(|place| place.tenant().waits().is_none()).unwrap();
            gone = Some(self.1.remove(leaves).tenant().name);
            takes.await
        };
        self.1.push(place.unwrap());
        gone
    }
}

#[tokio::test(start_paused = true)]
async fn of_those_who_came_together_the_half_open_one_goes_first() {
    let mut house = House::of(3);
    house.comes("idle", Some(IDLE)).await;
    house.comes("half open", Some(HALF_OPEN)).await;
    house.comes("another", Some(IDLE)).await;
    advance(SECOND).await;
    assert_eq!(house.comes("new", Some(HALF_OPEN)).await, Some("half open"));
}

#[tokio::test(start_paused = true)]
async fn half_open_ones_without_an_end_take_the_place_of_each_other() {
    let mut house = House::of(100);
    house.comes("idle", Some(IDLE)).await;
    for _ in 0..99 {
        advance(SECOND / 1000).await;
        assert_eq!(house.comes("half open", Some(HALF_OPEN)).await, None);
    }
    for _ in 0..1000 {
        advance(SECOND / 1000).await;
        assert_eq!(house.comes("half open", Some(HALF_OPEN)).await, Some("half open"));
    }
}

#[tokio::test(start_paused = true)]
async fn newcomers_do_not_take_the_place_of_each_other_while_somebody_has_been_idle_for_long() {
    let mut house = House::of(4);
    for _ in 0..4 {
        house.comes("idle", Some(IDLE)).await;
    }
    advance(10 * SECOND).await;
    for _ in 0..4 {
        advance(SECOND / 1000).await;
        assert_eq!(house.comes("new", Some(HALF_OPEN)).await, Some("idle"));
    }
}

#[tokio::test(start_paused = true)]
async fn of_equals_the_one_that_has_waited_for_longest_goes() {
    let mut house = House::of(3);
    for name in ["first", "second", "third"] {
        house.comes(name, Some(IDLE)).await;
        advance(SECOND).await;
    }
    assert_eq!(house.comes("new", Some(IDLE)).await, Some("first"));
    assert_eq!(house.comes("newer", Some(IDLE)).await, Some("second"));
}

#[tokio::test(start_paused = true)]
async fn one_goes_for_one_who_comes_however_long_that_takes() {
    let (places, stand) =
        (Places::new(2), |name| Arc::new(Stand { name, wait: Mutex::new(Some(Wait::from(Instant::now(), IDLE))) }));
    let slow = places.take(stand("slow to go")).await.unwrap();
    advance(SECOND).await;
    let stays = places.take(stand("stays")).await.unwrap();
    let takes = places.take(stand("new"));
    let mut takes = std::pin::pin!(takes);
    assert!(timeout(SECOND / 2, takes.as_mut()).await.is_err());
    assert!(slow.tenant().waits().is_none() && stays.tenant().waits().is_some());
    drop(slow);
    assert_eq!(takes.await.unwrap().tenant().name, "new");
    assert!(stays.tenant().waits().is_some());
}

#[tokio::test(start_paused = true)]
async fn whoever_is_being_answered_is_waited_for() {
    let places = Places::new(1);
    let busy = places.take(Arc::new(Stand { name: "busy", wait: Mutex::new(None) })).await.unwrap();
    let takes = places.take(Arc::new(Stand { name: "new", wait: Mutex::new(None) }));
    let mut takes = std::pin::pin!(takes);
    assert!(timeout(60 * SECOND, takes.as_mut()).await.is_err());
    *busy.tenant().wait.lock().unwrap() = Some(Wait::from(Instant::now(), IDLE));
    assert!(timeout(LOOK_AGAIN, takes.as_mut()).await.is_err());
    assert!(busy.tenant().waits().is_none());
    drop(busy);
    takes.await.unwrap();
}
