//! Groups against an API server of the tests, which refuses or does not answer.

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
use crate::grpc::limit;
use crate::queue::Trigger;

/// Groups of an API server with these answers; it does not answer at all if there is none.
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
async fn only_a_set_that_was_created_over_grpc_is_deleted() {
    let groups = groups(|method, name| {
        let mut found = set(name);
        if name == "own" {
            found["metadata"]["managedFields"] = json!([{"manager": FIELD_MANAGER, "operation": "Update"}]);
        }
        // Another set has taken the name after it was read.
        let other = refusal(409, "Conflict", "the UID in the precondition does not match");
        Some(match (method, name) {
            (_, "missing") => refusal(404, "NotFound", "not found"),
            (&Method::DELETE, "own") => (200, json!({"kind": "Status", "status": "Success"})),
            (&Method::DELETE, _) => other,
            _ => (200, found),
        })
    });
    groups.sets.take(serde_json::from_value(set("missing")).unwrap());
    for (name, any, code) in [
        ("kubectl", false, Code::PermissionDenied),
        ("kubectl", true, Code::Aborted),
        ("missing", false, Code::NotFound),
    ] {
        let refused = groups.delete(key(name), any).await.unwrap_err();
        assert_eq!(refused.code(), code, "{refused:?}");
        if code == Code::PermissionDenied {
            for part in ["kubectl delete partitionset kubectl -n ns", "--grpc-delete=any"] {
                assert!(refused.message().contains(part), "{refused:?}");
            }
        }
    }
    groups.delete(key("own"), false).await.unwrap();
}

#[tokio::test]
async fn a_set_is_read_once_and_again_when_it_changes() {
    let groups = groups(|_, _| None);
    let with = |partitions: i64| {
        let mut set: PartitionSet = serde_json::from_value(set("atx")).unwrap();
        set.spec.partitions = Some(partitions);
        Arc::new(set)
    };
    let first = with(3);
    let group = groups.group(&key("atx"), &first).unwrap();
    assert!(Arc::ptr_eq(&group, &groups.group(&key("atx"), &first).unwrap()));
    for partitions in 1..100 {
        let partitions = u32::try_from(partitions).unwrap();
        assert_eq!(groups.group(&key("atx"), &with(partitions.into())).unwrap().partitions, partitions);
    }
    // A call that has found the former set is answered by it.
    assert_eq!(groups.group(&key("atx"), &first).unwrap().partitions, 3);
    groups.group(&key("atx"), &with(0)).unwrap_err();
}

#[tokio::test(start_paused = true)]
async fn writes_that_wait_for_the_api_server_are_bounded_and_keep_no_cached_answer_waiting() {
    let (groups, began) = (groups(|_, _| None), Instant::now());
    groups.sets.take(serde_json::from_value(set("known")).unwrap());
    let names: Vec<String> = (0..200).map(|number| format!("atx-{number}")).collect();
    let creates = join_all(names.iter().map(|name| async {
        let refused = groups.create(key(name), spec(3)).await.unwrap_err();
        (refused.message().contains("at a time: try again"), began.elapsed())
    }));
    let known = async {
        assert_eq!(groups.get(key("known")).await.unwrap().len(), 1);
        began.elapsed()
    };
    let (creates, known) = join(creates, known).await;
    assert_eq!(known, Duration::ZERO);
    let lasted = |time| creates.iter().filter(|(_, took)| *took > time).count();
    assert_eq!((lasted(Duration::ZERO), lasted(limit::PATIENCE * 2)), (WRITES.0 + WRITES.1, WRITES.0));
    assert_eq!(creates.iter().filter(|(refused, _)| *refused).count(), 200 - WRITES.0);
}
