//! Any pod can reach the port of the webhooks. Whatever it sends, the process lives and answers the next good review.

use std::io::{Read, Write};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use webhook_tests::harness;

use crate::manifests::{raft, with};
use crate::wire::{exchange, last_answer, post, request, review, tcp, tls};

const BOTH: [&str; 2] = ["/mutate", "/validate"];
const MEBIBYTE: usize = 1024 * 1024;
/// For how long what a busy machine prevents is tried again.
const SOON: Duration = Duration::from_secs(60);

/// A review of a legal new set.
fn good() -> Value {
    json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
        "uid": "good",
        "kind": {"group": "k8s.atomix.io", "version": "v1alpha1", "kind": "PartitionSet"},
        "resource": {"group": "k8s.atomix.io", "version": "v1alpha1", "resource": "partitionsets"},
        "name": "raft", "namespace": "default", "operation": "CREATE",
        "userInfo": {"username": "somebody"},
        "object": raft("raft"), "oldObject": null, "dryRun": false, "options": null,
    }})
}

/// The good review with a value at a pointer.
fn but(pointer: &str, value: Value) -> Value {
    with(good(), pointer, value)
}

/// The same process still does what it is for.
#[track_caller]
fn lives() {
    assert_eq!(harness().controller().get("/livez").expect("an answer").status, 200);
    let mutated = review("/mutate", &good());
    assert_eq!((mutated["uid"].as_str(), mutated["allowed"].as_bool()), (Some("good"), Some(true)));
    assert_eq!(mutated["patchType"], "JSONPatch");
    assert_eq!(review("/validate", &good()), json!({"uid": "good", "allowed": true}));
}

#[test]
fn what_is_no_review_is_a_bad_request() {
    let nested = |depth: usize| [vec![b'['; depth], vec![b']'; depth]].concat();
    let truncated = good().to_string().into_bytes();
    let mut text = but("/request/object/metadata/name", json!("HERE")).to_string().into_bytes();
    let place = text.windows(4).position(|window| window == b"HERE").expect("a place");
    text[place] = 0xff;
    for (what, body) in [
        ("nothing", Vec::new()),
        ("a piece of a review", truncated[..truncated.len() / 2].to_vec()),
        ("more than a review", [good().to_string(), "{}".to_owned()].concat().into_bytes()),
        ("no JSON", b"apiVersion: admission.k8s.io/v1".to_vec()),
        ("a string", b"\"AdmissionReview\"".to_vec()),
        ("a number", b"5".to_vec()),
        ("null", b"null".to_vec()),
        ("a list", b"[]".to_vec()),
        ("an empty object", b"{}".to_vec()),
        ("10,000 lists", nested(10_000)),
        ("a byte that is no text", text),
        ("another version", with(good(), "/apiVersion", json!("admission.k8s.io/v1beta1")).to_string().into_bytes()),
        ("another kind", with(good(), "/kind", json!("Pod")).to_string().into_bytes()),
        ("no request", with(good(), "/request", json!(null)).to_string().into_bytes()),
        ("a request that is a list", with(good(), "/request", json!([])).to_string().into_bytes()),
        ("no uid", but("/request/uid", json!("")).to_string().into_bytes()),
        ("a uid that is no text", but("/request/uid", json!({})).to_string().into_bytes()),
        ("zeros", vec![0; 1000]),
    ] {
        for path in BOTH {
            let answer = post(path, &body);
            assert_eq!(answer.status, 400, "{what} at {path}: {answer:?}");
            assert!(answer.body.len() > 10 && answer.body.len() < 1000, "{what} at {path}: {answer:?}");
        }
    }
    lives();
}

#[test]
fn what_has_a_uid_is_answered_by_a_review() {
    for (pointer, value) in [
        ("/request/operation", json!(5)),
        ("/request/kind", json!("PartitionSet")),
        ("/request/userInfo", json!("me")),
        ("/request/namespace", json!({})),
    ] {
        for path in BOTH {
            let response = review(path, &but(pointer, value.clone()));
            assert_eq!((response["uid"].as_str(), response["allowed"].as_bool()), (Some("good"), Some(false)));
            assert_eq!(response["status"]["code"], 400, "{pointer}: {response}");
        }
    }
    let deep = [vec![b'['; 10_000], vec![b']'; 10_000]].concat();
    let spoilt = |pointer: &str, json: &str| but(pointer, json!("HERE")).to_string().replace("\"HERE\"", json);
    for (what, body) in [
        ("two uids", good().to_string().replace(r#""uid":"good""#, r#""uid":"other","uid":"good""#)),
        ("an object of 10,000 lists", spoilt("/request/object", &String::from_utf8(deep).expect("text"))),
        ("a number beyond all numbers", spoilt("/request/object/spec/partitions", "1e400")),
    ] {
        for path in BOTH {
            let answer = post(path, body.as_bytes());
            assert_eq!(answer.status, 200, "{what} at {path}: {answer:?}");
            let answered: Value = serde_json::from_str(&answer.body).expect("a review");
            let response = &answered["response"];
            assert_eq!(
                (response["uid"].as_str(), response["allowed"].as_bool()),
                (Some("good"), Some(false)),
                "{what}"
            );
            assert_eq!(response["status"]["code"], 400, "{what} at {path}: {response}");
        }
    }
    lives();
}

/// Contract, section 7: fields that were nil in a request crashed the original's process.
#[test]
fn null_fields_are_answered() {
    for field in
        ["kind", "resource", "subResource", "name", "namespace", "operation", "userInfo", "object", "oldObject"]
    {
        for path in BOTH {
            let response = review(path, &but(&format!("/request/{field}"), json!(null)));
            assert_eq!(response["uid"], "good", "{field} at {path}");
        }
    }
    lives();
}

#[test]
fn objects_of_any_form_are_judged() {
    for object in [
        json!(5),
        json!("x"),
        json!([]),
        json!({}),
        json!({"metadata": 1, "spec": []}),
        json!({"spec": {"template": 1}}),
    ] {
        for path in BOTH {
            let response = review(path, &but("/request/object", object.clone()));
            assert_eq!(
                (response["allowed"].as_bool(), &response["status"]["code"]),
                (Some(false), &json!(422)),
                "{object}"
            );
        }
    }
    let twice = good().to_string().replace(r#""partitions":2"#, r#""partitions":0,"partitions":2"#);
    let answered: Value = serde_json::from_str(&post("/validate", twice.as_bytes()).body).expect("a review");
    assert_eq!(answered["response"]["allowed"], true, "the last of two keys counts, as for the API server");
    lives();
}

#[test]
fn what_concerns_nobody_here_passes_untouched() {
    let deletion = with(but("/request/operation", json!("DELETE")), "/request/object", json!(null));
    for (what, asked) in [
        ("a deletion", with(deletion, "/request/oldObject", raft("raft"))),
        ("a deletion of nothing", with(but("/request/operation", json!("DELETE")), "/request/object", json!(null))),
        ("a connection", but("/request/operation", json!("CONNECT"))),
        ("an operation of the future", but("/request/operation", json!("TRANSMOGRIFY"))),
        ("no operation", but("/request/operation", json!(""))),
        ("no object", but("/request/object", json!(null))),
        ("another group", but("/request/resource/group", json!("apps"))),
        ("another resource", but("/request/resource/resource", json!("pods"))),
        ("another subresource", but("/request/subResource", json!("status"))),
    ] {
        for path in BOTH {
            assert_eq!(review(path, &asked), json!({"uid": "good", "allowed": true}), "{what} at {path}");
        }
    }
    lives();
}

#[test]
fn what_is_too_large_is_refused_before_it_is_read() {
    let announced = format!(
        "POST /validate HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n",
        8 * MEBIBYTE
    );
    assert_eq!(exchange(announced.as_bytes()).expect("an answer").status, 413);

    // Not announced: the answer comes when the limit is passed, and the end of the body is not waited for.
    let head = "POST /mutate HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n\
                Transfer-Encoding: chunked\r\n\r\n";
    let chunk = [format!("{MEBIBYTE:x}\r\n").as_bytes(), &vec![b' '; MEBIBYTE], b"\r\n"].concat();
    let send = || {
        let mut stream = tls(&["http/1.1"])?;
        stream.write_all(head.as_bytes())?;
        for _ in 0..7 {
            stream.write_all(&chunk)?;
        }
        stream.write_all(b"1\r\n \r\n")?;
        stream.flush()?;
        Ok::<_, std::io::Error>(last_answer(&mut stream).expect("an answer"))
    };
    // On a busy machine it may take longer than a request may, and other tests may have the permits for large bodies.
    let deadline = Instant::now() + SOON;
    let answer = loop {
        match send() {
            Ok(answer) if answer.status != 408 && answer.status != 503 => break answer,
            other => assert!(Instant::now() < deadline, "{other:?}"),
        }
    };
    assert_eq!(answer.status, 413, "{answer:?}");

    let head = format!("POST /mutate HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "x".repeat(64 * 1024));
    let answer = tls(&["http/1.1"]).map(|mut stream| {
        let _ = stream.write_all(head.as_bytes());
        last_answer(&mut stream)
    });
    assert!(answer.expect("a handshake").is_none_or(|answer| answer.status == 431));
    lives();
}

#[test]
fn a_review_of_two_objects_of_full_size_is_answered() {
    let large = with(raft("raft"), "/metadata/annotations/a", json!("x".repeat(3 * MEBIBYTE)));
    let asked = with(but("/request/object", large.clone()), "/request/oldObject", large);
    let asked = with(asked, "/request/operation", json!("UPDATE"));
    // Other tests may have the permits for large reviews at this moment.
    let deadline = Instant::now() + SOON;
    loop {
        let answer = post("/mutate", asked.to_string().as_bytes());
        if answer.status == 200 && answer.body.contains(r#""allowed":true"#) {
            break;
        }
        assert!(answer.status == 503 || answer.body.contains(r#""code":429"#), "{answer:?}");
        assert!(Instant::now() < deadline, "{answer:?}");
        sleep(Duration::from_secs(1));
    }
    lives();
}

#[test]
fn other_methods_paths_and_types_are_refused() {
    const JSON: &str = "application/json";
    let body = good().to_string();
    let status = |method: &str, path: &str, content_type: &str| {
        exchange(&request(method, path, content_type, body.as_bytes())).expect("an answer").status
    };
    for method in ["GET", "PUT", "PATCH", "DELETE", "OPTIONS", "BREW"] {
        assert_eq!(status(method, "/mutate", JSON), 405, "{method}");
    }
    for path in ["/", "/mutat", "/mutate/", "/metrics", "/../mutate", "/mutate%00"] {
        assert_eq!(status("POST", path, JSON), 404, "{path}");
    }
    for content_type in
        ["", "text/plain", "application/yaml", "application/jsonp", "application/vnd.kubernetes.protobuf"]
    {
        assert_eq!(status("POST", "/mutate", content_type), 415, "{content_type}");
    }
    for content_type in ["application/json; charset=utf-8", "Application/JSON"] {
        assert_eq!(status("POST", "/mutate?timeout=5s", content_type), 200, "{content_type}");
    }
    lives();
}

#[test]
fn only_http_1_is_spoken_and_only_over_tls() {
    assert_eq!(tls(&["h2", "http/1.1"]).expect("a handshake").conn.alpn_protocol(), Some(&b"http/1.1"[..]));
    assert!(tls(&["h2"]).is_err(), "HTTP/2 alone is refused in the handshake");
    assert!(tls(&[]).is_ok());

    let mut plain = tcp();
    plain.write_all(&request("POST", "/mutate", "application/json", good().to_string().as_bytes())).expect("sent");
    let mut said = Vec::new();
    let _ = plain.read_to_end(&mut said);
    assert!(!said.starts_with(b"HTTP"), "{}", String::from_utf8_lossy(&said));

    let mut noise = tls(&["http/1.1"]).expect("a handshake");
    noise.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").expect("sent");
    assert!(last_answer(&mut noise).is_none_or(|answer| answer.status == 400));
    lives();
}

#[test]
fn a_client_that_goes_silent_is_left() {
    let mut half = tls(&["http/1.1"]).expect("a handshake");
    half.write_all(b"POST /mutate HTTP/1.1\r\nHost:").expect("sent");
    half.flush().expect("sent");
    let mut silent = tcp();
    let mut said = Vec::new();
    assert_eq!(silent.read_to_end(&mut said).ok(), Some(0), "no handshake, no connection");
    lives();
    // Half a head holds nothing up. How long it may take is the server's limit, longer than this test.
    half.write_all(b" x\r\nConnection: close\r\n\r\n").expect("the connection is still open");
    assert_eq!(last_answer(&mut half).expect("an answer").status, 415);
}
