//! `/restricted`, which gets `PartitionSets` of namespaces that enforce the "restricted" pod security standard.
//!
//! The controller has no right to read namespaces. The API server evaluates their labels: the `namespaceSelector` of this
//! webhook has the label that enforces the standard.

use super::response::Response;
use super::review::Request;
use crate::rules;

/// Warns of pods that the namespace refuses.
pub(super) fn partition_set(request: &Request) -> Response {
    Response::allow(&request.uid).warn(&rules::restricted(&request.object, request.old()))
}
