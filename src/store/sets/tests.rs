use std::future::pending;
use std::sync::Mutex;

use hyper::{Request, Response};
use kube::client::Body;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::{Instant, advance};
use tokio_util::sync::CancellationToken;
use tower::service_fn;

use super::*;
use crate::queue::Outcome;

const PATIENCE: Duration = Duration::from_secs(2);
const MOMENT: Duration = Duration::from_millis(1);

/// An API server with these sets; none if it answers nothing.
#[derive(Clone, Default)]
struct Server(Arc<Mutex<Stored>>);

#[derive(Default)]
struct Stored {
    sets: Vec<Value>,
    version: u64,
    refuses: bool,
    silent: bool,
    asked: Vec<String>,
}

impl Server {
    fn store(&self, sets: &[Value], version: u64) {
        let mut stored = self.0.lock().unwrap();
        (stored.sets, stored.version) = (sets.to_vec(), version);
    }

    fn set(&self, refuses: bool, silent: bool) {
        let mut stored = self.0.lock().unwrap();
        (stored.refuses, stored.silent) = (refuses, silent);
    }

    /// What was asked since it was last looked.
    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap().asked)
    }

    fn answer(&self, path: &str) -> Option<(u16, Value)> {
        let mut stored = self.0.lock().unwrap();
        stored.asked.push(path.to_owned());
        if stored.silent {
            return None;
        }
        if stored.refuses {
            return Some((503, json!({"kind": "Status", "code": 503, "status": "Failure", "message": "away"})));
        }
        let name = path.split_once("/partitionsets/").map(|(_, name)| name.trim_end_matches('?'));
        Some(match name {
            None => (200, json!({"metadata": {"resourceVersion": stored.version.to_string()}, "items": stored.sets})),
            Some(name) => match stored.sets.iter().find(|set| set["metadata"]["name"] == name) {
                Some(set) => (200, set.clone()),
                None => (404, json!({"kind": "Status", "code": 404, "status": "Failure", "reason": "NotFound"})),
            },
        })
    }

    /// Sets that are read from it, and what is asked to be reconciled.
    fn sets(&self) -> (Sets, mpsc::UnboundedReceiver<ObjectKey>) {
        let server = self.clone();
        let service = service_fn(move |request: Request<Body>| {
            let answer = server.answer(&request.uri().to_string());
            async move {
                let Some((code, body)) = answer else { return pending().await };
                let response = Response::builder().status(code).body(Body::from(body.to_string().into_bytes()));
                response.map_err(|error| -> tower::BoxError { error.into() })
            }
        });
        let (trigger, (sender, reconciled)) = (Trigger::default(), mpsc::unbounded_channel());
        let queue = trigger.open();
        tokio::spawn(async move {
            let reconcile = |key| {
                sender.send(key).unwrap();
                async { Outcome::Done }
            };
            queue.run(1, CancellationToken::new(), reconcile).await;
        });
        (Sets::new(Client::new(service, "default"), Arc::default(), trigger), reconciled)
    }
}

fn set(name: &str, version: u64) -> Value {
    json!({
        "apiVersion": "k8s.atomix.io/v1alpha1", "kind": "PartitionSet",
        "metadata": {"name": name, "namespace": "ns", "resourceVersion": version.to_string(), "uid": name},
        "spec": {"template": {"spec": {"protocol": "raft"}}},
    })
}

fn read(value: Value) -> PartitionSet {
    serde_json::from_value(value).unwrap()
}

fn key(name: &str) -> ObjectKey {
    ObjectKey::new("ns", name)
}

/// What is to be reconciled next; none if that is nothing.
async fn next(reconciled: &mut mpsc::UnboundedReceiver<ObjectKey>) -> Option<ObjectKey> {
    timeout(PATIENCE, reconciled.recv()).await.ok()?
}

async fn names(sets: &Sets) -> Vec<String> {
    sets.all("ns").await.unwrap().into_iter().map(|(name, _)| name).collect()
}

#[tokio::test(start_paused = true)]
async fn a_set_that_the_cache_has_costs_nothing_and_one_that_it_lacks_is_read_once() {
    let server = Server::default();
    server.store(&[set("a", 5)], 9);
    let (sets, mut reconciled) = server.sets();
    assert!(matches!(sets.find(&key("a")).await, Ok(Found::Set(_))));
    assert_eq!(server.asked().len(), 1);
    assert_eq!(next(&mut reconciled).await, Some(key("a")), "the watch will not tell of it again");
    assert!(matches!(sets.find(&key("a")).await, Ok(Found::Set(_))));
    assert!(server.asked().is_empty());

    for _ in 0..2 {
        advance(MOMENT).await;
        assert!(matches!(sets.find(&key("b")).await, Ok(Found::Nothing)));
        assert_eq!(server.asked().len(), 1, "another replica may have made it since");
    }
    sets.take(read(set("b", 11)));
    assert!(matches!(sets.find(&key("b")).await, Ok(Found::Set(_))), "found missing a moment ago, and made since");
    assert!(server.asked().is_empty());
    sets.0.caches.sets.forget(&key("b"), 12);
    assert!(matches!(sets.find(&key("b")).await, Ok(Found::Nothing)), "deleted through this replica");
}

#[tokio::test(start_paused = true)]
async fn a_set_that_is_being_deleted_hides_none_that_was_made_after_it() {
    let server = Server::default();
    let (sets, _) = server.sets();
    let mut going = set("a", 5);
    going["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
    sets.take(read(going));
    server.store(&[set("a", 9)], 9);
    let found = sets.find(&key("a")).await;
    assert!(matches!(&found, Ok(Found::Set(set)) if set.metadata.deletion_timestamp.is_none()), "{found:?}");
}

#[tokio::test(start_paused = true)]
async fn a_listing_comes_from_the_cache_and_has_every_own_write() {
    let server = Server::default();
    let (sets, _) = server.sets();
    let cache = &sets.0.caches.sets;
    assert!(matches!(sets.all("ns").await, Err(Error::Unsynced)));
    sets.0.caches.sets_freshness.synced();
    sets.take(read(set("a", 5)));
    for name in ["own", "deleted"] {
        sets.take(read(set(name, 11)));
    }
    assert_eq!(names(&sets).await, ["a", "deleted", "own"]);
    assert!(server.asked().is_empty());

    // A list of the watch that began before they were created and comes late.
    server.store(&[set("a", 5), set("own", 11)], 12);
    cache.retain(&HashSet::from([key("a")]), None, ListAge::BegunAt(5));
    assert_eq!(names(&sets).await, ["a", "own"]);
    assert_eq!(server.asked().len(), 2);
    assert_eq!(names(&sets).await, ["a", "own"]);
    assert!(server.asked().is_empty(), "both are known");
}

#[tokio::test(start_paused = true)]
async fn a_complete_list_drops_what_is_gone_and_not_what_is_newer() {
    let server = Server::default();
    let (sets, mut reconciled) = server.sets();
    sets.0.caches.sets_freshness.synced();
    sets.take(read(set("gone", 5)));
    sets.take(read(set("newer", 12)));
    server.store(&[], 9);
    sets.read_all(&Scope::All).await;
    assert_eq!(names(&sets).await, ["newer"]);
    for _ in 0..2 {
        next(&mut reconciled).await.unwrap();
    }
    assert_eq!(next(&mut reconciled).await, Some(key("gone")), "again, since it is gone");
    sets.take(read(set("gone", 8)));
    assert_eq!(names(&sets).await, ["newer"], "a late answer");
}

#[tokio::test(start_paused = true)]
async fn without_the_api_server_the_cache_answers_what_it_can() {
    let server = Server::default();
    let (sets, _) = server.sets();
    sets.0.caches.sets_freshness.synced();
    sets.take(read(set("a", 5)));
    server.set(true, false);
    assert_eq!(names(&sets).await, ["a"]);
    assert!(matches!(sets.find(&key("a")).await, Ok(Found::Set(_))));
    assert!(matches!(sets.find(&key("b")).await, Err(Error::Api(_))));
    server.set(false, true);
    let begun = Instant::now();
    assert_eq!(names(&sets).await, ["a"]);
    assert_eq!(begun.elapsed(), Duration::ZERO);
    assert!(matches!(sets.find(&key("b")).await, Err(Error::Api(_))));
    assert!(begun.elapsed() <= CALL_TIMEOUT + MOMENT, "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_deletion_is_waited_for_and_asked_about_if_the_watch_is_silent() {
    let server = Server::default();
    let (sets, _) = server.sets();
    sets.take(read(set("a", 5)));
    let (waiting, begun) = (sets.clone(), Instant::now());
    let waits = tokio::spawn(async move { waiting.wait_until_gone(&key("a"), "a", PATIENCE).await });
    tokio::time::sleep(MOMENT).await;
    assert!(!waits.is_finished());
    sets.0.caches.sets.forget(&key("a"), 6);
    waits.await.unwrap();
    assert!(begun.elapsed() < PATIENCE && server.asked().is_empty());

    sets.take(read(set("a", 7)));
    sets.wait_until_gone(&key("a"), "an earlier one", PATIENCE).await;
    assert!(server.asked().is_empty());
    sets.wait_until_gone(&key("a"), "a", PATIENCE).await;
    assert_eq!((server.asked().len(), sets.known(&key("a"))), (1, None));
}

#[tokio::test(start_paused = true)]
async fn after_an_interruption_the_sets_are_listed_until_that_succeeds_and_otherwise_never() {
    let server = Server::default();
    server.store(&[set("missed", 5)], 9);
    let (sets, _) = server.sets();
    let reporter = &sets.0.caches.sets_freshness;
    tokio::spawn(sets.clone().confirm_after_interruptions());
    reporter.synced();
    tokio::time::sleep(PATIENCE).await;
    assert!(server.asked().is_empty(), "nothing was interrupted");

    server.set(true, false);
    reporter.interrupted(None);
    tokio::time::sleep(CONFIRM_RETRY * 3 + MOMENT).await;
    assert_eq!(server.asked().len(), 3, "once a second");
    assert!(!reporter.subscribe().borrow().is_fresh());
    server.set(false, false);
    reporter.subscribe().wait_for(Freshness::is_fresh).await.unwrap();
    assert!(sets.known(&key("missed")).is_some());
    server.asked();
    tokio::time::sleep(PATIENCE).await;
    assert!(server.asked().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_new_leader_reads_all_sets_whatever_the_watch_has_shown_and_tries_until_it_can() {
    let server = Server::default();
    server.store(&[set("edited", 7), set("new", 8)], 9);
    let (sets, mut reconciled) = server.sets();
    let mut earlier = set("edited", 3);
    earlier["spec"]["partitions"] = json!(2);
    for known in [earlier, set("deleted", 4)] {
        sets.take(read(known));
        next(&mut reconciled).await.unwrap();
    }
    server.set(true, false);
    let (reading, scope) = (sets.clone(), Scope::of(&["ns".to_owned()]));
    let reads = tokio::spawn(async move { reading.read_all(&scope).await });
    tokio::time::sleep(LEADER_RETRY.1).await;
    assert!(!reads.is_finished());
    let failed = server.asked();
    assert!((3..20).contains(&failed.len()), "{failed:?}");
    server.set(false, false);
    reads.await.unwrap();
    let asked = server.asked();
    assert_eq!(asked.len(), 1, "{asked:?}");
    assert!(asked[0].contains("/namespaces/ns/partitionsets?") && !asked[0].contains("resourceVersion"), "{asked:?}");
    assert_eq!(sets.known(&key("edited")).unwrap().spec.partitions, None);
    assert!(sets.known(&key("new")).is_some() && sets.known(&key("deleted")).is_none());

    sets.read_all(&Scope::All).await;
    let asked = server.asked();
    assert!(asked.len() == 1 && !asked[0].contains("/namespaces/"), "{asked:?}");
}
