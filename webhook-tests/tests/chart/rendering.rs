//! The chart makes what the one-file manifest and the kustomizations make: they cannot drift apart.

use std::fs;

use webhook_tests::MANIFEST;
use webhook_tests::binaries::workspace;

use crate::support::{assert_same, file, helms, kustomized, without_definitions};

#[test]
fn helm_finds_nothing_wrong() {
    for helm in helms() {
        let output = helm.run(&["lint", "--strict", "deploy/chart"]);
        assert!(output.status.success(), "Helm {}: {output:?}", helm.major);
        assert!(!output.stdout.contains("WARNING"), "{}", output.stdout);
    }
}

#[test]
fn without_values_it_is_the_manifest() {
    let manifest = file(MANIFEST);
    assert_same(&kustomized("deploy"), &without_definitions(manifest.clone()), "kustomize");
    for helm in helms() {
        assert_same(&helm.template("kube-system", &[]), &manifest, "the chart");
    }
}

#[test]
fn each_kustomization_is_the_chart_with_values() {
    let team = "fullnameOverride=team-a-atomix,namespaces={team-a,team-a-test},crds.install=false";
    let cases = [
        ("kustomize/elsewhere", "atomix-system", ""),
        ("kustomize/cert-manager", "kube-system", "certificates.mode=cert-manager"),
        ("kustomize/example", "team-a-system", team),
    ];
    for helm in helms() {
        for (directory, namespace, values) in cases {
            let mut wanted = kustomized(directory);
            // The chart gives it a name of its own, so that a release can change from all namespaces to some.
            let binding = |name: &str| ("ClusterRoleBinding".to_owned(), String::new(), name.to_owned());
            if let Some(mut scoped) = wanted.remove(&binding("team-a-atomix")) {
                scoped["metadata"]["name"] = "team-a-atomix-webhooks".into();
                wanted.insert(binding("team-a-atomix-webhooks"), scoped);
            }
            let made = without_definitions(helm.template(namespace, &["--set", values]));
            assert_same(&made, &wanted, directory);
        }
    }
}

#[test]
fn what_is_optional_is_that_of_the_examples() {
    let cases = [
        ("deploy/examples/grpc-network-policy.yaml", "networkPolicy.enabled=true"),
        ("deploy/examples/grpc-certificate.yaml", "grpc.certificateSecret=atomix-controller-grpc"),
        ("deploy/monitoring/service-monitor.yaml", "metrics.serviceMonitor.enabled=true"),
        ("deploy/monitoring/controller.yaml", "metrics.prometheusRule.enabled=true"),
        ("deploy/monitoring/certificates.yaml", "metrics.prometheusRule.enabled=true"),
    ];
    for helm in helms() {
        for (path, values) in cases {
            let made = helm.template("kube-system", &["--set", values]);
            for (key, object) in file(path) {
                assert_eq!(made.get(&key), Some(&object), "{path}");
            }
        }
    }
}

#[test]
fn the_dashboard_is_the_one_of_the_repository() {
    let dashboard = fs::read_to_string(workspace().join("deploy/monitoring/dashboard.json")).expect("a dashboard");
    for helm in helms() {
        let made = helm.template("kube-system", &["--set", "metrics.dashboard.enabled=true"]);
        let key = ["ConfigMap", "kube-system", "atomix-controller-dashboard"].map(str::to_owned);
        assert_eq!(made[&key.into()]["data"]["dashboard.json"], dashboard.as_str(), "Helm {}", helm.major);
    }
}

#[test]
fn its_files_are_copies() {
    let read = |path: &str| fs::read_to_string(workspace().join(path)).unwrap_or_default();
    let manifest = read(MANIFEST);
    assert!(manifest.contains(&read("deploy/chart/files/crds.yaml")), "run `make manifests`");
    let names = |directory: &str| {
        let entries = fs::read_dir(workspace().join(directory)).expect("a directory");
        let mut names: Vec<_> = entries.map(|entry| entry.expect("an entry").file_name()).collect();
        names.sort();
        names
    };
    let (originals, copies) = ("deploy/monitoring", "deploy/chart/files/monitoring");
    assert_eq!(names(originals), names(copies), "run `make manifests`");
    for name in names(originals) {
        let name = name.to_string_lossy();
        assert_eq!(read(&format!("{originals}/{name}")), read(&format!("{copies}/{name}")), "run `make manifests`");
    }
}

#[test]
fn it_has_the_version_of_the_program() {
    let chart = fs::read_to_string(workspace().join("deploy/chart/Chart.yaml")).expect("a chart");
    for field in ["version", "appVersion"] {
        assert!(chart.contains(&format!("\n{field}: {}\n", env!("CARGO_PKG_VERSION"))), "{field}");
    }
}
