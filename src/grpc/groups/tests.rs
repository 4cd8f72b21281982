//! Groups against an API server that refuses, or does not answer.

use std::future::pending;

use futures::future::{join, join_all};
use hyper::{Method, Request, Response};
use kube::client::Body;
use prost_types::Any;
use serde_json::{Value, json};
use tokio::time::Instant;
use tonic::Code;
use tower::service_fn;

use super::*;

use crate::queue::Trigger;

/// Groups of an API server that answers so; nothing if there is no answer.
fn groups(answer: fn(&Method, &str) -> Option<(u16, Value)>) -> Groups {
    let service = service_fn(move |request: Request<Body>| async move {
        let name = request.uri().path().split_once("/partitionsets/").map_or("", |(_, name)| name);
        let Some((code, body)) = answer(request.method(), name) else { return pending().await };
        let response = Response::builder().status(code).body(Body::from(body.to_string().into_bytes()));
        response.map_err(|error| -> tower::BoxError { error.into() })
    });
    let client = Client::new(service, "default");
    let sets = Sets::new(client.clone(), Arc::default(), Trigger::default());
    Groups::new(client, sets, Scope::default(), "cluster.local".to_owned())
}

fn refusal(code: u16, reason: &str, message: &str) -> (u16, Value) {
    (code, json!({"kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": message}))
}

fn set(name: &str) -> Value {
    json!({
        "apiVersion": "k8s.atomix.io/v1alpha1", "kind": "PartitionSet",
        "metadata": {"name": name, "namespace": "ns", "resourceVersion": "5", "uid": name},
        "spec": {"partitions": 3, "template": {"spec": {"protocol": "raft"}}},
    })
}

fn key(name: &str) -> ObjectKey {
    ObjectKey::new("ns", name)
}

fn spec(partitions: u32) -> PartitionGroupSpec {
    let type_url = "type.googleapis.com/atomix.protocols.raft.RaftProtocol".to_owned();
    PartitionGroupSpec { partitions, partition_size: 1, protocol: Some(Any { type_url, value: Vec::new() }) }
}

#[tokio::test]
async fn a_quota_that_is_full_refuses_only_what_is_not_there() {
    let groups = groups(|method, name| {
        Some(match (method, name) {
            (&Method::POST, _) => refusal(403, "Forbidden", "x is forbidden: exceeded quota: q, used: 1, limited: 1"),
            (_, "unreadable") => refusal(503, "ServiceUnavailable", "away"),
            (_, "atx") => (200, set("atx")),
            _ => refusal(404, "NotFound", "not found"),
        })
    });
    assert!(groups.create(key("atx"), spec(3)).await.is_ok());
    for (name, partitions, code) in [
        ("atx", 4, Code::AlreadyExists),
        ("other", 3, Code::ResourceExhausted),
        ("unreadable", 3, Code::ResourceExhausted),
    ] {
        assert_eq!(groups.create(key(name), spec(partitions)).await.map_err(|no| no.code()), Err(code), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn calls_that_wait_for_the_api_server_are_only_so_many() {
    let (groups, began) = (groups(|_, _| None), Instant::now());
    groups.sets.take(serde_json::from_value(set("known")).unwrap());
    let names: Vec<String> = (0..200).map(|number| format!("atx-{number}")).collect();
    let creates = join_all(names.iter().map(|name| async {
        let refused = groups.create(key(name), spec(3)).await.unwrap_err();
        (refused.message().contains("at a time: try again"), began.elapsed())
    }));
    let gets = join_all((0..200).map(|_| async {
        let refused = groups.get(key("missing")).await.unwrap_err();
        (refused.message().contains("too many calls wait"), began.elapsed())
    }));
    let known = async {
        assert_eq!(groups.get(key("known")).await.unwrap().len(), 1);
        began.elapsed()
    };
    let ((creates, gets), known) = join(join(creates, gets), known).await;
    assert_eq!(known, Duration::ZERO);
    let lasted = |calls: &[(bool, Duration)], time| calls.iter().filter(|(_, took)| *took > time).count();
    assert_eq!(
        (lasted(&creates, Duration::ZERO), lasted(&creates, turns::PATIENCE * 2)),
        (WRITES.0 + WRITES.1, WRITES.0)
    );
    assert_eq!(lasted(&gets, READS.1 * 2), READS.0);
    assert_eq!(creates.iter().filter(|(refused, _)| *refused).count(), 200 - WRITES.0);
    assert_eq!(gets.iter().filter(|(refused, _)| *refused).count(), 200 - READS.0);
}
