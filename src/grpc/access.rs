//! What the API lets whom do.

use std::sync::Arc;

use kube::Client;
use tonic::Status;
use tonic::metadata::MetadataMap;

use super::auth::{Action, Caller, Kubernetes, bearer};
use crate::api::names::ObjectKey;
use crate::scope::Scope;

/// What a request wants to do in a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// To find groups.
    Get,
    /// To create a group.
    Create,
    /// To delete a group.
    Delete,
    /// To stand for election in a partition.
    Enter,
}

impl Verb {
    /// What the API server is asked about. Creating has no name, as with kubectl: it is about what is not there yet.
    /// Who stands for election changes who is primary, which is in the status of the Partition.
    fn action(self, key: &ObjectKey) -> Action<'_> {
        let of_sets =
            |verb, name| Action { verb, resource: "partitionsets", subresource: "", namespace: &key.namespace, name };
        match self {
            Self::Get if key.name.is_empty() => of_sets("list", ""),
            Self::Get => of_sets("get", &key.name),
            Self::Create => of_sets("create", ""),
            Self::Delete => of_sets("delete", &key.name),
            Self::Enter => Action { resource: "partitions", subresource: "status", ..of_sets("update", &key.name) },
        }
    }
}

/// What is allowed.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// Whether groups can only be found, and not created or deleted. Nodes have to elect their primaries all the same.
    pub read_only: bool,
    /// The namespaces that are served.
    pub namespaces: Scope,
    /// Who knows who asks, and what they may do; without it everybody may do what the others allow.
    pub authority: Option<Arc<Kubernetes>>,
}

impl Access {
    /// The same, for those only whom the API server lets do it.
    #[must_use]
    pub fn by_word_of(self, client: Client) -> Self {
        Self { authority: Some(Arc::new(Kubernetes::new(client))), ..self }
    }

    /// Says in the log what anybody may do. `encrypted` says whether what is sent is.
    pub fn report(&self, encrypted: bool) {
        let namespaces = &self.namespaces;
        match (&self.authority, self.read_only) {
            (Some(_), _) if !encrypted => tracing::warn!(
                "--grpc-auth without --grpc-certificate: bearer tokens come in the clear, and whoever reads one can use it"
            ),
            (Some(_), _) => {}
            (None, true) => tracing::info!(
                %namespaces,
                "the Atomix API is open: anybody who reaches it may find groups and stand for election"
            ),
            (None, false) => tracing::warn!(
                %namespaces,
                "the Atomix API is open: anybody who reaches it may create and delete groups in these namespaces; --grpc-auth=kubernetes, --grpc-client-ca, --grpc-read-only, --grpc-namespaces and a NetworkPolicy limit that"
            ),
        }
    }

    /// Who sends a request with that metadata.
    ///
    /// # Errors
    /// `UNAUTHENTICATED` if that has to be known and is not, `UNAVAILABLE` if nobody can say.
    pub async fn caller(&self, metadata: &MetadataMap) -> Result<Caller, Status> {
        match &self.authority {
            None => Ok(Caller::Anybody),
            Some(authority) => Ok(Caller::User(authority.identify(bearer(metadata)?).await?)),
        }
    }

    /// Lets a request of `caller` pass that may do `verb` to the group of that key, to all groups of its namespace if the
    /// name is empty, or, for [`Verb::Enter`], to the Partition of that key.
    ///
    /// # Errors
    /// `PERMISSION_DENIED` with what would have to be changed, `UNAVAILABLE` if nobody can say.
    pub async fn check(&self, caller: &Caller, verb: Verb, key: &ObjectKey) -> Result<(), Status> {
        if self.read_only && matches!(verb, Verb::Create | Verb::Delete) {
            return Err(Status::permission_denied(
                "the controller runs with --grpc-read-only: groups can only be found",
            ));
        }
        let namespace = &key.namespace;
        if !self.namespaces.includes(namespace) {
            return Err(Status::permission_denied(format!(
                "namespace {namespace:?} is not served over gRPC by this controller (--grpc-namespaces, --namespace)"
            )));
        }
        match (&self.authority, caller) {
            (None, _) => Ok(()),
            (Some(authority), Caller::User(user)) => authority.authorize(user, verb.action(key)).await,
            (Some(_), Caller::Anybody) => Err(Status::unauthenticated("this controller wants to know who asks")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_verb_is_a_right_that_roles_can_grant() {
        let (group, all) = (ObjectKey::new("ns", "g"), ObjectKey::new("ns", ""));
        let right = |verb: Verb, key| {
            let Action { verb, resource, subresource, namespace, name } = verb.action(key);
            [verb, resource, subresource, namespace, name].join(" ")
        };
        assert_eq!(right(Verb::Get, &group), "get partitionsets  ns g");
        assert_eq!(right(Verb::Get, &all), "list partitionsets  ns ");
        assert_eq!(right(Verb::Create, &group), "create partitionsets  ns ");
        assert_eq!(right(Verb::Delete, &group), "delete partitionsets  ns g");
        assert_eq!(right(Verb::Enter, &ObjectKey::new("ns", "g-1")), "update partitions status ns g-1");
    }
}
