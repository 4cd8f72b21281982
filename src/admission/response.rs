//! What the webhooks answer: the response in an `AdmissionReview` of `admission.k8s.io/v1`.
//!
//! kube's own type for it writes the patch as an array of numbers and denials without a code, which API servers refuse
//! or misread.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::Value;

use super::review::{API_VERSION, KIND};
use crate::rules::{Edit, Violation, violation};

/// Longest warning that the API server passes on whole, in characters.
const MAX_WARNING: usize = 256;
/// Characters of all warnings together that the API server passes on.
const MAX_WARNINGS: usize = 4096;
/// Stands at the end of a warning that was cut.
const CUT: &str = "...";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ReviewOut<'a> {
    api_version: &'static str,
    kind: &'static str,
    response: &'a Response,
}

/// The answer.
#[derive(Clone, Debug, Default, Serialize, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Response {
    uid: String,
    /// Whether the request may go on.
    pub allowed: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
}

/// `metav1.Status`, as far as a denial needs it.
#[derive(Clone, Debug, Default, Serialize, PartialEq, Eq)]
#[allow(clippy::struct_field_names)] // The names are those of Kubernetes.
pub struct Status {
    status: &'static str,
    /// For people.
    pub message: String,
    /// One word for programs.
    pub reason: &'static str,
    /// HTTP status that the client gets.
    pub code: u16,
    /// What is wrong with which object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub details: Option<Box<Details>>,
}

/// `metav1.StatusDetails`.
#[derive(Clone, Debug, Default, Serialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Details {
    /// Name of the object.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// API group of the object.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub group: &'static str,
    /// Kind of the object.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub kind: &'static str,
    /// Everything that is wrong.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<Cause>,
    /// Seconds after which it makes sense to try again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after_seconds: Option<u32>,
}

/// `metav1.StatusCause`.
#[derive(Clone, Debug, Serialize, PartialEq, Eq)]
pub struct Cause {
    /// Kind of error.
    pub reason: &'static str,
    /// What is wrong, without the field.
    pub message: String,
    /// Path of the field in the user's manifest.
    pub field: String,
}

/// What a denial speaks of.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// API group.
    pub group: &'static str,
    /// Kind in CamelCase.
    pub kind: &'static str,
    /// Name, or the prefix of one.
    pub name: &'a str,
}

impl Response {
    /// The request may go on as it is.
    #[must_use]
    pub fn allow(uid: &str) -> Self {
        Self { uid: uid.to_owned(), allowed: true, ..Self::default() }
    }

    /// The request may go on with these changes, made in this order.
    #[must_use]
    pub fn patch(uid: &str, edits: &[Edit]) -> Self {
        let mut response = Self::allow(uid);
        if !edits.is_empty() {
            let operations: Vec<Value> = edits.iter().map(operation).collect();
            response.patch = Some(STANDARD.encode(Value::Array(operations).to_string()));
            response.patch_type = Some("JSONPatch");
        }
        response
    }

    /// The object breaks rules: `kubectl` prints them as it prints those of Kubernetes' own kinds.
    #[must_use]
    pub fn invalid(uid: &str, subject: Subject<'_>, violations: &[Violation]) -> Self {
        let Subject { group, kind, name } = subject;
        let message = format!("{kind}.{group} {name:?} is invalid: {}", violation::join(violations));
        let causes = violations
            .iter()
            .map(|violation| Cause {
                reason: violation.reason.cause(),
                message: violation.message(),
                field: violation.field.clone(),
            })
            .collect();
        let details = Details { name: name.to_owned(), group, kind, causes, retry_after_seconds: None };
        Self::deny(uid, 422, "Invalid", message, Some(details))
    }

    /// The user may not do this.
    #[must_use]
    pub fn forbidden(uid: &str, message: String) -> Self {
        Self::deny(uid, 403, "Forbidden", message, None)
    }

    /// The request may succeed a second later; clients try again by themselves.
    #[must_use]
    pub fn try_again(uid: &str, message: String) -> Self {
        let details = Details { retry_after_seconds: Some(1), ..Details::default() };
        Self::deny(uid, 429, "TooManyRequests", message, Some(details))
    }

    /// This process cannot judge the request yet.
    #[must_use]
    pub fn unavailable(uid: &str, message: String) -> Self {
        let details = Details { retry_after_seconds: Some(1), ..Details::default() };
        Self::deny(uid, 503, "ServiceUnavailable", message, Some(details))
    }

    /// The request has a uid and is not of the form of a request.
    #[must_use]
    pub fn bad_request(uid: &str, message: String) -> Self {
        Self::deny(uid, 400, "BadRequest", message, None)
    }

    /// The review would take too much memory to read.
    #[must_use]
    pub fn too_large(uid: &str) -> Self {
        let message = "the object has too many parts for the Atomix controller to judge it".to_owned();
        Self::deny(uid, 413, "RequestEntityTooLarge", message, None)
    }

    /// A bug.
    #[must_use]
    pub fn internal_error(uid: &str) -> Self {
        let message = "the Atomix controller failed to judge this request; see its log".to_owned();
        Self::deny(uid, 500, "InternalError", message, None)
    }

    fn deny(uid: &str, code: u16, reason: &'static str, message: String, details: Option<Details>) -> Self {
        let status = Status { status: "Failure", message, reason, code, details: details.map(Box::new) };
        Self { uid: uid.to_owned(), status: Some(status), ..Self::default() }
    }

    /// The same answer with warnings, made fit for what the API server lets pass.
    #[must_use]
    pub fn warn(mut self, warnings: &[String]) -> Self {
        self.warnings = sanitise(warnings);
        self
    }

    /// Names the request that this answers.
    #[must_use]
    pub fn uid(&self) -> &str {
        &self.uid
    }

    /// Whether the answer changes the object.
    #[must_use]
    pub const fn is_patched(&self) -> bool {
        self.patch.is_some()
    }

    /// The `AdmissionReview` to send.
    ///
    /// # Errors
    /// Only if an answer cannot be written as JSON, which holds nothing but text and numbers.
    pub fn render(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(&ReviewOut { api_version: API_VERSION, kind: KIND, response: self })
    }
}

/// An operation of a JSON patch: `add` replaces a field that is there.
fn operation(edit: &Edit) -> Value {
    match &edit.value {
        Some(value) => serde_json::json!({ "op": "add", "path": edit.pointer, "value": value }),
        None => serde_json::json!({ "op": "remove", "path": edit.pointer }),
    }
}

/// A control character would make the API server drop the warning without a word, and so would more characters than
/// it takes.
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
