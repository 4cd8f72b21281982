//! Elections in the API: checks of a request, and the stream of a candidacy.

use std::sync::Arc;

use futures::StreamExt;
use futures::stream::{BoxStream, unfold};
use tonic::Status;

use super::proto::controller::{PartitionElectionResponse, PrimaryTerm};
use super::{ids, status};
use crate::api::names::{self, ObjectKey};
use crate::primary::{CandidateStream, End, Error, Hub, Update};
use crate::rules::Violation;
use crate::scope::Scope;

/// Enters candidates.
#[derive(Debug)]
pub(crate) struct Elections {
    hub: Arc<Hub>,
    scope: Scope,
}

impl Elections {
    /// Elections in `scope`; `hub` has the streams.
    pub(crate) fn new(hub: Arc<Hub>, scope: Scope) -> Self {
        Self { hub, scope }
    }

    /// Enters `member` as a candidate in a partition of `group` until the stream is dropped. The stream has the first term
    /// in which it is a candidate, and then each change.
    ///
    /// # Errors
    /// As the service's.
    pub(super) async fn enter(
        &self,
        group: ObjectKey,
        partition: i32,
        member: String,
    ) -> Result<BoxStream<'static, Result<PartitionElectionResponse, Status>>, Status> {
        ids::check_namespace(&group.namespace, "partition_id.group.namespace", &self.scope)?;
        if !ids::is_name(&group.name) {
            let detail = "must be the name of a group, a DNS-1123 subdomain";
            return Err(status::invalid(&[Violation::invalid("partition_id.group.name", &group.name, detail)]));
        }
        if partition < 1 {
            let detail = "must be greater than or equal to 1";
            return Err(status::invalid(&[Violation::invalid("partition_id.partition", &partition, detail)]));
        }
        if member.is_empty() {
            return Err(status::required("member"));
        }
        let key = ObjectKey::new(group.namespace, names::partition(&group.name, i64::from(partition)));
        let entered = self.hub.enter(key, &member).await.map_err(|error| match error {
            Error::NotFound(_) => Status::not_found(error.to_string()),
            Error::NotAMember(_) => status::invalid(&[Violation::invalid("member", &member, error.to_string())]),
            // The controller lacks a right, so trying again does not help.
            Error::Refused(_) => Status::permission_denied(error.to_string()),
            Error::Stopping | Error::Unannounced | Error::Away | Error::Busy | Error::Replaced(_) => {
                Status::unavailable(error.to_string())
            }
        })?;
        Ok(unfold(Some(entered), follow).boxed())
    }
}

/// The next message of a stream. With the last one the candidacy is dropped.
async fn follow(
    stream: Option<CandidateStream>,
) -> Option<(Result<PartitionElectionResponse, Status>, Option<CandidateStream>)> {
    let mut stream = stream?;
    Some(match stream.next().await {
        Some(Update::Term(term)) => {
            let term = PrimaryTerm { term: term.number, primary: term.primary, candidates: term.candidates };
            (Ok(PartitionElectionResponse { term: Some(term) }), Some(stream))
        }
        Some(Update::End(end)) => (Err(ended(end)), None),
        None => (Err(ended(End::Stopping)), None),
    })
}

fn ended(end: End) -> Status {
    match end {
        End::Replaced => Status::aborted("a newer stream of the same member has taken the place of this one"),
        End::NoMember => Status::aborted("the partition has become smaller and does not have this member any more"),
        End::Deleted => Status::not_found("the partition was deleted"),
        End::Stopping => Status::unavailable(Error::Stopping.to_string()),
    }
}
