//! The rules can be read, fire and stay silent as they should, are explained, and speak of what the controller exposes.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};
use webhook_tests::binaries::workspace;
use webhook_tests::{get, harness};

use crate::load::Load;
use crate::prometheus::{Prometheus, folder, promtool};

/// The files of rules.
pub const FILES: [&str; 2] = ["certificates", "controller"];
/// Alerts about what has no series before it has happened; the test program `certificates` makes it happen.
const NEED_A_CAUSE: [&str; 2] = ["AtomixWebhookBundleFight", "AtomixWebhookHandshakesRefused"];
/// The alert that the controller exposes nothing.
const ABSENT: &str = "AtomixControllerAbsent";

fn groups(file: &str) -> Value {
    let text = fs::read_to_string(workspace().join(format!("deploy/monitoring/{file}.yaml"))).expect("rules");
    let object: Value = serde_saphyr::from_str(&text).expect("YAML");
    assert_eq!(object["kind"], "PrometheusRule");
    json!({"groups": object["spec"]["groups"]})
}

fn rules(file: &str) -> Vec<Value> {
    let groups = groups(file);
    let groups = groups["groups"].as_array().expect("groups");
    groups.iter().flat_map(|group| group["rules"].as_array().expect("rules").clone()).collect()
}

fn alert(rule: &Value) -> &str {
    rule["alert"].as_str().expect("a name")
}

/// The groups as Prometheus reads them, which knows nothing of `PrometheusRule`, in a folder of their own.
fn written(file: &str) -> PathBuf {
    let directory = folder(file);
    fs::write(directory.join("rules.yaml"), groups(file).to_string()).expect("rules");
    directory
}

#[test]
fn each_alert_fires_and_stays_silent_as_it_should() {
    for file in FILES {
        let directory = written(file);
        promtool(&directory, &["check", "rules", "--lint=all", "--lint-fatal", "rules.yaml"], "");
        let tests = workspace().join(format!("webhook-tests/tests/monitoring/rules/{file}.yaml"));
        let tests = fs::read_to_string(tests).expect("tests");
        fs::write(directory.join("tests.yaml"), &tests).expect("tests");
        promtool(&directory, &["test", "rules", "tests.yaml"], "");
        for rule in rules(file) {
            for what in ["fires", "stays silent"] {
                let name = format!("- name: {} {what}\n", alert(&rule));
                assert!(tests.contains(&name), "no test: {name}");
            }
        }
    }
}

#[test]
fn each_alert_has_a_severity_texts_and_a_runbook() {
    let index = fs::read_to_string(workspace().join("docs/runbooks.md")).expect("the list of runbooks");
    let mut pages = BTreeSet::new();
    for rule in FILES.iter().flat_map(|file| rules(file)) {
        let name = alert(&rule);
        let severity = rule["labels"]["severity"].as_str().expect("a severity");
        assert!(["warning", "critical"].contains(&severity), "{name}: {severity}");
        for text in ["summary", "description"] {
            assert!(rule["annotations"][text].as_str().is_some_and(|text| text.len() > 10), "{name} has no {text}");
        }
        let page = format!("docs/runbooks/{name}.md");
        assert_eq!(rule["annotations"]["runbook_url"], page.as_str(), "{name}");
        let text = fs::read_to_string(workspace().join(&page)).unwrap_or_else(|error| panic!("{page}: {error}"));
        for part in ["**Meaning.**", "**Impact.**", "**Diagnosis.**", "**Mitigation.**"] {
            assert!(text.contains(part), "{page} has no {part}");
        }
        assert!(index.contains(&format!("| [{name}](runbooks/{name}.md) | {severity} |")), "docs/runbooks.md: {name}");
        pages.insert(format!("{name}.md"));
    }
    let found = fs::read_dir(workspace().join("docs/runbooks")).expect("runbooks");
    let found = found.map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8"));
    assert_eq!(pages, found.collect(), "a page of an alert that is no more");
}

/// What a rule compares, without the comparison.
fn compared(rule: &Value) -> String {
    let expression = rule["expr"].as_str().expect("an expression");
    let end = [" > ", " < ", " == "].iter().filter_map(|operator| expression.rfind(operator)).max();
    expression[..end.unwrap_or(expression.len())].to_owned()
}

#[test]
fn prometheus_evaluates_each_rule_on_what_the_controller_exposes() {
    let files = FILES.map(|file| written(file).join("rules.yaml"));
    let prometheus = Prometheus::start(harness().controller().metrics_addr(), &files);
    let mut load = Load::start("rules");
    let rules: Vec<Value> = FILES.iter().flat_map(|file| rules(file)).collect();
    let with_data = rules.iter().filter(|rule| alert(rule) != ABSENT && !NEED_A_CAUSE.contains(&alert(rule)));
    prometheus.await_values(with_data.map(compared).collect(), || load.round());
    let alerts = prometheus.alerts();
    assert_eq!(alerts.len(), rules.len());
    for rule in alerts {
        assert_eq!(rule["health"], "ok", "{rule}");
        assert!(rule["name"] != ABSENT || rule["state"] == "inactive", "{rule}");
    }
}

#[test]
fn promtool_finds_nothing_wrong_with_the_metrics_page() {
    let page = get(harness().controller().metrics_addr(), "/metrics").expect("metrics").body;
    promtool(&folder("page"), &["check", "metrics"], &page);
}
