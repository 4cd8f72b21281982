//! The dashboard, and the `ServiceMonitor`: what they ask for is there.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;
use webhook_tests::binaries::workspace;
use webhook_tests::harness;

use crate::load::Load;
use crate::prometheus::{JOB, Prometheus};

fn dashboard() -> Value {
    let text = fs::read_to_string(workspace().join("deploy/monitoring/dashboard.json")).expect("a dashboard");
    serde_json::from_str(&text).expect("JSON")
}

/// The queries of all panels, with the dashboard's variables filled in.
fn queries() -> Vec<String> {
    let dashboard = dashboard();
    let panels = dashboard["panels"].as_array().expect("panels").iter();
    let targets = panels.flat_map(|panel| panel["targets"].as_array().into_iter().flatten());
    let filled = targets.map(|target| {
        let query = target["expr"].as_str().expect("a query").to_owned();
        query.replace("$job", JOB).replace("$__rate_interval", "10s")
    });
    filled.collect()
}

#[test]
fn every_query_of_the_dashboard_has_data() {
    let queries = queries();
    assert!(queries.len() > 30, "{queries:#?}");
    assert!(queries.iter().all(|query| !query.contains('$')), "{queries:#?}");
    let prometheus = Prometheus::start(harness().controller().metrics_addr(), &[]);
    let mut load = Load::start("dashboard");
    prometheus.await_values(queries, || load.round());
    assert_eq!(prometheus.query("sum(atomix_leader)"), [1.0]);
    assert!(prometheus.query(r#"atomix_partition_sets{state="ready"}"#)[0] >= 1.0);
    assert!(prometheus.query(r#"atomix_partitions{state="ready"}"#)[0] >= 1.0);
    assert!(prometheus.query("max(atomix_watch_lag_seconds)")[0] < 30.0);
}

#[test]
fn the_panels_have_their_rows_ids_of_their_own_and_the_data_source_that_is_chosen() {
    let dashboard = dashboard();
    let panels = dashboard["panels"].as_array().expect("panels");
    let rows = panels.iter().filter(|panel| panel["type"] == "row").map(|row| row["title"].as_str().expect("a title"));
    let wanted = ["Overview", "Reconcile", "Admission", "gRPC", "Elections", "Certificates", "Process"];
    assert_eq!(rows.collect::<Vec<_>>(), wanted);
    let ids: BTreeSet<String> = panels.iter().map(|panel| panel["id"].to_string()).collect();
    assert_eq!(ids.len(), panels.len());
    for panel in panels.iter().filter(|panel| panel["type"] != "row") {
        assert_eq!(panel["datasource"]["uid"], "${datasource}", "{panel}");
    }
}

/// An object that kustomize makes of `deploy/monitoring`.
fn built(kind: &str) -> Value {
    let directory = workspace().join("deploy/monitoring");
    let text = harness().kubectl().ok(&["kustomize", &directory.to_string_lossy()]);
    let objects = text.split("\n---\n").map(|object| serde_saphyr::from_str::<Value>(object).expect("YAML"));
    objects.into_iter().find(|object| object["kind"] == kind).unwrap_or_else(|| panic!("no {kind}"))
}

#[test]
fn the_service_monitor_selects_the_shipped_service_and_its_port() {
    let manifest = fs::read_to_string(workspace().join(webhook_tests::MANIFEST)).expect("the manifest");
    let service = manifest.split("\n---\n").find(|object| object.contains("\nkind: Service\n")).expect("a Service");
    let service: Value = serde_saphyr::from_str(service).expect("YAML");
    let monitor = built("ServiceMonitor");
    for (label, value) in monitor["spec"]["selector"]["matchLabels"].as_object().expect("labels") {
        assert_eq!(&service["metadata"]["labels"][label], value, "{label}");
    }
    assert_eq!(monitor["metadata"]["namespace"], service["metadata"]["namespace"]);
    let ports = service["spec"]["ports"].as_array().expect("ports");
    assert!(ports.iter().any(|port| port["name"] == monitor["spec"]["endpoints"][0]["port"]), "{monitor}");
    let map = built("ConfigMap");
    let json: Value = serde_json::from_str(map["data"]["dashboard.json"].as_str().expect("a dashboard")).expect("JSON");
    assert_eq!(json, dashboard());
}
