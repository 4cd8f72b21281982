//! The metadata of a set, which the API server validates by itself: for commands without one.

use std::collections::{BTreeMap, HashSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use k8s_openapi::jiff::Timestamp;
use serde_json::Value;

use super::fields::Fields;
use super::report::Report;
use super::violation::Violation;
use super::{labels, syntax};

const OWNERS: &str = "metadata.ownerReferences";

/// Violations in the metadata of an object, but for rules that depend on its kind.
#[must_use]
pub fn metadata(object: &Value) -> Vec<Violation> {
    let mut violations = Vec::new();
    let nameless = Violation::required("metadata.name", "name or generateName is required");
    let Some(metadata) = Fields::root(object).object("metadata", &mut violations) else {
        violations.push(nameless);
        return violations;
    };
    let texts = ["name", "generateName"].map(|field| metadata.text(field, &mut violations).unwrap_or_default());
    if texts.iter().all(String::is_empty) {
        violations.push(nameless);
    }
    if let Some(namespace) = metadata.text("namespace", &mut violations).filter(|namespace| !namespace.is_empty()) {
        let wrong = syntax::dns_1123_label(&namespace).into_iter();
        violations.extend(wrong.map(|wrong| Violation::invalid("metadata.namespace", &namespace, wrong)));
    }
    if let Some(map) = texts_of("labels", &metadata, &mut violations) {
        labels::labels(&map, &mut Report::new("metadata.labels", &HashSet::new(), &mut violations));
    }
    if let Some(map) = texts_of("annotations", &metadata, &mut violations) {
        let (missing, max) = (HashSet::new(), labels::MAX_ANNOTATIONS);
        labels::annotations(&map, max, &mut Report::new("metadata.annotations", &missing, &mut violations));
    }
    written_by_the_api_server(&metadata, &mut violations);
    for finalizer in metadata.typed::<Vec<String>>("finalizers", &mut violations).unwrap_or_default() {
        let wrong = syntax::qualified_name(&finalizer).into_iter();
        violations.extend(wrong.map(|wrong| Violation::invalid("metadata.finalizers", &finalizer, wrong)));
    }
    let references: Vec<OwnerReference> = metadata.typed("ownerReferences", &mut violations).unwrap_or_default();
    owners(&references, &mut violations);
    violations
}

/// A map of texts. Here, unlike below `spec`, a `null` is an empty text.
fn texts_of(key: &str, metadata: &Fields<'_>, violations: &mut Vec<Violation>) -> Option<BTreeMap<String, String>> {
    let map: BTreeMap<String, Option<String>> = metadata.typed(key, violations)?;
    Some(map.into_iter().map(|(key, value)| (key, value.unwrap_or_default())).collect())
}

/// Fields whose values are ignored, and whose types are not.
fn written_by_the_api_server(metadata: &Fields<'_>, violations: &mut Vec<Violation>) {
    for field in ["uid", "resourceVersion", "selfLink"] {
        metadata.text(field, violations);
    }
    for field in ["generation", "deletionGracePeriodSeconds"] {
        metadata.integer(field, violations);
    }
    for field in ["creationTimestamp", "deletionTimestamp"] {
        let time = metadata.text(field, violations).filter(|time| time.parse::<Timestamp>().is_err());
        let wrong = |time| Violation::invalid(metadata.path(field), &time, "must be a time like 2006-01-02T15:04:05Z");
        violations.extend(time.map(wrong));
    }
}

fn owners(owners: &[OwnerReference], violations: &mut Vec<Violation>) {
    for owner in owners {
        let version = owner.api_version.rsplit('/').next().unwrap_or_default();
        if version.is_empty() || owner.api_version.matches('/').count() > 1 {
            let field = format!("{OWNERS}.apiVersion");
            violations.push(Violation::invalid(field, &owner.api_version, "version must not be empty"));
        }
        for (field, value) in [("kind", &owner.kind), ("name", &owner.name), ("uid", &owner.uid)] {
            if value.is_empty() {
                violations.push(Violation::invalid(format!("{OWNERS}.{field}"), value, "must not be empty"));
            }
        }
    }
    if owners.iter().filter(|owner| owner.controller == Some(true)).count() > 1 {
        violations.push(Violation::forbidden(OWNERS, "only one may have controller set to true"));
    }
}
