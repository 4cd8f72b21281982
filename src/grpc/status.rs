//! Statuses of the API: violations of its rules, and failed requests to the API server.

use std::collections::BTreeSet;

use kube::core::Status as Refusal;
use kube::core::response::StatusCause;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::api_error::{Class, NO_FIELD, classify_status, words};
use crate::rules::{Violation, violation};

/// Violations of the API's own rules: `INVALID_ARGUMENT` with all of them, in `google.rpc.BadRequest` as well.
pub(super) fn invalid(violations: &[Violation]) -> Status {
    let fields = violations.iter().map(|violation| (violation.field.clone(), violation.message()));
    bad_request(violation::join(violations), fields)
}

/// A field of the request that is missing.
pub(super) fn required(field: &str) -> Status {
    invalid(&[Violation::required(field, "")])
}

fn bad_request(message: String, fields: impl Iterator<Item = (String, String)>) -> Status {
    let mut details = ErrorDetails::new();
    for (field, description) in fields {
        details.add_bad_request_violation(field, description);
    }
    Status::with_error_details(Code::InvalidArgument, message, details)
}

/// A failed request to the API server. An invalid object is `INVALID_ARGUMENT` with the text that kubectl prints; what may
/// pass by itself is `UNAVAILABLE`.
pub(super) fn of_kube(error: &kube::Error) -> Status {
    match error {
        kube::Error::Api(refusal) => of_refusal(refusal),
        // The causes name hosts of the cluster, which are not for clients.
        other => Status::unavailable(format!("the Kubernetes API server does not answer: {other}")),
    }
}

/// A refusal of the API server.
fn of_refusal(refusal: &Refusal) -> Status {
    let message = words(refusal);
    let causes = || causes(refusal);
    match classify_status(refusal) {
        Class::Invalid | Class::Denied if refusal.code == 422 => {
            bad_request(as_kubectl_prints(refusal), causes().map(|cause| (cause.field.clone(), cause.message.clone())))
        }
        Class::Invalid | Class::Denied => Status::invalid_argument(message),
        Class::NamespaceTerminating => Status::failed_precondition(message),
        Class::Quota => Status::resource_exhausted(message),
        Class::Forbidden => Status::permission_denied(message),
        Class::Gone => Status::not_found(message),
        Class::Conflict | Class::AlreadyExists => Status::aborted(message),
        // As a rule, the webhook that failed is this controller's own, which is away for a moment.
        Class::TooManyRequests | Class::WebhookFailed | Class::Away | Class::NotLeading | Class::Other => {
            Status::unavailable(message)
        }
    }
}

/// The causes that name a field; not the one that says that other rules were skipped.
fn causes(refusal: &Refusal) -> impl Iterator<Item = &StatusCause> {
    let causes = refusal.details.iter().flat_map(|details| &details.causes);
    causes.filter(|cause| cause.field != NO_FIELD)
}

/// What kubectl prints for an invalid object.
fn as_kubectl_prints(refusal: &Refusal) -> String {
    let Some(details) = &refusal.details else { return format!("The request is invalid: {}", refusal.message) };
    let mut text = if details.kind.is_empty() && details.name.is_empty() {
        "The request is invalid".to_owned()
    } else {
        format!("The {} {:?} is invalid", details.kind, details.name)
    };
    let mut seen = BTreeSet::new();
    let line = |cause: &StatusCause| format!("{}: {}", cause.field, cause.message);
    let lines: Vec<String> = causes(refusal).map(line).filter(|line| seen.insert(line.clone())).collect();
    match &*lines {
        [] if details.kind.is_empty() && details.name.is_empty() => text = format!("{text}: {}", refusal.message),
        [] => {}
        [one] => text = format!("{text}: {one}"),
        many => {
            text.push_str(": ");
            for line in many {
                text.push_str("\n* ");
                text.push_str(line);
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(refusal: serde_json::Value) -> Status {
        of_kube(&kube::Error::Api(Box::new(serde_json::from_value(refusal).unwrap())))
    }

    #[test]
    fn each_refusal_has_the_code_that_says_what_helps() {
        let cause = json!([{"reason": "NamespaceTerminating", "message": "m", "field": "metadata.namespace"}]);
        let cases = [
            (json!({"code": 403, "message": "no", "details": {"causes": cause}}), Code::FailedPrecondition),
            (json!({"code": 403, "message": "x is forbidden: exceeded quota: q"}), Code::ResourceExhausted),
            (json!({"code": 403, "message": "x is forbidden: User y cannot create z"}), Code::PermissionDenied),
            (json!({"code": 403, "message": "admission webhook \"w\" denied the request: no"}), Code::InvalidArgument),
            (json!({"code": 400, "message": "admission webhook \"w\" denied the request: no"}), Code::InvalidArgument),
            (json!({"code": 404, "message": "namespaces \"x\" not found"}), Code::NotFound),
            (json!({"code": 429, "message": "too many"}), Code::Unavailable),
            (
                json!({"code": 500, "message": "Internal error occurred: failed calling webhook \"w\""}),
                Code::Unavailable,
            ),
            (json!({"code": 504, "message": "timeout"}), Code::Unavailable),
        ];
        for (refusal, code) in cases {
            let status = of(refusal.clone());
            assert_eq!((status.code(), status.message()), (code, refusal["message"].as_str().unwrap()));
        }
        let away = of_kube(&kube::Error::Service("connection refused".into()));
        assert_eq!(away.code(), Code::Unavailable);
    }

    #[test]
    fn an_invalid_object_has_the_text_of_kubectl_and_every_field() {
        let causes = json!([
            {"reason": "FieldValueInvalid", "message": "Invalid value: 0", "field": "spec.a"},
            {"reason": "FieldValueInvalid", "message": "Invalid value: 0", "field": "spec.a"},
            {"reason": "FieldValueRequired", "message": "Required value", "field": "spec.b"},
        ]);
        let mut refusal = json!({"code": 422, "message": "long", "reason": "Invalid",
            "details": {"name": "g", "group": "k8s.atomix.io", "kind": "PartitionSet", "causes": causes}});
        let status = of(refusal.clone());
        assert_eq!(status.code(), Code::InvalidArgument);
        assert_eq!(
            status.message(),
            "The PartitionSet \"g\" is invalid: \n* spec.a: Invalid value: 0\n* spec.b: Required value"
        );
        let details = status.get_error_details();
        let violations = &details.bad_request().unwrap().field_violations;
        assert_eq!(
            violations.last().map(|last| (last.field.as_str(), last.description.as_str())),
            Some(("spec.b", "Required value"))
        );
        refusal["details"]["causes"].as_array_mut().unwrap().truncate(1);
        assert_eq!(of(refusal).message(), "The PartitionSet \"g\" is invalid: spec.a: Invalid value: 0");
    }
}
