//! The request in an `AdmissionReview` of `admission.k8s.io/v1`.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

pub(super) const API_VERSION: &str = "admission.k8s.io/v1";
pub(super) const KIND: &str = "AdmissionReview";

/// Why a body is not a review that can be decided.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// The body is no JSON, or none of the form of an `AdmissionReview`.
    #[error("reading the body as an AdmissionReview: {0}")]
    Json(#[from] serde_json::Error),
    #[error("expected kind {KIND} of {API_VERSION}")]
    OtherKind,
    #[error("the AdmissionReview has no request with a uid")]
    NoRequest,
    /// The uid is known, so a review can answer.
    #[error("reading the request of the AdmissionReview: {error}")]
    Request { uid: String, error: serde_json::Error },
}

/// Kind of an object; its group and version decide nothing here.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Kind {
    pub(super) kind: String,
}

/// Resource that the rule of the webhook configuration matched.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Resource {
    /// Empty for the core group.
    pub(super) group: String,
    /// Lower case plural.
    pub(super) resource: String,
}

/// User who makes the request.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct UserInfo {
    pub(super) username: String,
}

/// What is done to the object.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "UPPERCASE")]
pub(super) enum Operation {
    Create,
    Update,
    Delete,
    /// A connection, for instance `exec`.
    Connect,
    /// An operation that this version does not know.
    #[default]
    #[serde(other)]
    Other,
}

impl Operation {
    /// Value of the metrics' label.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Create => "CREATE",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
            Self::Connect => "CONNECT",
            Self::Other => "other",
        }
    }
}

/// The request of an `AdmissionReview`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Request {
    /// Identifies the answer; unique.
    pub(super) uid: String,
    pub(super) kind: Kind,
    pub(super) resource: Resource,
    /// `scale`, `status`, ... or nothing.
    pub(super) sub_resource: String,
    /// Empty while the name is yet to be generated.
    pub(super) name: String,
    pub(super) namespace: String,
    pub(super) operation: Operation,
    pub(super) user_info: UserInfo,
    /// Options of the operation. They may have any form: no decision depends on them.
    pub(super) options: Value,
    /// The object as it would be; null for a deletion.
    pub(super) object: Value,
    /// The object as it is; null for a creation.
    pub(super) old_object: Value,
}

impl Request {
    /// The name, or the prefix of one that is yet to be generated.
    pub(super) fn display_name(&self) -> &str {
        if !self.name.is_empty() {
            return &self.name;
        }
        let text = |field: &str| self.object.pointer(field).and_then(Value::as_str).filter(|text| !text.is_empty());
        text("/metadata/name").or_else(|| text("/metadata/generateName")).unwrap_or_default()
    }

    /// The old object, if there is one.
    pub(super) fn old(&self) -> Option<&Value> {
        (!self.old_object.is_null()).then_some(&self.old_object)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ReviewIn {
    #[serde(default)]
    api_version: String,
    #[serde(default)]
    kind: String,
    request: Option<Request>,
}

/// Reads the body of a request to a webhook. The parser bounds the depth of the JSON.
pub(super) fn parse(body: &[u8]) -> Result<Request, Error> {
    let review: ReviewIn = serde_json::from_slice(body).map_err(|error| match uid(body) {
        Some(uid) => Error::Request { uid, error },
        None => Error::Json(error),
    })?;
    if review.api_version != API_VERSION || review.kind != KIND {
        return Err(Error::OtherKind);
    }
    review.request.filter(|request| !request.uid.is_empty()).ok_or(Error::NoRequest)
}

/// The uid of the request in an `AdmissionReview` whose other parts are not read.
pub(super) fn uid(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Envelope<'a> {
        api_version: &'a str,
        kind: &'a str,
        /// A map, so that the last of two equal keys counts, as for the API server.
        #[serde(borrow)]
        request: HashMap<&'a str, &'a RawValue>,
    }
    let Envelope { api_version, kind, request } = serde_json::from_slice(body).ok()?;
    let uid: String = serde_json::from_str(request.get("uid")?.get()).ok()?;
    (api_version == API_VERSION && kind == KIND && !uid.is_empty()).then_some(uid)
}

#[cfg(test)]
#[path = "review_tests.rs"]
mod tests;
