//! What the API server asks: the request in an `AdmissionReview` of `admission.k8s.io/v1`.

use serde::Deserialize;
use serde_json::Value;

pub(super) const API_VERSION: &str = "admission.k8s.io/v1";
pub(super) const KIND: &str = "AdmissionReview";

/// Why a body is not a review that can be answered.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The body is no JSON, or none of the form of an `AdmissionReview`.
    #[error("reading the body as an AdmissionReview: {0}")]
    Json(#[from] serde_json::Error),
    /// The body is an object of another kind or version.
    #[error("expected kind {KIND} of {API_VERSION}")]
    OtherKind,
    /// There is no request in the review, or none with a `uid`.
    #[error("the AdmissionReview has no request with a uid")]
    NoRequest,
    /// The request can be answered, though not read.
    #[error("reading the request of the AdmissionReview: {error}")]
    Request {
        /// Names the answer.
        uid: String,
        /// What is wrong.
        error: serde_json::Error,
    },
}

/// Group, version and kind.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
pub struct GroupVersionKind {
    /// API group, empty for the core group.
    #[serde(default)]
    pub group: String,
    /// Version in the group.
    #[serde(default)]
    pub version: String,
    /// Kind in CamelCase.
    #[serde(default)]
    pub kind: String,
}

/// Group, version and resource.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
pub struct GroupVersionResource {
    /// API group, empty for the core group.
    #[serde(default)]
    pub group: String,
    /// Version in the group.
    #[serde(default)]
    pub version: String,
    /// Lower case plural.
    #[serde(default)]
    pub resource: String,
}

/// Who asks.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct UserInfo {
    /// Name that the API server authenticated.
    #[serde(default)]
    pub username: String,
}

/// What is done to the object.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "UPPERCASE")]
pub enum Operation {
    /// The object is new.
    Create,
    /// The object changes.
    Update,
    /// The object goes.
    Delete,
    /// A connection, for instance `exec`.
    Connect,
    /// One that this version does not know.
    #[default]
    #[serde(other)]
    Other,
}

impl Operation {
    /// As the API server writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Create => "CREATE",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
            Self::Connect => "CONNECT",
            Self::Other => "other",
        }
    }
}

/// What the API server asks.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Request {
    /// Names the answer; unique.
    pub uid: String,
    /// Kind of `object`.
    #[serde(default)]
    pub kind: GroupVersionKind,
    /// Resource that the rule of the webhook configuration matched.
    #[serde(default)]
    pub resource: GroupVersionResource,
    /// `scale`, `status`, ... or nothing.
    #[serde(default)]
    pub sub_resource: String,
    /// Name of the object; empty while it is yet to be generated.
    #[serde(default)]
    pub name: String,
    /// Namespace of the object.
    #[serde(default)]
    pub namespace: String,
    /// What is done.
    #[serde(default)]
    pub operation: Operation,
    /// Who does it.
    #[serde(default)]
    pub user_info: UserInfo,
    /// How it is asked for; of whatever form, since it decides nothing.
    #[serde(default)]
    pub options: Value,
    /// The object as it would be; null for a deletion.
    #[serde(default)]
    pub object: Value,
    /// The object as it is; null for a creation.
    #[serde(default)]
    pub old_object: Value,
}

impl Request {
    /// The name, or what the object says of it: the prefix of one that is yet to be generated.
    #[must_use]
    pub fn display_name(&self) -> &str {
        if !self.name.is_empty() {
            return &self.name;
        }
        let text = |field: &str| self.object.pointer(field).and_then(Value::as_str).filter(|text| !text.is_empty());
        text("/metadata/name").or_else(|| text("/metadata/generateName")).unwrap_or_default()
    }

    /// The old object, if there is one.
    #[must_use]
    pub fn old(&self) -> Option<&Value> {
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

/// Reads the body of a request to a webhook. The depth of the JSON is bounded by the parser.
///
/// # Errors
/// [`Error`], of which [`Error::Request`] can still be answered by a review.
pub fn parse(body: &[u8]) -> Result<Request, Error> {
    let review: ReviewIn = serde_json::from_slice(body).map_err(|error| with_uid(body, error))?;
    if review.api_version != API_VERSION || review.kind != KIND {
        return Err(Error::OtherKind);
    }
    review.request.filter(|request| !request.uid.is_empty()).ok_or(Error::NoRequest)
}

/// A second, lenient look at a body that the types did not fit.
fn with_uid(body: &[u8], error: serde_json::Error) -> Error {
    let Ok(review) = serde_json::from_slice::<Value>(body) else { return Error::Json(error) };
    let ours = review["apiVersion"] == API_VERSION && review["kind"] == KIND;
    match review["request"]["uid"].as_str().filter(|uid| ours && !uid.is_empty()) {
        Some(uid) => Error::Request { uid: uid.to_owned(), error },
        None => Error::Json(error),
    }
}

#[cfg(test)]
#[path = "review_tests.rs"]
mod tests;
