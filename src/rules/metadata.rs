//! The metadata of a set, which the API server judges by itself: for the commands that do not ask one.

use serde_json::Value;

use super::fields::Fields;
use super::labels;
use super::violation::Violation;

/// Most bytes that all annotations of an object may have together.
const MAX_ANNOTATIONS: usize = 256 * 1024;

/// What the API server would find wrong with the metadata of an object, but for what depends on its kind.
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
    if let Some(map) = metadata.typed("labels", &mut violations) {
        labels::labels(&map, "metadata.labels", &mut violations);
    }
    if let Some(map) = metadata.typed("annotations", &mut violations) {
        labels::annotations(&map, MAX_ANNOTATIONS, "metadata.annotations", &mut violations);
    }
    violations
}
