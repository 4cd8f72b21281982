//! How a set was created: over gRPC, or by another client of the API server such as kubectl.
//!
//! The API server records it: a set that was created over gRPC has an entry of our field manager in its `managedFields`,
//! since the first version of this controller. The entry outlives edits by others, because some fields (the protocol)
//! never change, and a copy that is made of the YAML of a set does not have it. A set whose `managedFields` were cleared
//! is treated as one that was not created over gRPC.

use kube::core::ObjectMeta;
use tonic::Status;

use crate::api::names::ObjectKey;

/// Field manager of what is created over gRPC; nothing is updated with it.
pub(super) const FIELD_MANAGER: &str = "atomix-api";

/// Whether a set was created over gRPC.
pub(super) fn is_grpc(metadata: &ObjectMeta) -> bool {
    metadata.managed_fields.iter().flatten().any(|entry| entry.manager.as_deref() == Some(FIELD_MANAGER))
}

/// The answer to a client that wants to delete another set.
pub(super) fn refusal(key: &ObjectKey) -> Status {
    let ObjectKey { namespace, name } = key;
    Status::permission_denied(format!(
        "group {key} was not created over gRPC: delete it with `kubectl delete partitionset {name} -n {namespace}` (the controller deletes any group with --grpc-delete=any)"
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_set_was_created_over_grpc_if_the_api_server_recorded_it() {
        let metadata = |managers: &[&str]| -> ObjectMeta {
            let entries: Vec<_> =
                managers.iter().map(|manager| json!({"manager": manager, "operation": "Update"})).collect();
            serde_json::from_value(json!({"managedFields": entries})).unwrap()
        };
        assert!(is_grpc(&metadata(&[FIELD_MANAGER])));
        assert!(is_grpc(&metadata(&["kubectl-edit", FIELD_MANAGER, "atomix-controller"])));
        assert!(!is_grpc(&metadata(&["kubectl-create", "atomix-controller"])));
        assert!(!is_grpc(&ObjectMeta::default()));
    }
}
