//! Names that two sets of a namespace would both need.

use crate::api::{DEFAULT_COUNT, MAX_PARTITIONS, names};
use crate::rules::PartitionsOf;
use crate::rules::read::SetObject;
use crate::rules::violation::Violation;

/// Most names of other sets in one response.
const MAX_COLLISIONS: usize = 20;

/// Violations for Services of `new`, beyond those of `old`, whose names another set of the namespace needs.
pub(in crate::rules) fn collisions(
    new: &SetObject,
    old: Option<&SetObject>,
    partitions_of: PartitionsOf<'_>,
    violations: &mut Vec<Violation>,
) {
    if old.is_none()
        && let Some((other, index)) = names::service_of_partition(&new.name)
        && partitions_of(other).is_some_and(|count| index <= count)
    {
        let detail = format!("is the name of a Service of partition {index} of PartitionSet {other:?}");
        violations.push(Violation::invalid(new.name_path(), &new.name, detail));
    }
    let count = |set: &SetObject| set.spec.partitions.unwrap_or(DEFAULT_COUNT).clamp(0, MAX_PARTITIONS);
    let services = (old.map_or(0, count) + 1..=count(new)).flat_map(|index| {
        let partition = names::partition(&new.name, index);
        [(index, names::headless_service(&partition)), (index, partition)]
    });
    let taken = services.filter(|(_, service)| partitions_of(service).is_some());
    violations.extend(taken.take(MAX_COLLISIONS).map(|(index, service)| {
        let detail =
            format!("partition {index} needs a Service named {service:?}, and PartitionSet {service:?} has it");
        Violation::invalid("spec.partitions", &count(new), detail)
    }));
}
