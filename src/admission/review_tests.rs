use serde_json::json;

use super::*;

#[test]
fn a_request_is_read_with_what_this_version_does_not_know() {
    let body = json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "u", "operation": "PATCH", "requestSubResource": "", "future": {},
            "object": null, "oldObject": { "a": 1 }, "userInfo": { "username": "me", "groups": [] }
        }
    });
    let request = parse(body.to_string().as_bytes()).unwrap();
    assert_eq!(request.operation, Operation::Other);
    assert_eq!(request.user_info.username, "me");
    assert_eq!(request.old(), Some(&json!({ "a": 1 })));
    assert!(request.object.is_null());
}

#[test]
fn a_body_that_is_no_review_differs_from_a_bad_request_with_a_uid() {
    let review = |request: Value| {
        json!({ "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request }).to_string()
    };
    assert!(matches!(parse(b"{}"), Err(Error::OtherKind)));
    assert!(matches!(parse(b"{"), Err(Error::Json(_))));
    assert!(matches!(parse(b"\xff"), Err(Error::Json(_))));
    assert!(matches!(parse(b"[]"), Err(Error::Json(_))));
    assert!(matches!(parse("[".repeat(10_000).as_bytes()), Err(Error::Json(_))));
    assert!(matches!(parse(review(Value::Null).as_bytes()), Err(Error::NoRequest)));
    assert!(matches!(parse(review(json!({ "uid": "" })).as_bytes()), Err(Error::NoRequest)));
    assert!(matches!(parse(review(json!({ "uid": 1 })).as_bytes()), Err(Error::Json(_))));
    let beta = review(json!({ "uid": "u" })).replace("/v1\"", "/v1beta1\"");
    assert!(matches!(parse(beta.as_bytes()), Err(Error::OtherKind)));
    let deep = format!(r#"{{"uid":"u","object":{}1{}}}"#, "[".repeat(200), "]".repeat(200));
    let deep = review(json!("X")).replace("\"X\"", &deep);
    let huge = review(json!("X")).replace("\"X\"", r#"{"uid":"u","object":1e400}"#);
    let mistyped = review(json!({ "uid": "u", "name": 1 }));
    for body in [deep, huge, mistyped, review(json!({ "uid": "u", "operation": {} }))] {
        assert!(matches!(parse(body.as_bytes()), Err(Error::Request { uid, .. }) if uid == "u"), "{body}");
    }
    let twice = review(json!("X")).replace("\"X\"", r#"{"uid":"u","name":"a","name":"b"}"#);
    assert!(matches!(parse(twice.as_bytes()), Err(Error::Request { uid, .. }) if uid == "u"));
}

#[test]
fn the_uid_is_found_whatever_the_rest_of_the_review_is() {
    const REVIEW: &str = r#"{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","x":[{}],"request":{"a":{"uid":"b"},"uid":"u-1","object":{"metadata":{"uid":"c"}}}}"#;
    assert_eq!(uid(REVIEW.as_bytes()).as_deref(), Some("u-1"));
    let twice = REVIEW.replace(r#""a":{"uid":"b"}"#, r#""uid":"b""#);
    assert_eq!(uid(twice.as_bytes()).as_deref(), Some("u-1"));
    for (from, to) in [
        ("AdmissionReview", "Review"),
        ("k8s.io/v1", "k8s.io/v1beta1"),
        (r#""u-1""#, r#""""#),
        (r#""u-1""#, "5"),
        ("}}}}", "}}}"),
    ] {
        assert_eq!(uid(REVIEW.replacen(from, to, 1).as_bytes()), None, "{to}");
    }
    for text in ["", "null", "[]", "{\"request\":", "\u{0}"] {
        assert_eq!(uid(text.as_bytes()), None, "{text}");
    }
}
