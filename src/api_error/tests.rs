use serde_json::{Value, json};

use super::*;

/// Code, reason and message of what kube-apiserver answers.
const ANSWERS: &[(Class, u16, &str, &str)] = &[
    (
        Class::Invalid,
        422,
        "Invalid",
        "PartitionSet.k8s.atomix.io \"g\" is invalid: spec.partitions: Invalid value: 0: spec.partitions in body should \
         be greater than or equal to 1",
    ),
    (
        Class::Invalid,
        422,
        "Invalid",
        "StatefulSet.apps \"s\" is invalid: spec: Forbidden: updates to statefulset spec for fields other than \
         'replicas', 'ordinals', 'template', 'updateStrategy' are forbidden",
    ),
    // Words of the client's own.
    (Class::Invalid, 422, "Invalid", "Service \"s\" is invalid: spec.type: Unsupported value: \"User x cannot\""),
    (Class::Invalid, 400, "BadRequest", "the object provided is unrecognized (must be of type Service)"),
    (Class::Invalid, 413, "RequestEntityTooLarge", "Request entity too large: limit is 3145728"),
    (
        Class::Denied,
        422,
        "Invalid",
        "services \"s\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no team label",
    ),
    // A policy chooses between four reasons.
    (
        Class::Denied,
        403,
        "Forbidden",
        "services \"s\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: User x cannot",
    ),
    (
        Class::Denied,
        401,
        "Unauthorized",
        "services \"s\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no team label",
    ),
    (
        Class::Denied,
        422,
        "Invalid",
        "services \"s\" is forbidden: ValidatingAdmissionPolicy 'p' denied request: expression 'x' resulted in error: \
         no such key: team",
    ),
    // A policy that mutates, and whose expression fails: the code is always that.
    (Class::Denied, 403, "Invalid", "policy 'p' with binding 'b' denied request: JSON Patch: no such path"),
    (Class::Denied, 403, "Forbidden", "policy \"p\" denied request: no such binding"),
    (
        Class::Denied,
        500,
        "",
        "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.",
    ),
    // A webhook may choose any code.
    (Class::Denied, 400, "", "admission webhook \"w.example.com\" denied the request: no"),
    (Class::Denied, 403, "Forbidden", "admission webhook \"w.example.com\" denied the request: exceeded quota: mine"),
    (Class::Denied, 404, "", "admission webhook \"w.example.com\" denied the request: no"),
    (Class::Denied, 409, "AlreadyExists", "admission webhook \"w.example.com\" denied the request: no"),
    (Class::Denied, 422, "Invalid", "admission webhook \"w.example.com\" denied the request: spec.size: too large"),
    (Class::Denied, 400, "", "admission webhook \"w.example.com\" denied the request without explanation"),
    (
        Class::Denied,
        403,
        "Forbidden",
        "pods \"p\" is forbidden: violates PodSecurity \"restricted:latest\": runAsNonRoot != true",
    ),
    (Class::Denied, 403, "Forbidden", "pods \"p\" is forbidden: failed quota: q: must specify limits.cpu for: c"),
    (
        Class::Quota,
        403,
        "Forbidden",
        "services \"s\" is forbidden: exceeded quota: q, requested: services=1, used: services=1, limited: services=1",
    ),
    (Class::Quota, 403, "Forbidden", "services \"s\" is forbidden: status unknown for quota: q, resources: services"),
    (
        Class::Forbidden,
        403,
        "Forbidden",
        "services is forbidden: User \"system:serviceaccount:n:c\" cannot create resource \"services\" in API group \
         \"\" in the namespace \"n\"",
    ),
    (
        Class::Forbidden,
        403,
        "Forbidden",
        "statefulsets.apps \"s\" is forbidden: cannot set blockOwnerDeletion if an ownerReference refers to a resource \
         you can't set finalizers on: , <nil>",
    ),
    (Class::Forbidden, 401, "Unauthorized", "Unauthorized"),
    (Class::Gone, 404, "NotFound", "services \"s\" not found"),
    (Class::Gone, 404, "NotFound", "namespaces \"n\" not found"),
    (Class::AlreadyExists, 409, "AlreadyExists", "services \"s\" already exists"),
    (Class::AlreadyExists, 409, "AlreadyExists", "object is being deleted: configmaps \"c\" already exists"),
    (
        Class::Conflict,
        409,
        "Conflict",
        "Operation cannot be fulfilled on services \"s\": the object has been modified; please apply your changes to \
         the latest version and try again",
    ),
    (
        Class::Conflict,
        409,
        "Conflict",
        "Operation cannot be fulfilled on services \"s\": Precondition failed: UID in precondition: a, UID in object \
         meta: b",
    ),
    (
        Class::TooManyRequests,
        429,
        "TooManyRequests",
        "Cannot evict pod as it would violate the pod's disruption budget.",
    ),
    (Class::TooManyRequests, 429, "TooManyRequests", "Too many requests, please try again later."),
    (
        Class::TooManyRequests,
        429,
        "TooManyRequests",
        "admission webhook \"w.example.com\" denied the request: too many requests at once",
    ),
    (
        Class::WebhookFailed,
        500,
        "InternalError",
        "Internal error occurred: failed calling webhook \"w.example.com\": failed to call webhook: Post \
         \"https://w.n.svc:443/x?timeout=5s\": context deadline exceeded",
    ),
    (Class::WebhookFailed, 500, "", "admission webhook \"w.example.com\" denied the request: timed out"),
    (Class::Away, 500, "InternalError", "etcdserver: leader changed"),
    (Class::Away, 503, "ServiceUnavailable", "apiserver is shutting down"),
    (Class::Away, 504, "Timeout", "Timeout: request did not complete within the allotted timeout"),
    (Class::Other, 405, "MethodNotAllowed", "the server does not allow this method on the requested resource"),
    // What kube makes of an answer that is no Status, of a proxy for instance.
    (Class::Forbidden, 403, "Failed to parse error data", "\"no\""),
    (Class::Away, 502, "Failed to parse error data", "\"bad gateway\""),
];

fn error(body: &Value) -> kube::Error {
    kube::Error::Api(Box::new(serde_json::from_value(body.clone()).unwrap()))
}

#[test]
fn each_answer_has_the_class_that_says_what_helps_and_its_own_words() {
    for (class, code, reason, words) in ANSWERS {
        let body = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": words, "reason": reason, "details": {"name": "s", "kind": "services"}, "code": code});
        let error = error(&body);
        assert_eq!(classify(&error), *class, "{body}");
        assert_eq!(message(&error), words.trim_end_matches(": , <nil>"));
    }
}

#[test]
fn a_namespace_that_is_being_deleted_is_named_as_a_cause() {
    let body = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": "configmaps \"c\" is forbidden: unable to create new content in namespace n because it is being \
            terminated",
        "reason": "Forbidden", "details": {"name": "c", "kind": "configmaps", "causes": [{
            "reason": "NamespaceTerminating", "message": "namespace n is being terminated",
            "field": "metadata.namespace"}]}, "code": 403});
    assert_eq!(classify(&error(&body)), Class::NamespaceTerminating);
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
    let error = error(&json!({"code": 500, "reason": "InternalError"}));
    assert!(message(&error).contains("InternalError"), "{}", message(&error));
}

#[test]
fn a_message_about_the_internals_of_the_api_server_is_not_repeated() {
    let unchecked = "<nil>: Invalid value: null: some validation rules were not checked because the object was invalid; \
                     correct the existing errors to complete validation";
    for (answer, shown) in [
        (
            format!("g is invalid: [spec.size: Required value, {unchecked}]"),
            "g is invalid: [spec.size: Required value]",
        ),
        (
            format!("g is invalid: [{unchecked}, spec.size: Required value]"),
            "g is invalid: [spec.size: Required value]",
        ),
        (
            "sts \"s\" is forbidden: cannot set blockOwnerDeletion if you can't set finalizers on: , <nil>".to_owned(),
            "sts \"s\" is forbidden: cannot set blockOwnerDeletion if you can't set finalizers on",
        ),
        ("no".to_owned(), "no"),
    ] {
        assert_eq!(message(&error(&json!({"code": 422, "message": answer}))), shown);
    }
    for answer in [
        "etcdserver: request is too large",
        "rpc error: code = ResourceExhausted desc = trying to send message larger than max (2100000 vs. 2097152)",
    ] {
        let error = error(&json!({"code": 500, "message": answer}));
        assert_eq!(
            (message(&error).as_ref(), classify(&error)),
            ("the object is larger than etcd takes", Class::Invalid)
        );
    }
}

#[test]
fn what_passes_by_itself_needs_no_help() {
    for class in [Class::Away, Class::TooManyRequests, Class::WebhookFailed] {
        assert!(class.is_transient());
    }
    for class in [Class::Quota, Class::Denied, Class::Forbidden, Class::Invalid, Class::Conflict, Class::Other] {
        assert!(!class.is_transient(), "{class:?}");
    }
}
