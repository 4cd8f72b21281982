//! The ids in requests.

use tonic::Status;

use super::proto::controller::{PartitionGroupId, PartitionId};
use super::status;
use crate::api::names::ObjectKey;
use crate::rules::Violation;
use crate::rules::syntax::is_dns_1123_subdomain;
use crate::scope::Scope;

/// Namespace of an id that names none.
const DEFAULT_NAMESPACE: &str = "default";
/// Longest name of a namespace.
const MAX_NAMESPACE: usize = 63;

/// The group that an id names; its name may be empty.
///
/// # Errors
/// `INVALID_ARGUMENT` if there is no id.
pub(super) fn group(id: Option<PartitionGroupId>) -> Result<ObjectKey, Status> {
    let PartitionGroupId { name, namespace } = id.ok_or_else(|| status::required("id"))?;
    let namespace = if namespace.is_empty() { DEFAULT_NAMESPACE.to_owned() } else { namespace };
    Ok(ObjectKey::new(namespace, name))
}

/// The group that an id names, with a name.
///
/// # Errors
/// `INVALID_ARGUMENT` if there is no id, or no name in it.
pub(super) fn named_group(id: Option<PartitionGroupId>) -> Result<ObjectKey, Status> {
    let key = group(id)?;
    if key.name.is_empty() {
        return Err(status::required("id.name"));
    }
    Ok(key)
}

/// The group and the number of the partition that an id names.
///
/// # Errors
/// `INVALID_ARGUMENT` if the id is missing or names no group.
pub(super) fn partition(id: Option<PartitionId>) -> Result<(ObjectKey, i32), Status> {
    let PartitionId { partition, group } = id.ok_or_else(|| status::required("partition_id"))?;
    let group = group.filter(|group| !group.name.is_empty());
    if group.is_none() {
        return Err(status::required("partition_id.group.name"));
    }
    Ok((self::group(group)?, partition))
}

/// Checks that the namespace which `field` of a request names can be one, and is in `scope`. It becomes a part of a path of
/// the API server.
///
/// # Errors
/// `INVALID_ARGUMENT` or `PERMISSION_DENIED`.
pub(super) fn check_namespace(namespace: &str, field: &str, scope: &Scope) -> Result<(), Status> {
    if namespace.len() > MAX_NAMESPACE || namespace.contains('.') || !is_dns_1123_subdomain(namespace) {
        let detail = "must be the name of a namespace, a DNS-1123 label";
        return Err(status::invalid(&[Violation::invalid(field, &namespace, detail)]));
    }
    if !scope.includes(namespace) {
        return Err(Status::permission_denied(format!(
            "namespace {namespace:?} is not managed by this controller (--namespace)"
        )));
    }
    Ok(())
}

/// Whether an object can have that name: it becomes a part of a path of the API server.
pub(super) fn is_name(name: &str) -> bool {
    is_dns_1123_subdomain(name)
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;

    #[test]
    fn nothing_but_a_name_becomes_a_part_of_a_path() {
        for text in ["", "a/b", "a?b=c", "ns/partitions?z=", "A", "a b", "..", "a%2fb", &"a".repeat(254)] {
            assert!(!is_name(text), "{text}");
            let refused = check_namespace(text, "id.namespace", &Scope::All).unwrap_err();
            assert_eq!(refused.code(), Code::InvalidArgument);
            assert!(refused.message().starts_with("id.namespace: "), "{refused}");
        }
        assert!(is_name("a.b") && check_namespace("a.b", "f", &Scope::All).is_err());
        assert!(check_namespace("a", "f", &Scope::of(&["a".to_owned()])).is_ok());
        let refused = check_namespace("b", "f", &Scope::of(&["a".to_owned()])).unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied);
    }
}
