//! Authentication and authorization of callers by the API server.
//!
//! A bearer token is checked by a `TokenReview`, and each kind of request by a `SubjectAccessReview` on the `PartitionSets`
//! of its namespace: a user has the same rights here as with kubectl. Answers are cached for seconds, under a hash: no
//! token is kept, logged or repeated in a message.

mod kubernetes;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use tonic::Status;
use tonic::metadata::MetadataMap;

pub(super) use self::kubernetes::Kubernetes;

/// The caller of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Caller {
    /// Callers are not authenticated.
    Anonymous,
    User(Arc<User>),
}

/// A user as the API server knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct User {
    /// Such as `system:serviceaccount:default:client`.
    name: String,
    uid: Option<String>,
    groups: Vec<String>,
    extra: BTreeMap<String, Vec<String>>,
}

/// An action as roles of the cluster name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Action<'a> {
    /// Such as `get`.
    pub(super) verb: &'static str,
    /// Such as `partitionsets`.
    pub(super) resource: &'static str,
    /// Such as `status`; may be empty.
    pub(super) subresource: &'static str,
    pub(super) namespace: &'a str,
    /// Empty for all objects, and for one that is to be created.
    pub(super) name: &'a str,
}

impl fmt::Display for Action<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { verb, resource, subresource, namespace, name } = self;
        let slash = if subresource.is_empty() { "" } else { "/" };
        write!(
            f,
            "{verb} resource \"{resource}{slash}{subresource}\" in API group \"k8s.atomix.io\" in the namespace {namespace:?}"
        )?;
        if name.is_empty() { Ok(()) } else { write!(f, " (name {name:?})") }
    }
}

/// Longest token that is sent on to the API server, in bytes. Those of the cluster have one or two KiB.
const MAX_TOKEN: usize = 8 * 1024;

/// The bearer token of a request.
///
/// # Errors
/// `UNAUTHENTICATED` if there is none, or it has more than 8 KiB.
pub(super) fn bearer(metadata: &MetadataMap) -> Result<&str, Status> {
    let header = metadata.get("authorization").ok_or_else(|| {
        Status::unauthenticated(
            "this controller authenticates callers: send the metadata `authorization: Bearer TOKEN`",
        )
    })?;
    let token = header.to_str().ok().and_then(|header| {
        let (scheme, token) = header.split_once(' ')?;
        (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token.trim())
    });
    let token = token
        .filter(|token| !token.is_empty())
        .ok_or_else(|| Status::unauthenticated("the metadata `authorization` is not `Bearer TOKEN`"))?;
    if token.len() > MAX_TOKEN {
        return Err(Status::unauthenticated("the bearer token has more than 8 KiB"));
    }
    Ok(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bearer_token_is_what_follows_the_scheme() {
        let token = |header: &str| {
            let mut metadata = MetadataMap::new();
            metadata.insert("authorization", header.parse().unwrap());
            bearer(&metadata).map(str::to_owned).map_err(|status| status.message().to_owned())
        };
        for good in ["Bearer a.b.c", "bearer a.b.c", "BEARER  a.b.c"] {
            assert_eq!(token(good), Ok("a.b.c".to_owned()));
        }
        for wrong in ["", "Bearer", "Bearer ", "Bearer  ", "Basic a.b.c", "a.b.c"] {
            let said = token(wrong).unwrap_err();
            assert!(said.contains("is not `Bearer TOKEN`") && !said.contains("a.b.c"), "{said}");
        }
        let long = |length: usize| token(&format!("Bearer {}", "a".repeat(length))).map(|token| token.len());
        assert_eq!(long(MAX_TOKEN), Ok(MAX_TOKEN));
        assert_eq!(long(MAX_TOKEN + 1), Err("the bearer token has more than 8 KiB".to_owned()));
        assert!(bearer(&MetadataMap::new()).unwrap_err().message().contains("authenticates callers"));
    }

    #[test]
    fn an_action_reads_as_in_the_api_servers_own_refusals() {
        let action =
            Action { verb: "update", resource: "partitions", subresource: "status", namespace: "ns", name: "g-1" };
        assert_eq!(
            action.to_string(),
            r#"update resource "partitions/status" in API group "k8s.atomix.io" in the namespace "ns" (name "g-1")"#
        );
        let list = Action { verb: "list", resource: "partitionsets", subresource: "", namespace: "ns", name: "" };
        assert_eq!(
            list.to_string(),
            r#"list resource "partitionsets" in API group "k8s.atomix.io" in the namespace "ns""#
        );
    }
}
