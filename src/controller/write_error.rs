//! Why an object is not as it should be, from what stands in the way to what the API server says.

use std::time::Duration;

use crate::api_error::{self, Class};

/// Why an object is not as it should be.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// An object of that name exists and belongs to somebody else.
    #[error("{kind} {name:?} exists and {owner}: it is left alone; delete or rename it")]
    Collision {
        /// Kind of the object.
        kind: String,
        /// Name of the object.
        name: String,
        /// Whose it is.
        owner: String,
    },
    /// The object, or a former one of that name, is being deleted.
    #[error("{kind} {name:?} is being deleted")]
    Deleting {
        /// Kind of the object.
        kind: String,
        /// Name of the object.
        name: String,
    },
    /// The API server finds the object invalid.
    #[error("{kind} {name:?} is refused by the API server: {message}")]
    Invalid {
        /// Kind of the object.
        kind: String,
        /// Name of the object.
        name: String,
        /// What the API server says.
        message: String,
    },
    /// A policy or a webhook of the cluster denies the write.
    #[error("{kind} {name:?} is refused: {message}")]
    Denied {
        /// Kind of the object.
        kind: String,
        /// Name of the object.
        name: String,
        /// What the API server says: which policy, and its words.
        message: String,
    },
    /// A quota of the namespace forbids it.
    #[error("{kind} {name:?} is refused: {message}")]
    Quota {
        /// Kind of the object.
        kind: String,
        /// Name of the object.
        name: String,
        /// What the API server says: which quota, and how much of it is used.
        message: String,
    },
    /// The namespace is being deleted, and nothing may be made in it any more.
    #[error("the namespace is being deleted")]
    NamespaceEnds,
    /// Another program changes the object again and again.
    #[error(
        "{kind} {name:?} is changed again and again by {by:?}: it is put right a few times a minute until that ends"
    )]
    Contested {
        /// Kind of the object.
        kind: String,
        /// Name of the object.
        name: String,
        /// The field manager that was last seen to change it.
        by: String,
        /// When it is put right again.
        again: Duration,
    },
    /// The controller lacks a right, or a webhook of the cluster fails: as a rule, somebody has to see to it.
    #[error("{kind} {name:?} could not be brought up to date: {message}")]
    Blocked {
        /// Kind of the object.
        kind: String,
        /// Name of the object.
        name: String,
        /// What the API server says.
        message: String,
    },
    /// Any other failure, which may pass: a conflict, an API server that is away.
    #[error("{kind} {name:?} could not be brought up to date: {message}")]
    Failed {
        /// Kind of the object.
        kind: String,
        /// Name of the object.
        name: String,
        /// What went wrong.
        message: String,
    },
}

/// What a failed write of an object means.
pub(super) fn failed(kind: &str, name: &str, error: &kube::Error) -> Error {
    let (kind, name, message) = (kind.to_owned(), name.to_owned(), api_error::message(error).into_owned());
    match api_error::classify(error) {
        Class::Invalid => Error::Invalid { kind, name, message },
        Class::Denied => Error::Denied { kind, name, message },
        Class::NamespaceTerminating => Error::NamespaceEnds,
        Class::Quota => Error::Quota { kind, name, message },
        Class::Forbidden | Class::WebhookFailed => Error::Blocked { kind, name, message },
        _ => Error::Failed { kind, name, message },
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(status: serde_json::Value) -> Error {
        failed("Service", "g-1", &kube::Error::Api(Box::new(serde_json::from_value(status).unwrap())))
    }

    #[test]
    fn what_the_api_server_refuses_is_told_apart_by_what_helps() {
        let ending = json!({"code": 403, "message": "forbidden", "reason": "Forbidden",
            "details": {"causes": [{"reason": "NamespaceTerminating", "message": "m", "field": "metadata.namespace"}]}});
        assert!(matches!(of(ending), Error::NamespaceEnds));
        let quota =
            json!({"code": 403, "message": "services \"g-1\" is forbidden: exceeded quota: q", "reason": "Forbidden"});
        assert!(matches!(of(quota), Error::Quota { .. }));
        assert!(matches!(of(json!({"code": 403, "reason": "Forbidden", "message": "no"})), Error::Blocked { .. }));
        let away = of(json!({"code": 500, "reason": "InternalError", "message": "away"}));
        assert!(matches!(away, Error::Failed { .. }));
        assert_eq!(away.to_string(), r#"Service "g-1" could not be brought up to date: away"#);
        assert!(matches!(of(json!({"code": 422, "reason": "Invalid", "message": "bad"})), Error::Invalid { .. }));
    }
}
