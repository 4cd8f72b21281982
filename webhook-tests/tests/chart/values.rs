//! Every value has an effect, and the schema refuses a wrong one by its name.

use std::fs;

use serde_json::{Value, json};
use webhook_tests::binaries::workspace;

use crate::support::{helms, values_file};

/// Another value for each, and what then appears in what the chart makes.
fn changes() -> Vec<(&'static str, Value, &'static str)> {
    let digest = format!("sha256:{}", "ab".repeat(32));
    vec![
        ("/fullnameOverride", json!("other"), "\n  name: other-webhook-ca\n"),
        ("/namespaces", json!(["team-x"]), "\n  namespace: team-x\n"),
        ("/clusterDomain", json!("example.org"), "--cluster-domain=example.org"),
        ("/image/registry", json!("registry.example.org/"), "image: registry.example.org/atomix/"),
        ("/image/repository", json!("own/name"), "image: own/name:latest\n"),
        ("/image/tag", json!("1.2.3"), "atomix-k8s-controller:1.2.3\n"),
        ("/image/digest", json!(digest), "atomix-k8s-controller@sha256:abab"),
        ("/image/pullPolicy", json!("Always"), "imagePullPolicy: Always\n"),
        ("/image/pullSecrets", json!(["pull"]), "      imagePullSecrets:\n      - name: pull\n"),
        ("/nodes/images/raft", json!("r:1"), "--raft-image=r:1"),
        ("/nodes/images/backup", json!("b:1"), "--backup-image=b:1"),
        ("/nodes/images/log", json!("l:1"), "--log-image=l:1"),
        ("/nodes/pullSecrets", json!(["a", "b"]), "--image-pull-secrets=a,b\n"),
        ("/replicas", json!(5), "replicas: 5\n"),
        ("/resources", json!({"limits": {"memory": "77Mi"}}), "memory: 77Mi\n"),
        ("/log/level", json!("debug"), "--log=debug"),
        ("/log/format", json!("text"), "--log-format=text\n"),
        ("/certificates", json!({"mode": "secret", "secretName": "tls-x"}), "--webhook-certificate=secret:tls-x\n"),
        (
            "/certificates",
            json!({"mode": "secret", "secretName": "tls-x", "caBundle": "-----BEGIN CERTIFICATE-----"}),
            "caBundle: LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0t\n",
        ),
        (
            "/grpc",
            json!({"certificateSecret": "grpc-x", "requireClientCertificates": true}),
            "--grpc-client-ca=secret:grpc-x\n",
        ),
        ("/grpc/auth", json!("kubernetes"), "name: system:auth-delegator\n"),
        ("/metrics/annotations", json!(true), "prometheus.io/scrape: \"true\"\n"),
        ("/metrics/serviceMonitor", json!({"enabled": true, "labels": {"a": "one"}}), "    a: one\n"),
        ("/metrics/prometheusRule", json!({"enabled": true, "labels": {"a": "two"}}), "    a: two\n"),
        ("/metrics/dashboard", json!({"enabled": true, "labels": {"a": "eight"}}), "    a: eight\n"),
        ("/networkPolicy", json!({"enabled": true, "clients": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]}), "10.0.0.0/8\n"),
        ("/priorityClassName", json!("own-class"), "priorityClassName: own-class\n"),
        ("/nodeSelector", json!({"a": "three"}), "        a: three\n"),
        ("/affinity", json!({"nodeAffinity": {}}), "nodeAffinity: {}\n"),
        ("/tolerations", json!([{"key": "four"}]), "- key: four\n"),
        ("/podLabels", json!({"a": "five"}), "        a: five\n"),
        ("/podAnnotations", json!({"a": "six"}), "        a: six\n"),
        ("/serviceAccountAnnotations", json!({"a": "seven"}), "    a: seven\n"),
        ("/extraArgs", json!(["--workers=9"]), "--workers=9"),
        ("/extraEnv", json!([{"name": "EXTRA", "value": "x"}]), "name: EXTRA\n"),
    ]
}

/// Values whose effect other tests show: of the definitions.
const ELSEWHERE: [&str; 2] = ["crds", "global"];

/// Wraps a value into the objects that its pointer names.
fn nested(pointer: &str, value: Value) -> Value {
    pointer.rsplit('/').filter(|name| !name.is_empty()).fold(value, |inner, name| json!({name: inner}))
}

#[test]
fn every_value_has_an_effect_and_none_is_missing_here() {
    let directory = std::env::temp_dir().join(format!("chart-values-{}", webhook_tests::suffix()));
    fs::create_dir_all(&directory).expect("a directory");
    for helm in helms() {
        let defaults = helm.try_template("atomix-system", &[]).stdout;
        for (pointer, value, effect) in changes() {
            let file = values_file(&directory, "values", &nested(pointer, value));
            let output = helm.try_template("atomix-system", &["--values", &file]);
            assert!(output.status.success(), "Helm {}: {pointer}: {}", helm.major, output.stderr);
            assert!(output.stdout.contains(effect), "Helm {}: {pointer}: no {effect:?}", helm.major);
            assert!(!defaults.contains(effect), "{pointer}: {effect:?} is there without it");
        }
    }
    fs::remove_dir_all(&directory).expect("the directory");
    let schema = fs::read_to_string(workspace().join("deploy/chart/values.schema.json")).expect("a schema");
    let schema: Value = serde_json::from_str(&schema).expect("JSON");
    let names = schema["properties"].as_object().expect("properties").keys();
    let changed = changes();
    let missing: Vec<_> = names
        .filter(|name| !ELSEWHERE.contains(&name.as_str()))
        .filter(|name| !changed.iter().any(|(pointer, _, _)| pointer[1..].split('/').next() == Some(name)))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn a_wrong_value_is_refused_by_its_name() {
    let wrong = [
        ("replica=3", "replica"),
        ("replicas=-1", "replicas"),
        ("image.tga=1", "tga"),
        ("image.digest=sha256:12", "digest"),
        ("image.pullPolicy=Sometimes", "pullPolicy"),
        ("fullnameOverride=A", "fullnameOverride"),
        ("namespaces={a.b}", "namespaces"),
        ("log.format=xml", "format"),
        ("certificates.mode=none", "mode"),
        ("certificates.mode=secret", "secretName"),
        ("certificates.caBundle=x", "caBundle"),
        ("grpc.requireClientCertificates=true", "certificateSecret"),
        ("nodes.images.paxos=x", "paxos"),
        ("crds.keep=maybe", "keep"),
    ];
    for helm in helms() {
        for (value, name) in wrong {
            let output = helm.try_template("atomix-system", &["--set", value]);
            assert!(!output.status.success(), "Helm {}: {value}", helm.major);
            assert!(output.stderr.contains(name), "Helm {}: {value}: {}", helm.major, output.stderr);
        }
    }
}

#[test]
fn the_definitions_are_kept_unless_the_values_say_otherwise() {
    for helm in helms() {
        let kept = |values: &str| {
            let made = helm.try_template("atomix-system", &["--set", values]).stdout;
            let count = |text: &str| made.matches(text).count();
            (count("\nkind: CustomResourceDefinition\n"), count("helm.sh/resource-policy: keep\n"))
        };
        assert_eq!(kept(""), (2, 2));
        assert_eq!(kept("crds.keep=false"), (2, 0));
        assert_eq!(kept("crds.install=false"), (0, 0));
    }
}
