//! Objects that are never to be stored: by sending one, the `check` command finds out whether an API server reaches the
//! webhooks, since only they refuse it with the answer that is expected.

use serde_json::Value;

/// Annotation that makes an object a canary. Its value is part of the answer.
pub const ANNOTATION: &str = "k8s.atomix.io/canary";

/// A namespace that every cluster has and no cloud exempts from webhooks.
pub const EVERYWHERE: &str = "default";

/// Longest value that is repeated.
const LONGEST: usize = 64;

/// What a webhook refuses a canary with.
#[must_use]
pub fn answer(webhook: &str, value: &str) -> String {
    format!("canary {value} has reached {webhook}")
}

/// The value of the annotation, if `object` is a canary.
#[must_use]
pub fn value(object: &Value) -> Option<&str> {
    let value = object.get("metadata")?.get("annotations")?.get(ANNOTATION)?.as_str()?;
    Some(value.get(..LONGEST).unwrap_or(value)).filter(|value| value.len() <= LONGEST)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_canary_is_known_by_its_annotation() {
        let of = |annotations: &Value| json!({ "metadata": { "annotations": annotations } });
        assert_eq!(value(&of(&json!({ ANNOTATION: "c0ffee" }))), Some("c0ffee"));
        assert_eq!(value(&of(&json!({ ANNOTATION: "x".repeat(70) }))), Some("x".repeat(64).as_str()));
        for other in [json!({}), json!({ ANNOTATION: 1 }), json!(null), json!({ "other": "c0ffee" })] {
            assert_eq!(value(&of(&other)), None, "{other}");
        }
        assert_eq!(value(&Value::Null), None);
    }
}
