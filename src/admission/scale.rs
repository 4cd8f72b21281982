//! `/validate` for `partitionsets/scale`: the same rules as for an edit of `spec.partitions`.

use serde_json::Value;

use super::Admission;
use super::response::{Response, Subject};
use super::review::Request;
use crate::api::PartitionSet;
use crate::rules::{self, SetObject};

const SCALE: Subject<'static> = Subject { group: "autoscaling", kind: "Scale", name: "" };
/// Field of a violation in the rules, and the field of a `Scale` that has the number.
const RULE_FIELD: &str = "spec.partitions";
const SCALE_FIELD: &str = "spec.replicas";

/// Judges an update of a `Scale`, which has nothing of the set but its name and the number of partitions. The watch cache
/// has the rest; while it is behind, only changes that cannot destroy data are allowed.
pub(super) fn scale(admission: &Admission, request: &Request) -> Response {
    // A Scale leaves a number of 0 out.
    let replicas = replicas(&request.object).unwrap_or(0);
    let partitions_of = |name: &str| admission.partitions_of(&request.namespace, name);
    let cached = admission.sets.get(&request.namespace, &request.name);
    let current = cached.filter(|set| is_current(set, &request.old_object));
    let verdict = if let Some(set) = current.as_deref() {
        rules::scale(&SetObject::from(set), replicas, &partitions_of)
    } else {
        let from = replicas_of_old(request);
        let verdict = rules::scale(&bare(&request.name, from), replicas, &partitions_of);
        let shrinks = from.is_none_or(|from| replicas < from);
        // A violation that does not depend on the rest of the set is final.
        if shrinks && verdict.violations.iter().all(|violation| violation.reason == rules::Reason::Forbidden) {
            let message = format!(
                "the Atomix controller has not yet seen this version of PartitionSet {:?}, on which it depends whether its partitions may go; try again",
                request.name
            );
            return Response::try_again(&request.uid, &message);
        }
        verdict
    };
    if verdict.violations.is_empty() {
        return Response::allow(&request.uid).warn(&verdict.warnings);
    }
    let violations: Vec<_> = verdict
        .violations
        .into_iter()
        .map(|violation| if violation.field == RULE_FIELD { violation.at(SCALE_FIELD) } else { violation })
        .collect();
    Response::invalid(&request.uid, Subject { name: request.display_name(), ..SCALE }, &violations)
}

fn replicas(scale: &Value) -> Option<i64> {
    scale.pointer("/spec/replicas").and_then(Value::as_i64)
}

fn replicas_of_old(request: &Request) -> Option<i64> {
    request.old().map(|old| replicas(old).unwrap_or(0))
}

/// A set of which only the name and the number of partitions are known. Other fields are missing before and after the
/// change, so that no violation follows from them.
fn bare(name: &str, partitions: Option<i64>) -> SetObject {
    let mut set = SetObject { name: name.to_owned(), ..SetObject::default() };
    set.spec.partitions = partitions;
    set
}

/// Whether the cache has the version that is being scaled, or a later one. Versions that are no numbers can only be equal.
fn is_current(cached: &PartitionSet, old: &Value) -> bool {
    let scaled = old.pointer("/metadata/resourceVersion").and_then(Value::as_str);
    let (Some(cached), Some(scaled)) = (cached.metadata.resource_version.as_deref(), scaled) else { return false };
    match (cached.parse::<u64>(), scaled.parse::<u64>()) {
        (Ok(cached), Ok(scaled)) => cached >= scaled,
        _ => cached == scaled,
    }
}
