//! The response in an `AdmissionReview` of `admission.k8s.io/v1`.
//!
//! kube's own type for it writes the patch as an array of numbers and denials without a code, which API servers refuse
//! or misread.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kube::core::Status;
use kube::core::response::{StatusCause, StatusDetails};
use serde::Serialize;
use serde_json::{Value, json};

use super::review::{API_VERSION, KIND};
use crate::rules::{Edit, Violation, violation};

/// Longest warning that the API server passes on whole, in characters.
const MAX_WARNING: usize = 256;
/// Characters of all warnings together that the API server passes on.
const MAX_WARNINGS: usize = 4096;
/// End of a text that was cut.
const CUT: &str = "...";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ReviewOut<'a> {
    api_version: &'static str,
    kind: &'static str,
    response: &'a Response,
}

/// The response in an `AdmissionReview`.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Response {
    pub(super) uid: String,
    pub(super) allowed: bool,
    /// Why the request is denied.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) status: Option<Box<Status>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
}

/// The object that a denial names.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Subject<'a> {
    pub(super) group: &'static str,
    pub(super) kind: &'static str,
    /// Name, or the prefix of one.
    pub(super) name: &'a str,
}

impl Response {
    /// Allows the request as it is.
    pub(super) fn allow(uid: &str) -> Self {
        Self { uid: uid.to_owned(), allowed: true, ..Self::default() }
    }

    /// Allows the request with these changes, made in this order.
    pub(super) fn patch(uid: &str, edits: &[Edit]) -> Self {
        let mut response = Self::allow(uid);
        if !edits.is_empty() {
            let operations: Vec<Value> = edits.iter().map(operation).collect();
            response.patch = Some(STANDARD.encode(Value::Array(operations).to_string()));
            response.patch_type = Some("JSONPatch");
        }
        response
    }

    /// The object breaks rules: `kubectl` prints them as it prints those of Kubernetes' own kinds.
    pub(super) fn invalid(uid: &str, subject: Subject<'_>, violations: &[Violation]) -> Self {
        let Subject { group, kind, name } = subject;
        let message = format!("{kind}.{group} {name:?} is invalid: {}", violation::join(violations));
        let causes = violations.iter().map(|violation| StatusCause {
            reason: violation.reason.cause().to_owned(),
            message: violation.message(),
            field: violation.field.clone(),
        });
        Self::deny(uid, 422, "Invalid", &message).with_details(subject, causes.collect(), 0)
    }

    /// The user may not do this.
    pub(super) fn forbidden(uid: &str, message: &str) -> Self {
        Self::deny(uid, 403, "Forbidden", message)
    }

    /// The request may succeed a second later; clients try again by themselves.
    pub(super) fn try_again(uid: &str, message: &str) -> Self {
        Self::deny(uid, 429, "TooManyRequests", message).with_details(Subject::default(), Vec::new(), 1)
    }

    /// This replica cannot judge the request yet.
    pub(super) fn unavailable(uid: &str, message: &str) -> Self {
        Self::deny(uid, 503, "ServiceUnavailable", message).with_details(Subject::default(), Vec::new(), 1)
    }

    /// The request has a uid and is not of the form of a request.
    pub(super) fn bad_request(uid: &str, message: &str) -> Self {
        Self::deny(uid, 400, "BadRequest", message)
    }

    /// The review would take too much memory to read.
    pub(super) fn too_large(uid: &str) -> Self {
        let message = "the object has too many parts for the Atomix controller to judge it";
        Self::deny(uid, 413, "RequestEntityTooLarge", message)
    }

    /// The decision panicked.
    pub(super) fn internal_error(uid: &str) -> Self {
        let message = "the Atomix controller failed to judge this request; see its log";
        Self::deny(uid, 500, "InternalError", message)
    }

    fn deny(uid: &str, code: u16, reason: &str, message: &str) -> Self {
        let status = Status::failure(message, reason).with_code(code);
        Self { uid: uid.to_owned(), status: Some(status.boxed()), ..Self::default() }
    }

    fn with_details(mut self, subject: Subject<'_>, causes: Vec<StatusCause>, retry_after_seconds: u32) -> Self {
        if let Some(status) = &mut self.status {
            let (group, kind, name) = (subject.group.to_owned(), subject.kind.to_owned(), subject.name.to_owned());
            status.details = Some(StatusDetails { group, kind, name, causes, retry_after_seconds, uid: String::new() });
        }
        self
    }

    /// The same answer with warnings, shortened to what the API server passes on.
    pub(super) fn warn(mut self, warnings: &[String]) -> Self {
        self.warnings = sanitise(warnings);
        self
    }

    /// Whether the answer changes the object.
    pub(super) const fn is_patched(&self) -> bool {
        self.patch.is_some()
    }

    /// The `AdmissionReview` to send.
    pub(super) fn render(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(&ReviewOut { api_version: API_VERSION, kind: KIND, response: self })
    }
}

/// An operation of a JSON patch: `add` replaces a field that is there.
fn operation(edit: &Edit) -> Value {
    match &edit.value {
        Some(value) => json!({ "op": "add", "path": edit.pointer, "value": value }),
        None => json!({ "op": "remove", "path": edit.pointer }),
    }
}

/// The API server silently drops a warning with a control character, and what exceeds its limits.
fn sanitise(warnings: &[String]) -> Vec<String> {
    let mut left = MAX_WARNINGS;
    let mut fit = Vec::new();
    for warning in warnings {
        let warning = shorten(warning, MAX_WARNING);
        let Some(rest) = left.checked_sub(warning.chars().count()) else { break };
        left = rest;
        fit.push(warning.chars().map(|c| if c.is_control() { ' ' } else { c }).collect());
    }
    fit
}

/// At most `max` characters of `text`.
pub(super) fn shorten(text: &str, max: usize) -> Cow<'_, str> {
    if text.chars().nth(max).is_none() {
        return Cow::Borrowed(text);
    }
    let kept: String = text.chars().take(max.saturating_sub(CUT.len())).collect();
    Cow::Owned(kept + CUT)
}

#[cfg(test)]
#[path = "response_tests.rs"]
mod tests;
