use serde_json::{Value, json};

use super::*;

fn status(body: &Value) -> Status {
    serde_json::from_value(body.clone()).unwrap()
}

fn answer(code: u16, reason: &str, message: &str, details: &Value) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": reason, "details": details, "code": code})
}

/// Bodies as kube-apiserver sends them.
fn answers() -> Vec<(Class, Value)> {
    let named = |kind: &str, name: &str| json!({"name": name, "kind": kind});
    let schema = "PartitionSet.k8s.atomix.io \"g\" is invalid: spec.partitions: Invalid value: 0: \
        spec.partitions in body should be greater than or equal to 1";
    let schema_causes = json!({"name": "g", "group": "k8s.atomix.io", "kind": "PartitionSet", "causes": [{
        "reason": "FieldValueInvalid", "field": "spec.partitions",
        "message": "Invalid value: 0: spec.partitions in body should be greater than or equal to 1"}]});
    let policy = "ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no team label";
    let policy_details = |name: &str| json!({"name": name, "kind": "services", "causes": [{"message": policy}]});
    let policy_message = format!("services \"s\" is forbidden: {policy}");
    let terminating = json!({"name": "c", "kind": "configmaps", "causes": [{"reason": "NamespaceTerminating",
        "message": "namespace n is being terminated", "field": "metadata.namespace"}]});
    vec![
        (Class::Invalid, answer(422, "Invalid", schema, &schema_causes)),
        (Class::Invalid, answer(400, "BadRequest", "the object provided is unrecognized", &json!({}))),
        (
            Class::Invalid,
            answer(413, "RequestEntityTooLarge", "Request entity too large: limit is 3145728", &json!({})),
        ),
        (
            Class::Invalid,
            answer(
                422,
                "Invalid",
                "Service \"s\" is invalid: metadata.annotations: Invalid value: \"User x cannot\": bad",
                &json!({}),
            ),
        ),
        (Class::Denied, answer(422, "Invalid", &policy_message, &policy_details("s"))),
        (Class::Denied, answer(403, "Forbidden", &policy_message, &policy_details("s"))),
        (Class::Denied, answer(401, "Unauthorized", &policy_message, &policy_details("s"))),
        (
            Class::Denied,
            answer(
                422,
                "Invalid",
                "services \"s\" is forbidden: ValidatingAdmissionPolicy 'p' denied request: expression 'x' resulted \
                    in error: no such key: team",
                &json!({}),
            ),
        ),
        (Class::Denied, answer(400, "", "admission webhook \"w.example.com\" denied the request: no", &Value::Null)),
        (Class::Denied, answer(403, "", "admission webhook \"w.example.com\" denied the request: no", &Value::Null)),
        (Class::Denied, answer(404, "", "admission webhook \"w.example.com\" denied the request: no", &Value::Null)),
        (
            Class::Denied,
            answer(409, "AlreadyExists", "admission webhook \"w.example.com\" denied the request: no", &Value::Null),
        ),
        (
            Class::Denied,
            answer(400, "", "admission webhook \"w.example.com\" denied the request without explanation", &Value::Null),
        ),
        (
            Class::Denied,
            answer(
                403,
                "Forbidden",
                "pods \"p\" is forbidden: violates PodSecurity \"restricted:latest\": runAsNonRoot != true",
                &named("pods", "p"),
            ),
        ),
        (
            Class::Denied,
            answer(
                403,
                "Forbidden",
                "pods \"p\" is forbidden: failed quota: q: must specify limits.cpu for: c",
                &named("pods", "p"),
            ),
        ),
        (
            Class::Quota,
            answer(
                403,
                "Forbidden",
                "services \"s\" is forbidden: exceeded quota: q, requested: services=1, used: services=1, limited: \
                    services=1",
                &named("services", "s"),
            ),
        ),
        (
            Class::Quota,
            answer(
                403,
                "Forbidden",
                "services \"s\" is forbidden: status unknown for quota: q, resources: services",
                &named("services", "s"),
            ),
        ),
        (
            Class::Forbidden,
            answer(
                403,
                "Forbidden",
                "services is forbidden: User \"system:serviceaccount:n:c\" cannot create resource \"services\" in API \
                    group \"\" in the namespace \"n\"",
                &json!({"kind": "services"}),
            ),
        ),
        (
            Class::Forbidden,
            answer(
                403,
                "Forbidden",
                "statefulsets.apps \"s\" is forbidden: cannot set blockOwnerDeletion if an ownerReference refers to a \
                    resource you can't set finalizers on: , <nil>",
                &json!({"name": "s", "group": "apps", "kind": "statefulsets"}),
            ),
        ),
        (Class::Forbidden, answer(401, "Unauthorized", "Unauthorized", &json!({}))),
        (
            Class::NamespaceTerminating,
            answer(
                403,
                "Forbidden",
                "configmaps \"c\" is forbidden: unable to create new content in namespace n because it is being \
                    terminated",
                &terminating,
            ),
        ),
        (Class::Gone, answer(404, "NotFound", "services \"s\" not found", &named("services", "s"))),
        (Class::Gone, answer(404, "NotFound", "namespaces \"n\" not found", &named("namespaces", "n"))),
        (Class::AlreadyExists, answer(409, "AlreadyExists", "services \"s\" already exists", &named("services", "s"))),
        (
            Class::AlreadyExists,
            answer(
                409,
                "AlreadyExists",
                "object is being deleted: configmaps \"c\" already exists",
                &named("configmaps", "c"),
            ),
        ),
        (
            Class::Conflict,
            answer(
                409,
                "Conflict",
                "Operation cannot be fulfilled on services \"s\": the object has been modified; please apply your \
                    changes to the latest version and try again",
                &named("services", "s"),
            ),
        ),
        (
            Class::Conflict,
            answer(
                409,
                "Conflict",
                "Operation cannot be fulfilled on services \"s\": Precondition failed: UID in precondition: a, UID in \
                    object meta: b",
                &named("services", "s"),
            ),
        ),
        (
            Class::TooManyRequests,
            answer(
                429,
                "TooManyRequests",
                "Cannot evict pod as it would violate the pod's disruption budget.",
                &json!({"causes": [{"reason": "DisruptionBudget", "message": "needs 2 healthy pods"}]}),
            ),
        ),
        (
            Class::TooManyRequests,
            answer(
                429,
                "TooManyRequests",
                "admission webhook \"w.example.com\" denied the request: too many requests at once",
                &json!({"retryAfterSeconds": 1}),
            ),
        ),
        (
            Class::WebhookFailed,
            answer(
                500,
                "InternalError",
                "Internal error occurred: failed calling webhook \"w.example.com\": failed to call webhook: Post \
                    \"https://w.n.svc:443/x?timeout=5s\": context deadline exceeded",
                &json!({"causes": [{"message": "failed calling webhook \"w.example.com\""}]}),
            ),
        ),
        (
            Class::WebhookFailed,
            answer(500, "", "admission webhook \"w.example.com\" denied the request: timed out", &Value::Null),
        ),
        (Class::Away, answer(500, "InternalError", "etcdserver: leader changed", &Value::Null)),
        (Class::Away, answer(503, "ServiceUnavailable", "apiserver is shutting down", &Value::Null)),
        (
            Class::Away,
            answer(
                504,
                "Timeout",
                "Timeout: request did not complete within the allotted timeout",
                &json!({"retryAfterSeconds": 1}),
            ),
        ),
        (Class::Other, answer(405, "MethodNotAllowed", "the server does not allow this method", &json!({}))),
        // What kube makes of an answer that is no Status: the code and the text.
        (Class::Forbidden, json!({"code": 403, "message": "\"proxy: no\"", "reason": "Failed to parse error data"})),
        (Class::Away, json!({"code": 502, "message": "\"bad gateway\"", "reason": "Failed to parse error data"})),
    ]
}

#[test]
fn each_answer_has_the_class_that_says_what_helps_and_its_own_words() {
    for (class, body) in answers() {
        let error = kube::Error::Api(Box::new(status(&body)));
        assert_eq!(classify(&error), class, "{body}");
        assert_eq!(message(&error), body["message"].as_str().unwrap());
    }
}

#[test]
fn without_an_answer_the_api_server_is_away_unless_the_fault_is_here() {
    let unreadable = serde_json::from_str::<u8>("x").unwrap_err();
    let elapsed = kube::Error::Service("deadline has elapsed".into());
    assert_eq!(message(&elapsed), "ServiceError: deadline has elapsed");
    for (error, class) in [
        (elapsed, Class::Away),
        (kube::Error::Service("connection refused".into()), Class::Away),
        (kube::Error::ReadEvents(std::io::ErrorKind::UnexpectedEof.into()), Class::Away),
        (kube::Error::Service(Box::new(NotLeading)), Class::NotLeading),
        (kube::Error::SerdeError(unreadable), Class::Other),
    ] {
        assert_eq!(classify(&error), class, "{error}");
    }
}

#[test]
fn an_answer_without_words_has_those_of_its_reason() {
    let error = kube::Error::Api(Box::new(status(&json!({"code": 500, "reason": "InternalError"}))));
    assert!(message(&error).contains("InternalError"), "{}", message(&error));
}

#[test]
fn what_passes_by_itself_needs_no_help() {
    let transient = [Class::Away, Class::TooManyRequests, Class::WebhookFailed];
    for class in transient {
        assert!(class.is_transient());
    }
    for class in [Class::Quota, Class::Denied, Class::Forbidden, Class::Invalid, Class::Conflict, Class::Other] {
        assert!(!class.is_transient(), "{class:?}");
    }
}
