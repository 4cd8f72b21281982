use std::pin::Pin;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::body::{HttpBody, to_bytes};
use axum::http::{Method, StatusCode};
use futures::StreamExt;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::super::limits::{MAX_BODY, SMALL_BODY};
use super::super::tests::{admission, request, set};
use super::super::{PartitionSet, Sets};
use super::*;
use crate::runtime::metrics::Registry;

async fn send(admission: &Admission, request: HttpRequest) -> (StatusCode, Vec<u8>) {
    let response = router(admission).oneshot(request).await.unwrap();
    let status = response.status();
    (status, to_bytes(response.into_body(), 1 << 20).await.unwrap().to_vec())
}

fn http(method: Method, path: &str, content_type: &str, body: impl Into<Body>) -> HttpRequest {
    let request = HttpRequest::builder().method(method).uri(path).header(header::CONTENT_TYPE, content_type);
    request.body(body.into()).unwrap()
}

fn review(request: &Value) -> String {
    json!({ "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request }).to_string()
}

async fn post_json(admission: &Admission, path: &str, body: impl Into<Body>) -> (StatusCode, Vec<u8>) {
    send(admission, http(Method::POST, path, "application/json; charset=utf-8", body)).await
}

#[tokio::test]
async fn what_is_no_review_is_refused_by_status() {
    let admission = admission(&[]);
    let json = "application/json";
    let good = review(&request("partitionsets", "CREATE", &set("raft", 3), &Value::Null));
    let cases: [(HttpRequest, u16); 13] = [
        (http(Method::GET, "/mutate", json, ""), 405),
        (http(Method::PUT, "/validate", json, good.clone()), 405),
        (http(Method::POST, "/", json, good.clone()), 404),
        (http(Method::POST, "/mutate/x", json, good.clone()), 404),
        (http(Method::POST, "/mutate", "text/plain", good.clone()), 415),
        (http(Method::POST, "/mutate", "application/json-patch+json", good.clone()), 415),
        (http(Method::POST, "/mutate", "", good.clone()), 415),
        (http(Method::POST, "/mutate", json, ""), 400),
        (http(Method::POST, "/mutate", json, "{"), 400),
        (http(Method::POST, "/mutate", json, "\u{feff}{}"), 400),
        (http(Method::POST, "/mutate", json, vec![0xff, 0xfe]), 400),
        (http(Method::POST, "/mutate", json, good.replace("k8s.io/v1\"", "k8s.io/v1beta1\"")), 400),
        (http(Method::POST, "/mutate", "Application/JSON;charset=utf-8", good), 200),
    ];
    for (request, status) in cases {
        let what = format!("{request:?}");
        assert_eq!(send(&admission, request).await.0.as_u16(), status, "{what}");
    }
}

/// A body of which only the length is known, and none of which may be waited for.
struct Announced(u64);

impl HttpBody for Announced {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<hyper::body::Frame<Bytes>, Self::Error>>> {
        panic!("a body that is too long was read")
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        hyper::body::SizeHint::with_exact(self.0)
    }
}

#[tokio::test]
async fn a_body_that_is_too_long_is_refused_whether_or_not_it_says_so() {
    let admission = admission(&[]);
    let (status, _) = post_json(&admission, "/mutate", Body::new(Announced(MAX_BODY as u64 + 1))).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    let chunk = Bytes::from(vec![b' '; 1 << 20]);
    let endless = futures::stream::repeat_with(move || Ok::<_, std::io::Error>(chunk.clone()));
    let (status, _) = post_json(&admission, "/mutate", Body::from_stream(endless)).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn a_body_in_pieces_is_put_together() {
    let body = review(&request("partitionsets", "CREATE", &set("raft", 3), &Value::Null));
    let pieces: Vec<_> = body.as_bytes().chunks(7).map(|piece| Ok::<_, std::io::Error>(piece.to_vec())).collect();
    let (status, answer) =
        post_json(&admission(&[]), "/validate", Body::from_stream(futures::stream::iter(pieces))).await;
    let answer: Value = serde_json::from_slice(&answer).unwrap();
    assert_eq!((status, &answer["response"]["allowed"]), (StatusCode::OK, &json!(true)));
}

#[tokio::test(start_paused = true)]
async fn a_body_that_never_ends_is_given_up() {
    let (status, _) = post_json(
        &admission(&[]),
        "/mutate",
        Body::from_stream(futures::stream::pending::<Result<Bytes, std::io::Error>>()),
    )
    .await;
    assert_eq!(status, StatusCode::REQUEST_TIMEOUT);
}

#[tokio::test]
async fn a_request_with_a_uid_is_always_answered_by_a_review() {
    let admission = admission(&[]);
    let (status, body) = post_json(&admission, "/mutate", review(&json!({ "uid": "u-9", "name": 3 }))).await;
    let answer: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(status, StatusCode::OK);
    assert_eq!((&answer["response"]["uid"], &answer["response"]["status"]["code"]), (&json!("u-9"), &json!(400)));
}

#[tokio::test]
async fn a_panic_is_one_wrong_answer_and_not_the_end() {
    let admission = admission(&[]);
    // The name of partition 1 of set "panic" makes the cache of these tests look that set up.
    let broken = review(&request("partitionsets", "CREATE", &set("panic-1", 1), &Value::Null));
    let (status, body) = post_json(&admission, "/validate", broken).await;
    let answer: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(status, StatusCode::OK);
    assert_eq!((&answer["response"]["uid"], &answer["response"]["status"]["code"]), (&json!("u-1"), &json!(500)));
    assert!(!answer.to_string().contains("a cache that breaks"), "{answer}");
    assert_eq!(admission.metrics.panics.get(), 1);
    let good = review(&request("partitionsets", "CREATE", &set("raft", 3), &Value::Null));
    assert_eq!(post_json(&admission, "/validate", good).await.0, StatusCode::OK);
}

#[tokio::test]
async fn what_only_warns_refuses_nothing() {
    let admission = admission(&[]);
    let good = request("partitionsets", "CREATE", &set("raft", 3), &Value::Null);
    let mut canary = good.clone();
    canary["object"]["metadata"]["annotations"] = json!({ "k8s.atomix.io/canary": "1" });
    let mut illegal = good.clone();
    illegal["object"]["spec"] = json!(5);
    for body in [review(&json!({ "uid": "u-1", "name": 3 })), review(&canary), review(&illegal)] {
        let answer = answered(router(&admission), "/restricted", body).await;
        assert_eq!((&answer["response"]["uid"], &answer["response"]["allowed"]), (&json!("u-1"), &json!(true)));
    }
}

#[tokio::test]
async fn decisions_are_counted_by_fixed_labels() {
    let registry = Registry::default();
    let admission = Admission { metrics: registry.register(), ..admission(&[]) };
    let mut patched = set("raft", 3);
    patched["spec"].as_object_mut().unwrap().remove("partitions");
    let mut strange = request("partitionsets", "CREATE", &set("raft", 0), &Value::Null);
    strange["operation"] = json!("SOMETHING");
    strange["resource"]["resource"] = json!("surprises");
    for (path, request) in [
        ("/mutate", request("partitionsets", "CREATE", &patched, &Value::Null)),
        ("/mutate", request("partitionsets", "CREATE", &set("raft", 0), &Value::Null)),
        ("/validate", strange),
    ] {
        post_json(&admission, path, review(&request)).await;
    }
    let text = registry.render().unwrap();
    for labels in [
        r#"webhook="mutate",kind="PartitionSet",operation="CREATE",outcome="patched""#,
        r#"webhook="mutate",kind="PartitionSet",operation="CREATE",outcome="denied""#,
        r#"webhook="validate",kind="other",operation="other",outcome="allowed""#,
    ] {
        assert!(text.contains(&format!("atomix_admission_requests_total{{{labels}}} 1\n")), "{labels}\n{text}");
    }
    assert!(text.contains(r#"atomix_admission_duration_seconds_count{webhook="mutate"} 2"#), "{text}");
}

/// A watch cache that is slow to look up the set `slow`: it signals the look-up and waits for permission to answer.
struct Slow {
    looked_up: Sender<()>,
    answer: Mutex<Receiver<()>>,
}

impl Sets for Slow {
    fn get(&self, _: &str, name: &str) -> Option<Arc<PartitionSet>> {
        if name == "slow" {
            self.looked_up.send(()).unwrap();
            let _ = self.answer.lock().unwrap().recv_timeout(Duration::from_secs(60));
        }
        None
    }
}

/// The good review of a new set, made longer than a small one.
fn large(name: &str) -> String {
    let mut set = set(name, 3);
    set["metadata"]["annotations"] = json!({ "a": "x".repeat(SMALL_BODY) });
    review(&request("partitionsets", "CREATE", &set, &Value::Null))
}

async fn answered(routes: Router, path: &str, body: impl Into<Body>) -> Value {
    let response = routes.oneshot(http(Method::POST, path, "application/json", body)).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    serde_json::from_slice(&to_bytes(response.into_body(), 1 << 20).await.unwrap()).unwrap()
}

fn assert_throttled(answer: &Value) {
    let response = &answer["response"];
    assert_eq!((&response["uid"], &response["allowed"]), (&json!("u-1"), &json!(false)), "{answer}");
    assert_eq!((&response["status"]["code"], &response["status"]["reason"]), (&json!(429), &json!("TooManyRequests")));
    assert_eq!(response["status"]["details"]["retryAfterSeconds"], 1, "{answer}");
}

#[tokio::test]
async fn a_slow_decision_is_answered_in_time_and_keeps_its_permits_and_small_ones_go_on() {
    let (looked_up, was_looked_up) = channel();
    let (answer, may_answer) = channel();
    let slow = Slow { looked_up, answer: Mutex::new(may_answer) };
    let registry = Registry::default();
    let admission = Admission { sets: Arc::new(slow), metrics: registry.register(), ..admission(&[]) };
    let routes = with_limits(&admission, &Limits::new(2 * MAX_BODY, 1));
    // Its name could be that of a Service of partition 1 of the set that the cache is slow to look up.
    let start = Instant::now();
    assert_throttled(&answered(routes.clone(), "/validate?timeout=2s", large("slow-1")).await);
    assert!(start.elapsed() >= Duration::from_secs(1), "{:?}", start.elapsed());
    was_looked_up.try_recv().unwrap();
    // It still has the only permit to decide.
    assert_throttled(&answered(routes.clone(), "/validate?timeout=1s", large("raft")).await);
    let small = review(&request("partitionsets", "CREATE", &set("raft", 3), &Value::Null));
    assert_eq!(answered(routes.clone(), "/validate?timeout=5s", small).await["response"]["allowed"], true);
    answer.send(()).unwrap();
    assert_eq!(answered(routes, "/validate?timeout=5s", large("raft")).await["response"]["allowed"], true);
    let text = registry.render().unwrap();
    for line in [
        r#"atomix_admission_requests_total{webhook="validate",kind="other",operation="other",outcome="throttled"} 2"#,
        r#"atomix_admission_requests_total{webhook="validate",kind="PartitionSet",operation="CREATE",outcome="allowed"} 2"#,
        "atomix_admission_in_flight 0",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_stops_arriving_is_given_up() {
    let body = review(&request("partitionsets", "CREATE", &set("raft", 3), &Value::Null));
    let beginning = futures::stream::iter([Ok::<_, std::io::Error>(body[..body.len() - 1].to_owned())]);
    let unfinished = Body::from_stream(beginning.chain(futures::stream::pending()));
    let start = Deadline::now();
    assert_eq!(post_json(&admission(&[]), "/mutate?timeout=3s", unfinished).await.0, StatusCode::REQUEST_TIMEOUT);
    assert_eq!(start.elapsed().as_secs(), 2);
}

#[tokio::test(start_paused = true)]
async fn large_bodies_wait_for_a_permit_and_small_ones_do_not() {
    let admission = admission(&[]);
    let limits = Limits::new(MAX_BODY, 2);
    let routes = with_limits(&admission, &limits);
    let other = limits.body(MAX_BODY).await.unwrap();
    let rejected = http(Method::POST, "/validate", "application/json", large("raft"));
    let rejected = routes.clone().oneshot(rejected).await.unwrap();
    assert_eq!(rejected.status(), StatusCode::SERVICE_UNAVAILABLE);
    // An API server calls again after such an answer.
    assert_eq!(rejected.headers()[header::RETRY_AFTER], "1");
    let small = review(&request("partitionsets", "CREATE", &set("raft", 3), &Value::Null));
    assert_eq!(answered(routes.clone(), "/validate", small).await["response"]["allowed"], true);
    drop(other);
    assert_eq!(answered(routes, "/validate", large("raft")).await["response"]["allowed"], true);
    assert!(limits.body(MAX_BODY).await.is_ok(), "the permit was not given back");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_announces_a_large_body_and_sends_nothing_takes_no_room() {
    let admission = admission(&[]);
    let routes = with_limits(&admission, &Limits::new(MAX_BODY, 2));
    let silent = Body::from_stream(futures::stream::pending::<Result<Vec<u8>, std::io::Error>>());
    let silent = tokio::spawn(routes.clone().oneshot(http(Method::POST, "/validate", "application/json", silent)));
    tokio::task::yield_now().await;
    assert_eq!(answered(routes, "/validate", large("raft")).await["response"]["allowed"], true);
    assert_eq!(silent.await.unwrap().unwrap().status(), StatusCode::REQUEST_TIMEOUT);
}

#[tokio::test]
async fn a_review_that_memory_is_not_enough_for_is_denied_unread() {
    let mut set = set("raft", 3);
    set["spec"]["bomb"] = json!("HERE");
    let bomb = format!("[{}0]", r#"{"":0},"#.repeat(900_000));
    let body = review(&request("partitionsets", "CREATE", &set, &Value::Null)).replace("\"HERE\"", &bomb);
    assert!(body.len() < MAX_BODY);
    let answer = answered(router(&admission(&[])), "/mutate", body).await;
    assert_eq!((&answer["response"]["uid"], &answer["response"]["status"]["code"]), (&json!("u-1"), &json!(413)));
}
