//! The rules on the parts of a template that become a pod, and Kubernetes' own on the template of a StatefulSet, agree:
//! in their verdicts, in their words, and in their warnings.
//!
//! Fragments that stand in an item of a list by themselves, in containers or as tolerations, are judged many at a time:
//! the API server names the item of each cause.

use std::collections::BTreeSet;

use atomix_controller::rules;
use futures::{StreamExt, stream};
use kube::Client;
use kube::api::PostParams;
use kube::core::Status;
use serde_json::{Value, json};
use webhook_tests::Namespace;

use super::fragments::{self, Fragment, Unknown};
use super::{AT_ONCE, alone, client, runtime};
use crate::bare::bare;
use crate::manifests::{raft, with};

/// How many fragments one StatefulSet may have.
const TOGETHER: usize = 64;
/// Fields of a template that are a container's.
const OF_CONTAINERS: [&str; 3] = ["env", "resources", "securityContext"];
/// Where they stand in a StatefulSet.
const CONTAINER: &str = "spec.template.spec.containers[0].";
const POD: &str = "spec.template.spec.";
/// What is said of sets alone.
const OF_SETS: &str = "replaces the default";

/// What the API server says of a StatefulSet: its warnings, or why it refuses it.
type Theirs = Result<Vec<String>, Box<Status>>;

#[test]
fn a_template_is_refused_if_and_only_if_its_stateful_set_is() {
    let fragments = fragments::all();
    let batches = batches(&fragments);
    println!("{} requests", batches.len());
    let namespace = Namespace::new(bare().kubectl(), "pods");
    let disagreements = runtime().block_on(async {
        let client = client().await;
        let sets = format!("/apis/apps/v1/namespaces/{}/statefulsets", namespace.name());
        let judged = stream::iter(&batches).map(|batch| judge(&client, &sets, batch));
        judged.buffer_unordered(AT_ONCE).collect::<Vec<_>>().await
    });
    super::assert_none(disagreements.into_iter().flatten().collect());
}

/// A fragment, and the verdict of the rules.
struct Judged<'a> {
    fragment: &'a Fragment,
    violations: Vec<rules::Violation>,
    warnings: Vec<String>,
}

/// Fragments that can be judged together: of the same list, and all of them legal or none.
fn batches(fragments: &[Fragment]) -> Vec<Vec<Judged<'_>>> {
    let (mut batches, mut lists) = (Vec::new(), [const { Vec::new() }; 4]);
    for fragment in fragments {
        let template = json!({"size": 3, "protocol": "raft"});
        let set = with(raft("a"), "/spec/template/spec", merged(template, &fragment.template));
        let verdict = rules::partition_set(&set, None, &alone);
        let (violations, warnings) = (verdict.violations, verdict.warnings);
        // Because of one that cannot be read the API server looks at none.
        let readable = !violations.iter().any(|violation| violation.message().contains("must be a quantity"));
        let fields = fragment.template.as_object().expect("an object");
        let list = match fields.keys().next().map(String::as_str) {
            Some(field) if OF_CONTAINERS.contains(&field) => Some(0),
            Some("tolerations") => Some(2),
            _ => None,
        };
        let legal = usize::from(violations.is_empty());
        let judged = Judged { fragment, violations, warnings };
        match list.filter(|_| fragment.unknown.is_none() && readable) {
            Some(list) => lists[list + legal].push(judged),
            None => batches.push(vec![judged]),
        }
    }
    for list in lists {
        let mut list = list.into_iter().peekable();
        while list.peek().is_some() {
            batches.push(list.by_ref().take(TOGETHER).collect());
        }
    }
    batches
}

/// What is wrong with the two verdicts on each of the fragments, if anything is.
async fn judge(client: &Client, sets: &str, batch: &[Judged<'_>]) -> Vec<Option<String>> {
    let templates: Vec<&Value> = batch.iter().map(|judged| &judged.fragment.template).collect();
    let theirs = create(client, sets, &stateful_set(&templates), &[400, 422]).await;
    let unread = theirs.as_ref().is_err_and(|status| status.code == 400);
    assert!(!unread || batch.len() == 1, "one of many cannot be read: {theirs:?}");
    batch.iter().enumerate().map(|(index, judged)| disagreement(judged, index, &theirs)).collect()
}

fn disagreement(judged: &Judged<'_>, index: usize, theirs: &Theirs) -> Option<String> {
    let (fragment, ours) = (judged.fragment, &judged.violations);
    let causes = theirs.as_ref().map_or_else(|status| causes(status, index), |_| BTreeSet::new());
    // What cannot be read has no causes.
    let refused = theirs.as_ref().is_err_and(|status| status.code == 400) || !causes.is_empty();
    let agreed = match (refused, fragment.unknown) {
        (false, None) => {
            ours.is_empty() && theirs.as_ref().ok().is_none_or(|theirs| same_warnings(theirs, judged, index))
        }
        (false, Some(Unknown::Words)) | (_, Some(Unknown::Accepted)) => ours.is_empty(),
        (true, Some(Unknown::Words)) | (_, Some(Unknown::Refused)) => !ours.is_empty(),
        (true, None) => {
            let known = |violation: &rules::Violation| causes.iter().any(|cause| same(violation, cause));
            !ours.is_empty() && (causes.is_empty() || ours.iter().all(known))
        }
    };
    let texts: Vec<String> = ours.iter().map(ToString::to_string).chain(judged.warnings.clone()).collect();
    let theirs = theirs.as_ref().map_err(|status| &status.message);
    (!agreed).then(|| format!("{}\n  ours: {texts:#?}\n  theirs: {causes:#?} {theirs:?}", fragment.template))
}

/// Whether the warnings on the fragment at an index are those of the rules.
fn same_warnings(theirs: &[String], judged: &Judged<'_>, index: usize) -> bool {
    let theirs = theirs.iter().filter_map(|text| {
        let (field, words) = text.split_once(": ")?;
        Some(format!("{}: {words}", in_a_template(&of_item(field, index)?)))
    });
    let theirs: BTreeSet<String> = theirs.collect();
    let ours = judged.warnings.iter().filter(|text| !text.contains(OF_SETS)).cloned();
    theirs == ours.collect()
}

/// Whether a violation says what a cause of the API server's refusal says.
fn same(violation: &rules::Violation, (field, message): &(String, String)) -> bool {
    // Kubernetes names the map, the rules its key.
    let ours = violation.field.replace("spec.template.spec.nodeSelector[", "[");
    let ours = if ours.starts_with('[') { "spec.template.spec.nodeSelector" } else { violation.field.as_str() };
    if ours != field {
        return false;
    }
    let text = violation.message();
    match text.strip_prefix("Invalid value: \"\": ") {
        // Kubernetes shows the whole object.
        Some(detail) => message.ends_with(detail),
        // What is missing is missing, whatever the reason.
        None => text == "Required value" || *message == text,
    }
}

/// Field, as it is in a template, and message of each cause that is about the fragment at an index.
fn causes(status: &Status, index: usize) -> BTreeSet<(String, String)> {
    let causes = status.details.iter().flat_map(|details| &details.causes);
    causes.filter_map(|cause| Some((in_a_template(&of_item(&cause.field, index)?), cause.message.clone()))).collect()
}

/// The field as if its item were the only one of its list; none of another item's.
fn of_item(field: &str, index: usize) -> Option<String> {
    for list in ["containers", "tolerations"] {
        if let Some(rest) = field.strip_prefix(&format!("{POD}{list}[")) {
            let (item, rest) = rest.split_once(']')?;
            return (item == index.to_string()).then(|| format!("{POD}{list}[0]{rest}"));
        }
    }
    Some(field.to_owned())
}

fn in_a_template(field: &str) -> String {
    if let Some(rest) = field.strip_prefix(CONTAINER) {
        return format!("{POD}{rest}");
    }
    match field.strip_prefix(POD) {
        Some(rest) if rest.starts_with("securityContext") => format!("{POD}{}", rest.replacen('s', "podS", 1)),
        _ => field.to_owned(),
    }
}

pub fn merged(mut template: Value, fragment: &Value) -> Value {
    for (field, value) in fragment.as_object().expect("an object") {
        template[field] = value.clone();
    }
    template
}

/// The StatefulSet with what the fragments say, each in an item of its own.
pub fn stateful_set(templates: &[&Value]) -> Value {
    let (mut containers, mut pod) = (Vec::new(), json!({}));
    for (index, template) in templates.iter().enumerate() {
        let mut container = json!({"name": format!("c{index}"), "image": "raft:1"});
        for (field, value) in template.as_object().expect("an object") {
            if OF_CONTAINERS.contains(&field.as_str()) {
                container[field] = value.clone();
            } else if let (Some(before), Some(more)) =
                (pod.get_mut(field).and_then(Value::as_array_mut), value.as_array())
            {
                before.extend(more.iter().cloned());
            } else {
                let field = if field == "podSecurityContext" { "securityContext" } else { field };
                pod[field] = value.clone();
            }
        }
        containers.push(container);
    }
    pod["containers"] = Value::Array(containers);
    json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "a"},
        "spec": {
            "serviceName": "a", "selector": {"matchLabels": {"app": "a"}},
            "template": {"metadata": {"labels": {"app": "a"}}, "spec": pod},
        },
    })
}

/// The warnings of a dry-run creation below `path`, or why it is refused: the codes of a refusal are known.
pub async fn create(client: &Client, path: &str, object: &Value, refusals: &[u16]) -> Theirs {
    let request = PostParams { dry_run: true, ..PostParams::default() };
    let url = kube::core::Request::new(path);
    let request = url.create(&request, serde_json::to_vec(object).expect("JSON")).expect("a request");
    let response = client.send(request.map(Into::into)).await.expect("an answer");
    let warnings = response.headers().get_all("warning").iter().filter_map(|header| {
        let text = header.to_str().ok()?.strip_prefix("299 - ")?;
        serde_json::from_str(text).ok()
    });
    let warnings = warnings.collect();
    let status = response.status().as_u16();
    let body = response.into_body().collect_bytes().await.expect("a body");
    match status {
        201 => Ok(warnings),
        code if refusals.contains(&code) => Err(Box::new(serde_json::from_slice(&body).expect("a status"))),
        other => panic!("{other}: {}", String::from_utf8_lossy(&body)),
    }
}
