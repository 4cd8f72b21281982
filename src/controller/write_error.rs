//! Why an object is not as it should be, from what stands in the way to what the API server says.

use std::time::Duration;

use crate::api_error::{self, Class};

/// Why an object is not as it should be.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{kind} {name:?} {cause}")]
pub(super) struct Error {
    pub(super) kind: &'static str,
    pub(super) name: String,
    pub(super) cause: Cause,
}

/// What stands in the way.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum Cause {
    /// An object of that name exists, and has another owner: how, for people.
    #[error("exists and {0}: it is left alone; delete or rename it")]
    Collision(String),
    /// The object, or a former one of that name, is being deleted.
    #[error("is being deleted")]
    Deleting,
    /// The API server finds the object invalid.
    #[error("is refused by the API server: {0}")]
    Invalid(String),
    /// A policy or a webhook of the cluster denies the write. The message names it.
    #[error("is refused: {0}")]
    Denied(String),
    /// A quota of the namespace forbids it. The message names it, and how much of it is used.
    #[error("is refused: {0}")]
    Quota(String),
    /// The namespace is being deleted, and nothing can be created in it.
    #[error("is not written: the namespace is being deleted")]
    NamespaceTerminating,
    /// Another program changes the object again and again.
    #[error("is changed again and again by {by:?}: it is put right a few times a minute until that ends")]
    Contested {
        /// The field manager that was last seen to change it.
        by: String,
        /// When it is put right again.
        again: Duration,
    },
    /// The controller lacks a right, or a webhook of the cluster fails: as a rule, it takes an administrator.
    #[error("could not be brought up to date: {0}")]
    Blocked(String),
    /// Any other failure, which may pass: a conflict, an API server that is away.
    #[error("could not be brought up to date: {0}")]
    Failed(String),
}

impl Error {
    /// What a failed write of an object means.
    pub(super) fn of(kind: &'static str, name: &str, error: &kube::Error) -> Self {
        let message = api_error::message(error).into_owned();
        let cause = match api_error::classify(error) {
            Class::Invalid => Cause::Invalid(message),
            Class::Denied => Cause::Denied(message),
            Class::NamespaceTerminating => Cause::NamespaceTerminating,
            Class::Quota => Cause::Quota(message),
            Class::Forbidden | Class::WebhookFailed => Cause::Blocked(message),
            _ => Cause::Failed(message),
        };
        Self { kind, name: name.to_owned(), cause }
    }

    pub(super) fn is_collision(&self) -> bool {
        matches!(self.cause, Cause::Collision(_))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(status: serde_json::Value) -> Error {
        Error::of("Service", "g-1", &kube::Error::Api(Box::new(serde_json::from_value(status).unwrap())))
    }

    #[test]
    fn refusals_of_the_api_server_are_classified_by_what_helps() {
        let ending = json!({"code": 403, "message": "forbidden", "reason": "Forbidden",
            "details": {"causes": [{"reason": "NamespaceTerminating", "message": "m", "field": "metadata.namespace"}]}});
        assert!(matches!(of(ending).cause, Cause::NamespaceTerminating));
        let quota =
            json!({"code": 403, "message": "services \"g-1\" is forbidden: exceeded quota: q", "reason": "Forbidden"});
        assert!(matches!(of(quota).cause, Cause::Quota(_)));
        assert!(matches!(of(json!({"code": 403, "reason": "Forbidden", "message": "no"})).cause, Cause::Blocked(_)));
        let away = of(json!({"code": 500, "reason": "InternalError", "message": "away"}));
        assert!(matches!(away.cause, Cause::Failed(_)));
        assert_eq!(away.to_string(), r#"Service "g-1" could not be brought up to date: away"#);
        assert!(matches!(of(json!({"code": 422, "reason": "Invalid", "message": "bad"})).cause, Cause::Invalid(_)));
    }
}
