//! What a failed request to the API server means: one classification for reconcilers, gRPC, elections and certificates.
//!
//! Most classes follow from the code and the reason of the answer. Admission plugins, policies and webhooks answer with
//! codes of their own choice; these answers are recognised by the words of kube-apiserver's source, which its releases
//! keep stable.

use std::borrow::Cow;

use kube::core::Status;

/// What a failed request means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Class {
    /// The object has changed since it was read, or has another uid.
    Conflict,
    /// An object of that name exists.
    AlreadyExists,
    /// There is no such object, or no such namespace to create it in.
    Gone,
    /// A quota of the namespace is exhausted. A quota is checked before the name is: the object may exist.
    Quota,
    /// A policy, a webhook or another admission plugin denied the request. An eviction: the pod has several disruption
    /// budgets.
    Denied,
    /// This process is not allowed to do that: unauthenticated, or without the right.
    Forbidden,
    /// The namespace is being deleted; nothing can be created in it.
    NamespaceTerminating,
    /// The object or the request is malformed, or breaks a rule of its schema.
    Invalid,
    /// The API server is busy. An eviction: a disruption budget does not allow it now.
    TooManyRequests,
    /// An admission webhook could not be called, or failed. The API server itself works.
    WebhookFailed,
    /// The API server was not reached, did not answer in time, or failed.
    Away,
    /// Not sent, or not waited for: this replica does not lead.
    NotLeading,
    /// Anything else: an answer that cannot be read, a request that cannot be built, a code that is not expected.
    Other,
}

impl Class {
    /// Whether the same request may succeed later as it is: the API server is away or busy, or a webhook is.
    pub(crate) fn is_transient(self) -> bool {
        matches!(self, Self::Away | Self::TooManyRequests | Self::WebhookFailed)
    }
}

/// Why the client of the controllers did not send a write, or did not wait for its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this replica does not lead, or not for long enough: nothing is written")]
pub(crate) struct NotLeading;

/// What a failed request means.
pub(crate) fn classify(error: &kube::Error) -> Class {
    match error {
        kube::Error::Api(status) => classify_status(status),
        kube::Error::Service(cause) if cause.is::<NotLeading>() => Class::NotLeading,
        kube::Error::HttpError(_)
        | kube::Error::SerdeError(_)
        | kube::Error::BuildRequest(_)
        | kube::Error::FromUtf8(_) => Class::Other,
        // Connections, TLS, timeouts, and credentials that cannot be had at the moment.
        _ => Class::Away,
    }
}

/// What an answer of the API server that is an error means.
pub(crate) fn classify_status(status: &Status) -> Class {
    match status.code {
        409 if status.reason == "AlreadyExists" && !is_denied(status) => Class::AlreadyExists,
        429 => Class::TooManyRequests,
        _ if has_several_budgets(status) => Class::Denied,
        _ if is_too_large(status) => Class::Invalid,
        500.. if is_denied(status) || status.message.contains("failed calling webhook ") => Class::WebhookFailed,
        500.. => Class::Away,
        _ if is_denied(status) => Class::Denied,
        400 | 413 | 422 => Class::Invalid,
        401 => Class::Forbidden,
        403 => forbidden(status),
        404 => Class::Gone,
        409 => Class::Conflict,
        _ => Class::Other,
    }
}

/// The message of the API server, without what kube puts around it; the error itself if the API server did not answer.
pub(crate) fn message(error: &kube::Error) -> Cow<'_, str> {
    match error {
        kube::Error::Api(status) if !status.message.is_empty() => words(status),
        other => Cow::Owned(other.to_string()),
    }
}

/// The message of an answer of the API server, without remarks on its own workings.
pub(crate) fn words(status: &Status) -> Cow<'_, str> {
    let message = status.message.as_str();
    if is_too_large(status) {
        return Cow::Borrowed("the object is larger than etcd takes");
    }
    if !message.contains(NO_FIELD) {
        return Cow::Borrowed(message);
    }
    let unchecked = format!("{NO_FIELD}: Invalid value: null: {UNCHECKED}");
    let text = message.replace(&format!(", {unchecked}"), "").replace(&format!("{unchecked}, "), "");
    // Of a denial by owner references, the error that there is none.
    Cow::Owned(text.trim_end_matches(&format!(", {NO_FIELD}")).trim_end_matches(": ").to_owned())
}

/// The API server's text in the place of a field or an error that is not there.
pub(crate) const NO_FIELD: &str = "<nil>";
/// The API server's remark that it has not evaluated all rules of a schema. Its other errors stand beside it.
const UNCHECKED: &str = "some validation rules were not checked because the object was invalid; correct the existing errors to complete validation";

/// Whether the object is too large for etcd, or for its client in the API server, which answers with a code of its own
/// failures.
fn is_too_large(status: &Status) -> bool {
    let message = &status.message;
    status.code >= 500
        && (message.contains("etcdserver: request is too large")
            || message.contains("trying to send message larger than max"))
}

/// Whether the eviction of a pod is refused because more than one disruption budget selects it. The API server answers with
/// code 500.
pub(crate) fn has_several_budgets(status: &Status) -> bool {
    status.code == 500 && status.message.contains("more than one PodDisruptionBudget")
}

/// Whether a webhook or a policy denied a request. Both choose the code; the code of a denial says nothing about the
/// object.
fn is_denied(status: &Status) -> bool {
    let message = &status.message;
    // A policy that validates is named with its kind, after what is forbidden; one that mutates and fails is not.
    let by_policy = message.contains("AdmissionPolicy '") || message.starts_with("policy ");
    (message.starts_with("admission webhook ") && message.contains(" denied the request"))
        || (by_policy && message.contains(" denied request"))
}

/// What a 403 means. Authorization and every built-in admission plugin answer with it.
fn forbidden(status: &Status) -> Class {
    let message = &status.message;
    let mut causes = status.details.iter().flat_map(|details| &details.causes);
    if causes.any(|cause| cause.reason == "NamespaceTerminating") {
        return Class::NamespaceTerminating;
    }
    // ResourceQuota gives no cause. The second text is that of a quota that was made a moment ago.
    if message.contains("exceeded quota: ") || message.contains("status unknown for quota: ") {
        return Class::Quota;
    }
    // Authorization, and the admission plugin that checks the right to set an owner reference.
    let lacks_right = message.contains("User ") && message.contains(" cannot ");
    if lacks_right || message.contains(": cannot set blockOwnerDeletion ") || !message.contains(" is forbidden: ") {
        return Class::Forbidden;
    }
    Class::Denied
}

#[cfg(test)]
mod tests;
