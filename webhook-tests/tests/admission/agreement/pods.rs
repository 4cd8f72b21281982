//! The rules on the parts of a template that become a pod, and Kubernetes' own on the template of a StatefulSet, agree:
//! in their verdicts, and in their words.

use std::collections::BTreeSet;

use atomix_controller::rules;
use futures::future::join_all;
use kube::Client;
use kube::api::PostParams;
use kube::core::Status;
use serde_json::{Value, json};
use webhook_tests::Namespace;

use super::fragments::{self, Fragment, Unknown};
use super::{alone, client, runtime};
use crate::bare::bare;
use crate::manifests::{raft, with};

const AT_ONCE: usize = 16;
/// Fields of a template that are a container's.
const OF_CONTAINERS: [&str; 3] = ["env", "resources", "securityContext"];
/// Where they stand in a StatefulSet.
const CONTAINER: &str = "spec.template.spec.containers[0].";
const POD: &str = "spec.template.spec.";

#[test]
fn a_template_is_refused_if_and_only_if_its_stateful_set_is() {
    let fragments = fragments::all();
    let namespace = Namespace::new(bare().kubectl(), "pods");
    let disagreements = runtime().block_on(async {
        let client = client().await;
        let sets = format!("/apis/apps/v1/namespaces/{}/statefulsets", namespace.name());
        let mut found = Vec::new();
        for some in fragments.chunks(AT_ONCE) {
            found.extend(join_all(some.iter().map(|fragment| judge(&client, &sets, fragment))).await);
        }
        found
    });
    super::assert_none(disagreements);
}

/// What is wrong with the two verdicts on one fragment, if anything is.
async fn judge(client: &Client, sets: &str, fragment: &Fragment) -> Option<String> {
    let template = json!({"size": 3, "protocol": "raft"});
    let set = with(raft("a"), "/spec/template/spec", merged(template, &fragment.template));
    let ours = rules::partition_set(&set, None, &alone).violations;
    let theirs = create(client, sets, &stateful_set(&fragment.template), &[400, 422]).await;
    let agreed = match (&theirs, fragment.unknown) {
        (Ok(()), None | Some(Unknown::Words)) | (_, Some(Unknown::Accepted)) => ours.is_empty(),
        (Err(_), Some(Unknown::Words)) | (_, Some(Unknown::Refused)) => !ours.is_empty(),
        (Err(status), None) => {
            let causes = causes(status);
            let known = |violation: &rules::Violation| causes.iter().any(|cause| same(violation, cause));
            // What cannot be read has no causes.
            !ours.is_empty() && (causes.is_empty() || ours.iter().all(known))
        }
    };
    let texts: Vec<String> = ours.iter().map(ToString::to_string).collect();
    let theirs = theirs.as_ref().map_err(|status| (&status.message, causes(status)));
    (!agreed).then(|| format!("{}\n  ours: {texts:#?}\n  theirs: {theirs:#?}", fragment.template))
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

/// Field, as it is in a template, and message of each cause.
fn causes(status: &Status) -> BTreeSet<(String, String)> {
    let causes = status.details.iter().flat_map(|details| &details.causes);
    causes.map(|cause| (in_a_template(&cause.field), cause.message.clone())).collect()
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

/// The StatefulSet with what the fragment says.
pub fn stateful_set(fragment: &Value) -> Value {
    let mut container = json!({"name": "atomix", "image": "raft:1"});
    let mut pod = json!({});
    for (field, value) in fragment.as_object().expect("an object") {
        if OF_CONTAINERS.contains(&field.as_str()) {
            container[field] = value.clone();
        } else {
            let field = if field == "podSecurityContext" { "securityContext" } else { field };
            pod[field] = value.clone();
        }
    }
    pod["containers"] = json!([container]);
    json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "a"},
        "spec": {
            "serviceName": "a", "selector": {"matchLabels": {"app": "a"}},
            "template": {"metadata": {"labels": {"app": "a"}}, "spec": pod},
        },
    })
}

/// What a dry-run creation below `path` is refused with, if it is: the codes of a refusal are known.
pub async fn create(client: &Client, path: &str, object: &Value, refusals: &[u16]) -> Result<(), Box<Status>> {
    let request = PostParams { dry_run: true, ..PostParams::default() };
    let url = kube::core::Request::new(path);
    let request = url.create(&request, serde_json::to_vec(object).expect("JSON")).expect("a request");
    match client.request::<Value>(request).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if refusals.contains(&status.code) => Err(status),
        Err(error) => panic!("{error:?}"),
    }
}
