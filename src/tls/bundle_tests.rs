use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;

use super::*;
use crate::runtime::metrics::Registry;
use crate::runtime::tasks::Supervisor;

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
        assert_eq!(Live::of(Some(&configuration("1", &bundles))).is("pem"), right, "{bundles:?}");
    }
    assert!(!Live::of::<MutatingWebhookConfiguration>(None).is("pem"));
    assert!(!Live::Unknown.is("pem"));
}

#[test]
fn an_event_from_before_the_own_write_is_old_news() {
    let at = |version| configuration(version, &[]);
    assert!(is_older(&at("9"), &at("10")));
    assert!(!is_older(&at("10"), &at("10")));
    assert!(!is_older(&at("11"), &at("10")));
    assert!(!is_older(&at("x"), &at("10")));
    let mut recreated = at("9");
    recreated.metadata.uid = Some("other".to_owned());
    assert!(!is_older(&recreated, &at("10")));
}

fn entry(manager: &str, time: &str, fields: &Value) -> ManagedFieldsEntry {
    serde_json::from_value(json!({ "manager": manager, "time": time, "fieldsV1": fields })).unwrap()
}

#[test]
fn the_manager_that_owns_the_bundle_is_named() {
    let bundle = json!({ "f:webhooks": { "k:{\"name\":\"w\"}": { "f:clientConfig": { "f:caBundle": {} } } } });
    let other = json!({ "f:webhooks": { "k:{\"name\":\"w\"}": { "f:rules": {} } } });
    let own = entry("keeper-ca-bundle", "2024-01-09T00:00:00Z", &bundle);
    let gitops = entry("gitops", "2024-01-02T00:00:00Z", &bundle);
    let kubectl = entry("kubectl-edit", "2024-01-03T00:00:00Z", &other);
    let early = entry("installer", "2024-01-01T00:00:00Z", &other);
    let of = |webhooks: usize, managers: &[&ManagedFieldsEntry]| {
        let managers: Vec<_> = managers.iter().map(|&entry| entry.clone()).collect();
        offender(&managers, "keeper-ca-bundle", webhooks).map(ToOwned::to_owned)
    };
    let named = |managers: &[&ManagedFieldsEntry]| of(2, managers);
    assert_eq!(named(&[&own, &early, &gitops, &kubectl]).as_deref(), Some("gitops"));
    assert_eq!(named(&[&own, &kubectl, &early]), None);
    assert_eq!(of(1, &[&own, &kubectl]).as_deref(), Some("keeper-ca-bundle"));
}

#[test]
fn managers_are_counted_under_few_names() {
    for (manager, label) in [
        (None, "unknown"),
        (Some("keeper-ca-bundle"), "replica"),
        (Some("kubectl-client-side-apply"), "kubectl"),
        (Some("argocd-controller"), "argocd"),
        (Some("Helm"), "helm"),
        (Some("helm-controller"), "flux"),
        (Some("cert-manager-cainjector"), "cert-manager"),
        (Some("somebody"), "other"),
    ] {
        assert_eq!(label_of(manager, "keeper-ca-bundle"), label, "{manager:?}");
    }
}

#[test]
fn the_time_in_sync_is_that_of_one_bundle() {
    let since = Instant::now();
    let in_sync = InSync { bundle: "pem".to_owned(), since };
    assert_eq!(in_sync.time("pem", since + Duration::from_secs(3)), Some(Duration::from_secs(3)));
    assert_eq!(in_sync.time("other", since), None);
}

#[tokio::test]
async fn of_old_news_what_the_api_server_itself_says_counts() {
    let now = Arc::new(std::sync::Mutex::new(configuration("10", &["pem"])));
    let answers = Arc::clone(&now);
    let service = tower::service_fn(move |_: hyper::Request<kube::client::Body>| {
        let list = json!({"metadata": {}, "items": [*answers.lock().unwrap()]}).to_string();
        std::future::ready(Ok::<_, tower::BoxError>(hyper::Response::new(kube::client::Body::from(list.into_bytes()))))
    });
    let client = kube::Client::new(service, "default");
    let names = Names::new("keeper", "home", "x");
    let keeper = Keeper::<MutatingWebhookConfiguration> {
        configurations: Api::all_with(client.clone(), &()),
        secrets: Api::namespaced(client.clone(), "home"),
        news: News::new(
            crate::events::Events::start(
                client,
                "keeper",
                None,
                (&Supervisor::new(Registry::default().register()), "events"),
            ),
            &names,
        ),
        names,
        authority: watch::channel(None).1,
        known: Arc::default(),
        metrics: Registry::default().register(),
    };
    let (pace, backoff) = (Pace::new(Instant::now()), Backoff::default());
    let mut memory = Memory { seen: None, right_with: None, pace, backoff };
    keeper.look(&mut memory, Some(configuration("10", &["pem"]))).await;
    // It was on its way.
    keeper.look(&mut memory, Some(configuration("9", &["old"]))).await;
    assert!(keeper.known.live.load().is("pem"));
    // A backup was restored.
    *now.lock().unwrap() = configuration("5", &["restored"]);
    keeper.look(&mut memory, Some(configuration("5", &["restored"]))).await;
    assert!(keeper.known.live.load().is("restored"));
}
