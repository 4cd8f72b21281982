//! Requests and limits of the container.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ResourceRequirements;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Written;

use crate::rules::quantity::{Quantity, TOO_LARGE};
use crate::rules::report::Report;
use crate::rules::syntax;

const HUGE_PAGES: &str = "hugepages-";
/// Prefix of the names of resources in a quota.
const REQUESTS: &str = "requests.";
/// Resources of containers without a domain.
const OF_CONTAINERS: [&str; 3] = ["cpu", "memory", "ephemeral-storage"];
/// Resources that are counted, in quotas only.
const COUNTED: [&str; 9] = [
    "pods",
    "resourcequotas",
    "services",
    "replicationcontrollers",
    "secrets",
    "configmaps",
    "persistentvolumeclaims",
    "services.nodeports",
    "services.loadbalancers",
];
/// Other resources that are known by a short name, in quotas only.
const OF_QUOTAS: [&str; 8] = [
    "requests.cpu",
    "requests.memory",
    "requests.ephemeral-storage",
    "limits.cpu",
    "limits.memory",
    "limits.ephemeral-storage",
    "storage",
    "requests.storage",
];

type Amounts<'a> = BTreeMap<&'a str, Quantity>;

pub(super) fn check(resources: &ResourceRequirements, report: &mut Report<'_>) {
    let limits = amounts(resources.limits.as_ref(), &mut report.field("limits"));
    let requests = amounts(resources.requests.as_ref(), &mut report.field("requests"));
    for (name, requested) in &requests {
        match limits.get(name) {
            Some(limit) if requested.nanos() == limit.nanos() => {}
            Some(limit) => {
                let relation = match (is_divisible(name), requested.nanos() > limit.nanos()) {
                    (false, _) => "equal to",
                    (true, true) => "less than or equal to",
                    (true, false) => continue,
                };
                let detail = format!("must be {relation} {name} limit of {}", limit.canonical());
                report.field("requests").invalid(&requested.canonical(), detail);
            }
            None if !is_divisible(name) && !resources.limits.iter().any(|limits| limits.contains_key(*name)) => {
                report.field("limits").required("Limit must be set for non overcommitable resources");
            }
            None => {}
        }
    }
    let any = |is: fn(&str) -> bool| limits.keys().chain(requests.keys()).any(|name| is(name));
    if any(is_huge) && !any(|name| name == "cpu" || name == "memory") {
        report.forbidden("HugePages require cpu or memory");
    }
    for (index, claim) in resources.claims.iter().flatten().enumerate() {
        let mut report = report.field(format_args!("claims[{index}]"));
        if claim.name.is_empty() {
            report.field("name").required("");
        } else {
            report.not_found(&claim.name, "must be one of the names in pod.spec.resourceClaims which is empty");
        }
    }
}

/// The amounts by resource, as Kubernetes rounds them; what cannot be read is reported and left out.
fn amounts<'a>(amounts: Option<&'a BTreeMap<String, Written>>, report: &mut Report<'_>) -> Amounts<'a> {
    let mut read = Amounts::new();
    for (name, amount) in amounts.into_iter().flatten() {
        let mut report = report.item(name);
        check_name(name, &mut report);
        let amount = match Quantity::read(&amount.0) {
            Ok(amount) => amount.rounded_to_milli(),
            Err(why) => {
                report.invalid(&amount.0, why.select("must be a quantity, for instance 500m or 2Gi", TOO_LARGE));
                continue;
            }
        };
        let written = amount.canonical();
        if amount.nanos() < 0 {
            report.invalid(&written, "must be greater than or equal to 0");
        }
        if (is_extended(name) || COUNTED.contains(&name.as_str())) && !amount.is_whole() {
            report.invalid(&written, "must be an integer");
        }
        if is_huge(name) && !is_multiple(name, amount) {
            report.invalid(&written, format!("{written} is not positive integer multiple of {name}"));
        }
        read.insert(name.as_str(), amount);
    }
    read
}

fn check_name(name: &str, report: &mut Report<'_>) {
    let wrong = syntax::qualified_name(name);
    let well_formed = wrong.is_empty();
    report.each(name, wrong);
    if name.contains('/') {
        if !is_native(name) && !is_extended(name) {
            report.invalid(&name, "doesn't follow extended resource name standard");
        }
        return;
    }
    let of_container = OF_CONTAINERS.contains(&name) || is_huge(name);
    let of_quota = COUNTED.contains(&name) || OF_QUOTAS.contains(&name) || name.starts_with("requests.hugepages-");
    if well_formed && !of_container && !of_quota {
        report.invalid(&name, "must be a standard resource type or fully qualified");
    }
    if !of_container {
        report.invalid(&name, "must be a standard resource for containers");
    }
}

fn is_huge(name: &str) -> bool {
    name.starts_with(HUGE_PAGES)
}

/// Whether a resource is Kubernetes' own.
fn is_native(name: &str) -> bool {
    !name.contains('/') || name.contains("kubernetes.io/")
}

/// Whether a resource is an extended one, of a device plugin or an operator.
fn is_extended(name: &str) -> bool {
    !is_native(name) && !name.starts_with(REQUESTS) && syntax::qualified_name(&format!("{REQUESTS}{name}")).is_empty()
}

/// Whether a request may be less than the limit.
fn is_divisible(name: &str) -> bool {
    is_native(name) && !is_huge(name)
}

fn is_multiple(name: &str, amount: Quantity) -> bool {
    let size = name.strip_prefix(HUGE_PAGES).and_then(Quantity::parse);
    size.is_some_and(|size| size.nanos() > 0 && size.is_whole() && amount.units() % size.units() == 0)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::messages;

    fn of(resources: &Value) -> Vec<String> {
        messages(json!({"protocol": "raft", "resources": resources}))
    }

    #[test]
    fn requests_are_within_limits() {
        let resources =
            json!({"requests": {"cpu": "2", "memory": "1Gi"}, "limits": {"cpu": "1500m", "memory": "1024Mi"}});
        assert_eq!(
            of(&resources),
            [r#"t.resources.requests: Invalid value: "2": must be less than or equal to cpu limit of 1500m"#]
        );
        // Both are rounded up to a thousandth.
        assert!(of(&json!({"requests": {"cpu": "900u"}, "limits": {"cpu": "1u"}})).is_empty());
    }

    #[test]
    fn counted_and_paged_resources_are_whole_and_equal() {
        assert!(of(&json!({"limits": {"example.com/gpu": 1, "hugepages-2Mi": "4Mi", "cpu": 1}})).is_empty());
        for (resources, count) in [
            (json!({"limits": {"example.com/gpu": "1500m"}}), 1),
            (json!({"requests": {"example.com/gpu": 1}, "limits": {"example.com/gpu": 2}}), 1),
            (json!({"requests": {"example.com/gpu": 1}}), 1),
            (json!({"limits": {"hugepages-2Mi": "3Mi", "cpu": 1}}), 1),
            (json!({"limits": {"hugepages-2Mi": "2Mi"}}), 1),
            (json!({"limits": {"gpu": 1}}), 2),
            (json!({"limits": {"pods": 1}}), 1),
            (json!({"limits": {"requests.example.com/gpu": 1}}), 1),
            (json!({"limits": {"cpu": "-1"}}), 1),
            (json!({"claims": [{"name": "c"}]}), 1),
        ] {
            assert_eq!(of(&resources).len(), count, "{resources}: {:?}", of(&resources));
        }
    }
}
