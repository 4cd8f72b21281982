//! Whether what the demo shows is what it should be.

use anyhow::{Result, ensure};
use serde_json::Value;
use webhook_tests::Kubectl;

/// How many pods of a list are Running, with every container ready.
pub fn running(pods: &[Value]) -> usize {
    pods.iter()
        .filter(|pod| {
            let containers = pod["status"]["containerStatuses"].as_array().map(Vec::as_slice).unwrap_or_default();
            pod["status"]["phase"] == "Running"
                && !containers.is_empty()
                && containers.iter().all(|container| container["ready"] == true)
        })
        .count()
}

/// The addresses behind a Service, by its EndpointSlices.
pub fn addresses(slices: &[Value]) -> Vec<String> {
    let endpoints = slices.iter().filter_map(|slice| slice["endpoints"].as_array()).flatten();
    endpoints
        .filter(|endpoint| endpoint["conditions"]["ready"] == true)
        .filter_map(|endpoint| endpoint["addresses"][0].as_str().map(str::to_owned))
        .collect()
}

/// That a group is complete: so many partitions of so many pods, everything
/// that each needs, and all of them behind the name of the group.
pub fn group(kubectl: &Kubectl, name: &str, partitions: usize, size: usize) -> Result<()> {
    let select = format!("app.kubernetes.io/instance={name}");
    let list = |resource: &str| -> Vec<Value> {
        let list = kubectl.get_json(&[resource, "-l", &select]);
        list["items"].as_array().cloned().unwrap_or_default()
    };
    let found = running(&list("pods"));
    ensure!(found == partitions * size, "{found} pods of {name} are Running, and not {}", partitions * size);
    for (kind, wanted) in [
        ("partitions", partitions),
        ("statefulsets", partitions),
        ("configmaps", partitions),
        ("poddisruptionbudgets", partitions),
        ("services", 2 * partitions + 1),
    ] {
        let found = list(kind).len();
        ensure!(found == wanted, "{name} has {found} {kind}, and not {wanted}");
    }
    let of_service = format!("kubernetes.io/service-name={name}");
    let slices = kubectl.get_json(&["endpointslices", "-l", &of_service]);
    let ready = addresses(slices["items"].as_array().map(Vec::as_slice).unwrap_or_default()).len();
    ensure!(ready == partitions, "the EndpointSlice of {name} has {ready} addresses, and not {partitions}");
    let legacy = kubectl.get_json(&["endpoints", name]);
    let legacy = legacy["subsets"][0]["addresses"].as_array().map_or(0, Vec::len);
    ensure!(legacy == partitions, "the Endpoints of {name} have {legacy} addresses, and not {partitions}");
    Ok(())
}

/// That a text has all of the parts.
pub fn says(text: &str, parts: &[&str]) -> Result<()> {
    for part in parts {
        ensure!(text.contains(part), "this should have been printed, and was not: {part}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_pods_whose_containers_are_all_ready_count() {
        let pod = |phase: &str, ready: &[bool]| {
            let containers: Vec<Value> = ready.iter().map(|ready| json!({"ready": ready})).collect();
            json!({"status": {"phase": phase, "containerStatuses": containers}})
        };
        let pods = [
            pod("Running", &[true]),
            pod("Running", &[true, false]),
            pod("Running", &[]),
            pod("Pending", &[true]),
            json!({}),
        ];
        assert_eq!(running(&pods), 1);
    }

    #[test]
    fn only_ready_addresses_count() {
        let endpoint = |ready: bool| json!({"addresses": ["10.0.0.1"], "conditions": {"ready": ready}});
        let slices = [json!({"endpoints": [endpoint(true), endpoint(false)]}), json!({"endpoints": null})];
        assert_eq!(addresses(&slices), ["10.0.0.1"]);
    }

    #[test]
    fn what_is_missing_is_named() {
        assert!(says("a and b", &["a", "b"]).is_ok());
        assert!(says("a and b", &["a", "c"]).unwrap_err().to_string().ends_with("not: c"));
    }
}
