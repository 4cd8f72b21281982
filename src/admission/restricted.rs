//! `/restricted`: asked about `PartitionSets` of namespaces that enforce the "restricted" pod security standard.
//!
//! The controller has no right to read namespaces. The API server knows their labels: the `namespaceSelector` of this
//! webhook names the one by which the standard is enforced.

use super::response::Response;
use super::review::Request;
use crate::rules;

/// Warns of pods that the namespace will refuse.
pub(super) fn partition_set(request: &Request) -> Response {
    Response::allow(&request.uid).warn(&rules::restricted(&request.object, request.old()))
}
