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
fn what_is_no_review_is_told_apart_from_a_bad_request_with_a_uid() {
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
    assert!(matches!(parse(deep.as_bytes()), Err(Error::Json(_))));
    let huge = review(json!("X")).replace("\"X\"", r#"{"uid":"u","object":1e400}"#);
    assert!(matches!(parse(huge.as_bytes()), Err(Error::Json(_))));
    for request in [json!({ "uid": "u", "name": 1 }), json!({ "uid": "u", "operation": {} })] {
        let body = review(request);
        assert!(matches!(parse(body.as_bytes()), Err(Error::Request { uid, .. }) if uid == "u"), "{body}");
    }
    let twice = review(json!("X")).replace("\"X\"", r#"{"uid":"u","name":"a","name":"b"}"#);
    assert!(matches!(parse(twice.as_bytes()), Err(Error::Request { uid, .. }) if uid == "u"));
}
