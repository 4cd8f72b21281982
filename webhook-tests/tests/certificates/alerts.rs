//! The alert rules of certificates speak of what a running controller exposes, and are explained.

use std::time::Instant;

use serde_json::Value;
use webhook_tests::Controller;

use crate::support::{CONFIGURATIONS, SOON, ground};
use crate::wire;

const RULES: &str = include_str!("../../../deploy/monitoring/certificates.yaml");
/// The page that explains them.
const PAGE: &str = include_str!("../../../docs/certificates.md");
/// Labels that whoever scrapes adds.
const SCRAPED: [&str; 2] = ["namespace", "instance"];

/// A metric in an expression, with its matchers.
type Selector = (String, Vec<(String, String, String)>);

fn rules(file: &str) -> Vec<Value> {
    let manifest: Value = serde_saphyr::from_str(file).expect("YAML");
    let groups = manifest["spec"]["groups"].as_array().expect("groups");
    groups.iter().flat_map(|group| group["rules"].as_array().expect("rules").clone()).collect()
}

/// The metrics that an expression names.
fn selectors(expression: &str) -> Vec<Selector> {
    let starts = expression.match_indices("atomix_").map(|(start, _)| &expression[start..]);
    let selector = |text: &str| {
        let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
        let (name, rest) = text.split_at(end);
        let matchers = rest.strip_prefix('{').and_then(|rest| rest.split_once('}')).map_or("", |(inside, _)| inside);
        let matchers = matchers.split_terminator(',').map(|matcher| {
            let (label, value) = matcher.split_once('=').expect("a matcher");
            let (operator, value) = value.strip_prefix('~').map_or(("=", value), |value| ("=~", value));
            (label.to_owned(), operator.to_owned(), value.trim_matches('"').to_owned())
        });
        (name.to_owned(), matchers.collect())
    };
    starts.map(selector).collect()
}

/// The labels that an expression, or a text about it, takes for granted.
fn labels(rule: &Value) -> Vec<String> {
    let expression = rule["expr"].as_str().expect("an expression");
    let by = expression.split_once(" by (").and_then(|(_, rest)| rest.split_once(')')).map_or("", |(inside, _)| inside);
    let texts = rule["annotations"].to_string();
    let named = texts.split("$labels.").skip(1).map(|rest| rest.split(' ').next().unwrap_or_default());
    let all = by.split(", ").filter(|label| !label.is_empty()).chain(named);
    all.filter(|label| !SCRAPED.contains(label)).map(str::to_owned).collect()
}

/// Whether a line of metrics is of this metric and has these labels.
fn is_of(line: &str, (name, matchers): &Selector) -> bool {
    let Some(rest) = line.strip_prefix(name.as_str()) else { return false };
    let has = |(label, operator, value): &(String, String, String)| {
        let values = if operator == "=~" { value.split('|').collect() } else { vec![value.as_str()] };
        values.iter().any(|value| rest.contains(&format!(r#"{label}="{value}""#)))
    };
    rest.starts_with(['{', ' ']) && matchers.iter().all(has)
}

#[test]
fn every_metric_and_label_of_the_alerts_is_exposed_and_every_alert_is_explained() {
    let ground = ground();
    let replicas = ground.replicas(1);
    let controller: &Controller = &replicas.controllers[0];
    // What is counted shows when there is something to count.
    let good = ground.bundles().swap_remove(0);
    ground.set_bundle((CONFIGURATIONS[0], 0), "", "argocd-controller");
    ground.await_bundle(CONFIGURATIONS[0], &good);
    let cluster: Value =
        serde_json::from_str(&ground.kubectl().ok(&["config", "view", "--raw", "-o", "json"])).expect("");
    let foreign = cluster["clusters"][0]["cluster"]["certificate-authority-data"].as_str().expect("an authority");
    let foreign = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, foreign).expect("base64");
    let refused = wire::ask(controller.webhook_addr(), wire::config(&String::from_utf8(foreign).expect("PEM")));
    assert!(refused.is_err());

    let rules = rules(RULES);
    assert!(rules.len() >= 9, "{rules:#?}");
    for rule in &rules {
        assert_speaks_of_what_there_is(rule, controller);
    }
}

#[track_caller]
fn assert_speaks_of_what_there_is(rule: &Value, controller: &Controller) {
    let deadline = Instant::now() + SOON;
    let (alert, expression) = (rule["alert"].as_str().expect("a name"), rule["expr"].as_str().expect("an expression"));
    let selectors = selectors(expression);
    assert!(!selectors.is_empty(), "{alert}: {expression}");
    for selector in selectors {
        let line = loop {
            let metrics = controller.get("/metrics").expect("metrics").body;
            if let Some(line) = metrics.lines().find(|line| is_of(line, &selector)) {
                break line.to_owned();
            }
            assert!(Instant::now() < deadline, "{alert}: no {selector:?} in\n{metrics}");
        };
        for label in labels(rule) {
            assert!(line.contains(&format!(r#"{label}=""#)), "{alert}: no label {label} in {line}");
        }
    }
    assert!(PAGE.contains(&format!("| `{alert}` |")), "{alert} is not explained");
    assert!(["warning", "critical"].contains(&rule["labels"]["severity"].as_str().expect("a severity")));
}
