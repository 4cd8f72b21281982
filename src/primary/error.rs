//! Why a candidate cannot enter an election.

use super::record::Members;
use super::store;
use crate::api::names::ObjectKey;
use crate::api_error::{Class, classify, message};

/// Why a candidate cannot enter.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Error {
    #[error("partition {0} does not exist")]
    NotFound(ObjectKey),
    #[error("must be one of the partition's pods: {0}")]
    NotAMember(Members),
    /// A partition of the same name is being deleted, or has taken its place.
    #[error("partition {0} is being made anew: try again")]
    Replaced(ObjectKey),
    #[error("this replica is stopping: connect again, another one answers")]
    Stopping,
    #[error("too many partitions are looked up at once: try again")]
    Busy,
    /// The other replicas would take this one for dead.
    #[error("this replica cannot announce itself to the others; its log says why: try again, or another replica")]
    Unannounced,
    #[error("the Kubernetes API cannot be reached")]
    Away,
    #[error("the Kubernetes API refuses this controller: {0}")]
    Refused(String),
}

impl From<store::Error> for Error {
    fn from(error: store::Error) -> Self {
        match error {
            store::Error::Api(error) if classify(&error) == Class::Forbidden => {
                Self::Refused(message(&error).into_owned())
            }
            _ => Self::Away,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_api_server_that_refuses_is_not_one_that_cannot_be_reached() {
        let answered = |code: u16| {
            let refusal = serde_json::from_value(json!({"code": code, "message": "partitions is forbidden"})).unwrap();
            Error::from(store::Error::Api(kube::Error::Api(refusal)))
        };
        for code in [401, 403] {
            assert_eq!(answered(code), Error::Refused("partitions is forbidden".to_owned()));
        }
        for code in [429, 500, 503] {
            assert_eq!(answered(code), Error::Away);
        }
        assert_eq!(Error::from(store::Error::Api(kube::Error::Service("refused".into()))), Error::Away);
    }
}
