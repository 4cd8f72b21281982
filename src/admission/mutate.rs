//! `/mutate`: fills in what the user left out, and normalises the rest to the schema.

use kube::Resource;

use super::response::{Response, Subject};
use super::review::Request;
use super::{Admission, aliases, validate};
use crate::api::PartitionSet;
use crate::rules::{self, Edit};

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
        let warnings = aliases::warnings(request, &verdict.edits);
        let mut edits = verdict.edits;
        if edits.is_empty() && !verdict.set.deleting {
            edits.push(reread());
        }
        Response::patch(&request.uid, &edits).warn(&warnings)
    } else {
        let subject = Subject { name: request.display_name(), ..validate::SET };
        Response::invalid(&request.uid, subject, &verdict.violations)
    }
}

/// A patch that changes nothing. The API server decodes an object again that a webhook has patched, and only then does
/// `3.0` in a user's patch become an integer, as it is in a set that is created; the review does not distinguish the two.
fn reread() -> Edit {
    Edit { pointer: "/kind".into(), value: Some(PartitionSet::kind(&()).into_owned().into()) }
}
