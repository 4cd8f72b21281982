//! `/validate` for `PartitionSets`: judges the final object, after every mutating webhook.

use super::Admission;
use super::response::{Response, Subject};
use super::review::Request;
use crate::api::GROUP;
use crate::rules;

/// Subject of a denial, but for the name.
pub(super) const SET: Subject<'static> = Subject { group: GROUP, kind: "PartitionSet", name: "" };

/// Judges a `PartitionSet` that is created or updated. Warnings are here and not in the mutating webhook, which the API
/// server may call twice.
pub(super) fn partition_set(admission: &Admission, request: &Request) -> Response {
    let partitions_of = |name: &str| admission.partitions_of(&request.namespace, name);
    let verdict = rules::partition_set(&request.object, request.old(), &partitions_of);
    let response = if verdict.violations.is_empty() {
        Response::allow(&request.uid)
    } else {
        let subject = Subject { name: request.display_name(), ..SET };
        Response::invalid(&request.uid, subject, &verdict.violations)
    };
    response.warn(&verdict.warnings)
}
