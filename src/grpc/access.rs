//! What callers of the API may do.

use std::sync::Arc;

use kube::Client;
use tonic::Status;
use tonic::metadata::MetadataMap;

use super::auth::{Action, Caller, Kubernetes, bearer};
use crate::api::names::ObjectKey;
use crate::scope::Scope;

/// What a request does in a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    /// Finds groups.
    Get,
    Create,
    Delete,
    /// Enters the election of a partition.
    Enter,
}

impl Verb {
    /// Whether `--grpc-read-only` refuses it. Candidates change the election of a partition, and no group.
    const fn changes_groups(self) -> bool {
        match self {
            Self::Create | Self::Delete => true,
            Self::Get | Self::Enter => false,
        }
    }

    /// The right that it takes. Creating names no object, as with kubectl. An election changes the primary, which is in
    /// the status of the Partition.
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
pub(crate) struct Access {
    /// Whether groups can only be found, and not created or deleted. Nodes elect their primaries all the same.
    pub(crate) read_only: bool,
    /// Whether groups are deleted that were not created over gRPC.
    pub(crate) delete_any: bool,
    /// The namespaces that are served.
    pub(crate) namespaces: Scope,
    /// Authenticates and authorizes callers; without it every caller has the same rights.
    pub(crate) authority: Option<Arc<Kubernetes>>,
}

impl Access {
    /// The same, limited to the rights that each caller has in the cluster.
    pub(crate) fn authorized_by(self, client: Client) -> Self {
        Self { authority: Some(Arc::new(Kubernetes::new(client))), ..self }
    }

    /// Whether a caller with the right to delete groups may delete any of them. Where callers are authorized, the right
    /// alone decides, as it does with kubectl.
    pub(super) fn deletes_any(&self) -> bool {
        self.delete_any || self.authority.is_some()
    }

    /// Logs what is open to every client. `encrypted` is whether connections are.
    pub(crate) fn report(&self, encrypted: bool) {
        let namespaces = &self.namespaces;
        match (&self.authority, self.read_only) {
            (Some(_), _) if !encrypted => tracing::warn!(
                "--grpc-auth without --grpc-certificate: bearer tokens are sent in the clear, and can be used by every program that reads them on their way"
            ),
            (Some(_), _) => {}
            (None, true) => tracing::info!(
                %namespaces,
                "the Atomix API is open: every client that reaches it may find groups and enter elections"
            ),
            (None, false) => tracing::warn!(
                %namespaces,
                deletable = if self.delete_any { "any group" } else { "groups that were created over gRPC" },
                "the Atomix API is open: every client that reaches it may create and delete groups in these namespaces; --grpc-auth=kubernetes, --grpc-client-ca, --grpc-read-only, --grpc-delete, --grpc-namespaces and a NetworkPolicy limit that"
            ),
        }
    }

    /// The caller of a request with that metadata.
    ///
    /// # Errors
    /// `UNAUTHENTICATED` if callers are authenticated and this one is not, `UNAVAILABLE` if the API server cannot be asked.
    pub(super) async fn caller(&self, metadata: &MetadataMap) -> Result<Caller, Status> {
        match &self.authority {
            None => Ok(Caller::Anonymous),
            Some(authority) => Ok(Caller::User(authority.identify(bearer(metadata)?).await?)),
        }
    }

    /// Checks that `caller` may do `verb` to the group of that key, to all groups of its namespace if the name is empty,
    /// or, for [`Verb::Enter`], to the Partition of that key.
    ///
    /// # Errors
    /// `PERMISSION_DENIED` that names the flag or the right, `UNAVAILABLE` if the API server cannot be asked.
    pub(super) async fn check(&self, caller: &Caller, verb: Verb, key: &ObjectKey) -> Result<(), Status> {
        if self.read_only && verb.changes_groups() {
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
            (Some(_), Caller::Anonymous) => Err(Status::unauthenticated("this controller authenticates callers")),
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
