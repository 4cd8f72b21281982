//! `/validate` for Partitions: only the controller writes them.

use serde_json::Value;

use super::response::{Response, Subject};
use super::review::Request;
use super::{Admission, Operation};
use crate::api::GROUP;
use crate::api::labels::{self, annotations};
use crate::rules;

const PARTITION: Subject<'static> = Subject { group: GROUP, kind: "Partition", name: "" };

/// Judges a Partition that is created or updated. Any user may change its metadata, or a Partition that is being deleted:
/// else finalizers could never be removed.
pub(super) fn partition(admission: &Admission, request: &Request) -> Response {
    let object = &request.object;
    let deleting = object.pointer("/metadata/deletionTimestamp").is_some_and(|time| !time.is_null());
    let spec_is_unchanged = request.operation == Operation::Update
        && request.old().is_some_and(|old| old.get("spec") == object.get("spec"));
    if deleting || spec_is_unchanged {
        return Response::allow(&request.uid);
    }
    match admission.own_username.get() {
        None => {
            let message = "the Atomix controller does not know its own user name yet, so it cannot tell who writes this Partition; try again";
            Response::unavailable(&request.uid, message)
        }
        Some(own) if *own == request.user_info.username => judge(request),
        Some(_) => Response::forbidden(&request.uid, &refusal(request.operation, object)),
    }
}

fn judge(request: &Request) -> Response {
    let violations = rules::partition(&request.object, request.old());
    if violations.is_empty() {
        Response::allow(&request.uid)
    } else {
        Response::invalid(&request.uid, Subject { name: request.display_name(), ..PARTITION }, &violations)
    }
}

/// The message names what to do instead. The user who creates a Partition is often a backup tool.
fn refusal(operation: Operation, object: &Value) -> String {
    let set = set_of(object).map_or_else(|| "its PartitionSet".to_owned(), |set| format!("PartitionSet {set:?}"));
    let instead = if operation == Operation::Create {
        format!("create {set} instead; a restore leaves partitions.{GROUP} out")
    } else {
        format!("edit {set} instead")
    };
    format!("Partitions are made by the Atomix controller: {instead}")
}

/// The set that a Partition names: by its owner, else by annotation or label.
fn set_of(partition: &Value) -> Option<&str> {
    let metadata = partition.get("metadata")?;
    let owner = metadata.get("ownerReferences").and_then(Value::as_array).and_then(|owners| {
        let owner = owners.iter().find(|owner| owner["controller"] == true && owner["kind"] == "PartitionSet")?;
        owner.get("name")
    });
    let marked = |place: &str, key: &str| metadata.get(place).and_then(|map| map.get(key));
    owner
        .or_else(|| marked("annotations", annotations::GROUP))
        .or_else(|| marked("labels", labels::GROUP))
        .and_then(Value::as_str)
        .filter(|name| !name.is_empty() && name.len() <= 253)
}
