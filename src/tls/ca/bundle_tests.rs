use std::sync::Mutex;
use std::time::SystemTime;

use hyper::{Method, Request, Response};
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use kube::client::Body;

use super::*;
use crate::tls::tests::context_of;
use crate::tls::{Names, Periods};

fn configuration(version: &str, bundles: &[&str]) -> MutatingWebhookConfiguration {
    use base64::Engine;
    let webhooks: Vec<Value> = bundles
        .iter()
        .enumerate()
        .map(|(index, bundle)| {
            let bundle = base64::engine::general_purpose::STANDARD.encode(bundle);
            json!({
                "name": format!("w{index}.example"), "sideEffects": "None", "admissionReviewVersions": ["v1"],
                "clientConfig": { "caBundle": bundle, "service": { "name": "keeper", "namespace": "home" } }
            })
        })
        .collect();
    let metadata = json!({ "name": "keeper", "uid": "u", "resourceVersion": version });
    serde_json::from_value(json!({ "metadata": metadata, "webhooks": webhooks })).unwrap()
}

#[test]
fn the_patch_has_the_bundles_of_all_webhooks_and_nothing_else() {
    assert_eq!(
        patch_of(&configuration("1", &["", "x"]), "pem"),
        json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "MutatingWebhookConfiguration",
            "metadata": { "name": "keeper", "resourceVersion": "1" },
            "webhooks": [
                { "name": "w0.example", "clientConfig": { "caBundle": "cGVt" } },
                { "name": "w1.example", "clientConfig": { "caBundle": "cGVt" } }
            ]
        })
    );
}

#[test]
fn one_wrong_bundle_is_enough_to_write() {
    for (bundles, right) in [(vec!["pem", "pem"], true), (vec!["pem", ""], false), (vec!["pem", "pem2"], false)] {
        assert_eq!(Bundles::of(Some(&configuration("1", &bundles))).are("pem"), right, "{bundles:?}");
    }
    assert!(!Bundles::of::<MutatingWebhookConfiguration>(None).are("pem"));
    assert!(!Bundles::Unknown.are("pem"));
}

#[test]
fn the_time_in_sync_is_that_of_one_bundle() {
    let (since, hold_down) = (Instant::now(), Duration::from_secs(60));
    let mut trust = Trust::default();
    let bundles = |bundle| Bundles::of(Some(&configuration("1", &[bundle])));
    trust.see(bundles("pem"), since, hold_down);
    trust.see(bundles("pem"), since + Duration::from_secs(2), hold_down);
    assert_eq!(trust.are_for("pem", since + Duration::from_secs(3)), Some(Duration::from_secs(3)));
    assert_eq!(trust.are_for("other", since), None);
    let later = since + hold_down * 2;
    trust.see(bundles("other"), later, hold_down);
    assert_eq!((trust.are_for("pem", later), trust.are_for("other", later)), (None, Some(Duration::ZERO)));
}

/// An API server that has `stored` and refuses writes of other versions. The Secret is away.
fn api_server(stored: &Arc<Mutex<MutatingWebhookConfiguration>>) -> kube::Client {
    let stored = Arc::clone(stored);
    let service = tower::service_fn(move |request: Request<Body>| {
        let stored = Arc::clone(&stored);
        async move {
            let (parts, body) = request.into_parts();
            let body = body.collect_bytes().await?;
            let mut stored = stored.lock().unwrap();
            let (code, answer) = match parts.method {
                _ if parts.uri.path().contains("/secrets/") => (503, json!({"kind": "Status", "code": 503})),
                Method::PATCH => {
                    let patch: Value = serde_json::from_slice(&body).unwrap();
                    if patch["metadata"]["resourceVersion"] == json!(stored.metadata.resource_version) {
                        *stored = configuration("11", &["pem"]);
                        (200, json!(*stored))
                    } else {
                        let status = json!({"kind": "Status", "status": "Failure", "reason": "Conflict", "code": 409});
                        (409, status)
                    }
                }
                _ => (200, json!({"metadata": {}, "items": [*stored]})),
            };
            let response = Response::builder().status(code).body(Body::from(answer.to_string().into_bytes()));
            response.map_err(|error| -> tower::BoxError { error.into() })
        }
    });
    kube::Client::new(service, "default")
}

#[tokio::test]
async fn an_event_from_before_the_own_write_overwrites_nothing_and_a_restored_backup_is_repaired() {
    let names = Names::new("keeper", "home", "x");
    let authority = Authority::mint(&names, 1, &Periods::default(), SystemTime::now()).unwrap();
    let desired = authority.bundle();
    let stored = Arc::new(Mutex::new(configuration("10", &[&desired])));
    let client = api_server(&stored);
    let context = context_of(client);
    let events = SecretEvents::new(context.events.clone(), &names);
    let authority = watch::channel(Some(Arc::new(authority))).1;
    let mut keeper = Keeper::new(context, authority, watch::Sender::default(), events);
    // It was on its way when version 10 was written.
    keeper.see(Some(configuration("9", &["old"])));
    assert_eq!(keeper.settle().await, Some(CATCH_UP));
    assert!(keeper.trust.borrow().live().are(&desired));
    assert_eq!(stored.lock().unwrap().metadata.resource_version.as_deref(), Some("10"));
    *stored.lock().unwrap() = configuration("5", &["restored"]);
    keeper.see(Some(configuration("5", &["restored"])));
    assert_eq!(keeper.settle().await, None);
    assert_eq!(stored.lock().unwrap().metadata.resource_version.as_deref(), Some("11"));
}
