//! The schemas with their CEL rules, and the functions behind the webhooks, agree on a generated corpus.
//!
//! The API server judges by dry runs where no webhook stands in between, the functions are called as the webhooks call
//! them.

mod corpus;
mod fields;
mod fragments;
mod pods;
mod restricted;

use atomix_controller::api::PartitionSet;
use atomix_controller::rules::{self, SetVerdict};
use futures::{StreamExt, stream};
use kube::api::{Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::{ApiResource, DynamicObject};
use kube::{Api, Client, Config};
use serde_json::{Value, json};
use webhook_tests::Namespace;

use self::corpus::{Case, Expected};
use crate::bare::bare;
use crate::manifests::with;

const AT_ONCE: usize = 16;

#[test]
fn the_schema_and_the_webhooks_agree_on_new_sets() {
    let cases = corpus::creations();
    let namespace = Namespace::new(bare().kubectl(), "agreement");
    let disagreements = runtime().block_on(async {
        let sets = sets(&namespace).await;
        let judged = stream::iter(&cases).map(|case| judge_new(&sets, case));
        judged.buffer_unordered(AT_ONCE).collect().await
    });
    assert_none(disagreements);
}

/// Judges a new set as it was written, and if it is legal with its defaults as well. What the functions take only after
/// an edit is judged with its edits alone.
async fn judge_new(sets: &Sets, case: &Case) -> Option<String> {
    let verdict = rules::partition_set(&case.new, None, &alone);
    if case.expected != Expected::LegalOnceEdited {
        let found = disagreement(case, &verdict, &create(sets, &case.new).await);
        if found.is_some() || !verdict.violations.is_empty() {
            return found;
        }
    }
    disagreement(case, &verdict, &create(sets, &filled(&case.new, &verdict)).await)
}

#[test]
fn the_schema_and_the_webhooks_agree_on_changes() {
    let changes = corpus::changes();
    let namespace = Namespace::new(bare().kubectl(), "agreement");
    for (old, _) in &changes {
        namespace.kubectl().create_stdin(&old.to_string());
    }
    let disagreements = runtime().block_on(async {
        let sets = sets(&namespace).await;
        let mut found = Vec::new();
        for (old, cases) in &changes {
            let name = old["metadata"]["name"].as_str().expect("a name");
            let old = serde_json::to_value(sets.get(name).await.expect("the old set")).expect("JSON");
            let judged = stream::iter(cases).map(|case| judge_change(&sets, &old, case));
            found.extend(judged.buffer_unordered(AT_ONCE).collect::<Vec<_>>().await);
        }
        found
    });
    assert_none(disagreements);
}

/// Judges a change as the API server sees it: with what the mutating webhook filled in, if it is legal.
async fn judge_change(sets: &Sets, old: &Value, case: &Case) -> Option<String> {
    let new = with(old.clone(), "/spec", case.new["spec"].clone());
    let verdict = rules::partition_set(&new, Some(old), &alone);
    let new = if verdict.violations.is_empty() { filled(&new, &verdict) } else { new };
    disagreement(case, &verdict, &change(sets, &new).await)
}

fn assert_none(disagreements: Vec<Option<String>>) {
    let of = disagreements.len();
    let disagreements: Vec<String> = disagreements.into_iter().flatten().collect();
    assert!(disagreements.is_empty(), "{} of {of}:\n{}", disagreements.len(), disagreements.join("\n"));
    println!("{of} cases");
}

/// What is wrong with two verdicts on one case, if anything is.
fn disagreement(case: &Case, functions: &SetVerdict, schema: &Result<(), String>) -> Option<String> {
    let by_functions: Vec<String> = functions.violations.iter().map(ToString::to_string).collect();
    let agreed = match (by_functions.is_empty(), schema) {
        // Whatever the functions accept, the schema accepts: what it refuses is among what they refuse.
        (true, Err(_)) => false,
        (true, Ok(())) => matches!(case.expected, Expected::Same | Expected::Legal | Expected::LegalOnceEdited),
        (false, Err(_)) => !matches!(case.expected, Expected::Legal | Expected::LegalOnceEdited),
        (false, Ok(())) => case.expected == Expected::IllegalForFunctions,
    };
    (!agreed).then(|| {
        let name = &case.name;
        format!("{name}: expected {:?}\n  functions: {by_functions:?}\n  schema: {schema:?}", case.expected)
    })
}

/// The object as the mutating webhook would leave it.
fn filled(object: &Value, verdict: &SetVerdict) -> Value {
    let mut object = object.clone();
    for edit in &verdict.edits {
        edit.apply(&mut object);
    }
    object
}

fn alone(_: &str) -> Option<i64> {
    None
}

type Sets = Api<DynamicObject>;

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

async fn sets(namespace: &Namespace) -> Sets {
    Api::namespaced_with(client().await, namespace.name(), &ApiResource::erase::<PartitionSet>(&()))
}

async fn client() -> Client {
    // Another test may have been first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let kubeconfig = Kubeconfig::read_from(bare().control_plane().kubeconfig()).expect("a kubeconfig");
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
    Client::try_from(config.expect("a configuration")).expect("a client")
}

/// What the API server says to a new object.
async fn create(sets: &Sets, object: &Value) -> Result<(), String> {
    let request = PostParams { dry_run: true, ..PostParams::default() };
    said(post(sets, &request, object).await)
}

async fn post(sets: &Sets, request: &PostParams, object: &Value) -> kube::Result<Value> {
    let url = kube::core::Request::new(sets.resource_url());
    let request = url.create(request, serde_json::to_vec(object).expect("JSON")).expect("a request");
    sets.clone().into_client().request(request).await
}

/// What the API server says to a changed spec.
async fn change(sets: &Sets, object: &Value) -> Result<(), String> {
    let name = object["metadata"]["name"].as_str().expect("a name");
    let operations = json!([{"op": "replace", "path": "/spec", "value": object["spec"]}]);
    let patch = Patch::<Value>::Json(serde_json::from_value(operations).expect("a patch"));
    let parameters = PatchParams { dry_run: true, ..PatchParams::default() };
    said(sets.patch(name, &parameters, &patch).await.map(|_| Value::Null))
}

fn said(result: kube::Result<Value>) -> Result<(), String> {
    match result {
        Ok(_) => Ok(()),
        // A wrongly typed patch is a bad request before it is an invalid object.
        Err(kube::Error::Api(status)) if [400, 422].contains(&status.code) => Err(status.message.clone()),
        Err(error) => panic!("{error:?}"),
    }
}
