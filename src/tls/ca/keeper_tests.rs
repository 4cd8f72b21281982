//! The task, with an API server that has one Secret and two webhook configurations of the same bundle.

use std::sync::Mutex;

use hyper::{Method, Request, Response};
use kube::client::Body;
use serde_json::{Value, json};
use tower::service_fn;

use super::*;
use crate::replicas::ReplicaId;
use crate::runtime::metrics::Registry;
use crate::runtime::tasks::Supervisor;
use crate::store::cache::version_of;
use crate::tls::names::Names;
use crate::tls::tests::context_of;

#[derive(Default)]
struct Stored {
    bundle: &'static str,
    /// Another replica announces itself.
    others: bool,
    version: u64,
    writes: usize,
}

fn names() -> Names {
    Names::new("keeper", "home", "x")
}

fn secret(version: u64) -> Secret {
    serde_json::from_value(json!({"metadata": {"uid": "u", "resourceVersion": version.to_string()}})).unwrap()
}

fn answer(stored: &mut Stored, method: &Method, path: &str, body: &[u8]) -> (u16, Value) {
    if path.contains("webhookconfigurations") {
        let bundle = json!({"name": "a", "clientConfig": {"caBundle": stored.bundle}, "sideEffects": "None",
            "admissionReviewVersions": ["v1"]});
        return (200, json!({"metadata": {}, "items": [{"metadata": {}, "webhooks": [bundle]}]}));
    }
    if path.contains("/leases/") && stored.others {
        let announcements = json!({"replica.k8s.atomix.io/0000000b": "an announcement"});
        return (200, json!({"metadata": {"resourceVersion": "7", "annotations": announcements}}));
    }
    if !path.contains("/secrets/") {
        return (404, json!({"kind": "Status", "code": 404, "status": "Failure", "reason": "NotFound"}));
    }
    let mut secret = serde_json::to_value(secret(stored.version)).unwrap();
    if method == Method::PUT {
        let written: Value = serde_json::from_slice(body).unwrap();
        if written["metadata"]["resourceVersion"] != json!(stored.version.to_string()) {
            return (409, json!({"kind": "Status", "code": 409, "status": "Failure", "reason": "Conflict"}));
        }
        (stored.version, stored.writes) = (stored.version + 1, stored.writes + 1);
        secret = serde_json::from_slice(body).unwrap();
        secret["metadata"]["resourceVersion"] = json!(stored.version.to_string());
    }
    (200, secret)
}

/// A keeper whose watches have shown that API servers trust nothing.
fn keeper(stored: &Arc<Mutex<Stored>>, held: Option<Authority>) -> Keeper {
    let stored = Arc::clone(stored);
    let service = service_fn(move |request: Request<Body>| {
        let stored = Arc::clone(&stored);
        async move {
            let (parts, body) = request.into_parts();
            let body = body.collect_bytes().await?;
            let (code, body) = answer(&mut stored.lock().unwrap(), &parts.method, parts.uri.path(), &body);
            let response = Response::builder().status(code).body(Body::from(body.to_string().into_bytes()));
            response.map_err(|error| -> tower::BoxError { error.into() })
        }
    });
    let client = Client::new(service, "default");
    let supervisor = Supervisor::new(Registry::default().register());
    let (own, metrics) = (("keeper-a", ReplicaId::parse("0000000a").unwrap()), Registry::default().register());
    let presence = Presence::new(client.clone(), "home", "keeper", own, supervisor, metrics);
    let context = context_of(client);
    let events = SecretEvents::new(context.events.clone(), &context.names);
    let mut trust = Trust::default();
    trust.see(Bundles::Missing, Instant::now(), Duration::ZERO);
    let bundles = [(); 2].map(|()| watch::channel(trust.clone()).1);
    let held = watch::Sender::new(held.map(Arc::new));
    Keeper::new(context, held, watch::channel(None).1, bundles, Arc::new(presence), events)
}

fn version(keeper: &Keeper) -> u64 {
    let Seen::Present(secret, _) = &keeper.seen else { panic!("missing") };
    version_of(&**secret)
}

#[tokio::test]
async fn a_fight_over_the_secret_is_held_to_a_few_writes() {
    let held = Authority::mint(&names(), 1, &Periods::default(), SystemTime::now()).unwrap();
    let stored = Arc::new(Mutex::new(Stored::default()));
    let mut keeper = keeper(&stored, Some(held));
    let mut waits = Vec::new();
    for _ in 0..30 {
        let version = stored.lock().unwrap().version + 1;
        stored.lock().unwrap().version = version;
        keeper.see(Some(secret(version)));
        waits.push(keeper.settle().await.unwrap());
    }
    let writes = stored.lock().unwrap().writes;
    assert!((5..10).contains(&writes), "{writes}");
    assert!(waits[0].is_none() && waits.iter().flatten().count() >= 20, "{waits:?}");
}

#[tokio::test]
async fn a_replica_makes_the_first_ca_only_if_nothing_is_trusted_and_no_other_replica_lives() {
    for (bundle, others, writes) in [("eA==", false, 0), ("", true, 0), ("", false, 1)] {
        let stored = Arc::new(Mutex::new(Stored { bundle, others, ..Stored::default() }));
        let mut keeper = keeper(&stored, None);
        keeper.see(Some(secret(1)));
        assert_eq!(keeper.settle().await.unwrap(), None);
        assert_eq!((stored.lock().unwrap().writes, keeper.authority.borrow().is_some()), (writes, writes > 0));
    }
}

#[tokio::test]
async fn an_event_from_before_the_own_write_overwrites_nothing_and_a_restored_backup_is_repaired() {
    let held = Authority::mint(&names(), 1, &Periods::default(), SystemTime::now()).unwrap();
    let stored = Arc::new(Mutex::new(Stored { version: 10, ..Stored::default() }));
    let mut keeper = keeper(&stored, Some(held));
    // It was on its way when version 10 was written. What the API server has is read, and that is empty.
    keeper.see(Some(secret(9)));
    keeper.settle().await.unwrap();
    assert_eq!((version(&keeper), stored.lock().unwrap().writes), (11, 1));
    stored.lock().unwrap().version = 5;
    keeper.see(Some(secret(5)));
    keeper.settle().await.unwrap();
    assert_eq!((version(&keeper), stored.lock().unwrap().writes), (6, 2));
}

#[tokio::test]
async fn the_time_of_a_version_starts_anew_with_the_next() {
    let stored = Arc::new(Mutex::new(Stored::default()));
    let mut keeper = keeper(&stored, None);
    let mut since = |version| {
        keeper.see(Some(secret(version)));
        let Seen::Present(_, since) = keeper.seen else { panic!("missing") };
        since
    };
    let [first, again, next, back] = [since(1), since(1), since(2), since(1)];
    assert!(first == again && again < next && next < back);
}
