//! `/mutate`: fills in what the user left out, and writes the rest in the way of the schema.

use super::response::{Response, Subject};
use super::review::Request;
use super::{Admission, aliases, validate};
use crate::rules;

/// Completes a `PartitionSet` that is created or updated, or denies it at once.
///
/// The schema is checked between the two webhooks, so whatever it rejects never reaches the validating one. Denying
/// here as well shows the user everything that is wrong in one answer, and a patch is only ever made for a set that is
/// legal with it.
pub(super) fn partition_set(admission: &Admission, request: &Request) -> Response {
    let partitions_of = |name: &str| admission.partitions_of(&request.namespace, name);
    let verdict = rules::partition_set(&request.object, request.old(), &partitions_of);
    if verdict.violations.is_empty() {
        // Called again, it finds nothing left to fill, and does not warn twice.
        Response::patch(&request.uid, &verdict.edits).warn(&aliases::warnings(request, &verdict.edits))
    } else {
        let subject = Subject { name: request.display_name(), ..validate::SET };
        Response::invalid(&request.uid, subject, &verdict.violations)
    }
}
