//! One broken rule, in the words that Kubernetes' own validation uses.

use std::fmt;

/// Kind of a violation: `k8s.io/apimachinery/pkg/util/validation/field`'s error types, of which clients know the names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The field must be there.
    Required,
    /// The value is malformed or out of bounds.
    Invalid,
    /// The value has the wrong type.
    TypeInvalid,
    /// The value is not one of a known list.
    NotSupported,
    /// The value names something that is not there.
    NotFound,
    /// The value is a duplicate.
    Duplicate,
    /// The value is well-formed, and not allowed here.
    Forbidden,
    /// The value is too long.
    TooLong,
    /// The list has too many items.
    TooMany,
}

impl Reason {
    /// The `reason` of a cause in `metav1.Status`.
    #[must_use]
    pub const fn cause(self) -> &'static str {
        self.names().0
    }

    /// The `reason` of a cause, and the words of a message.
    const fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Required => ("FieldValueRequired", "Required value"),
            Self::Invalid => ("FieldValueInvalid", "Invalid value"),
            Self::TypeInvalid => ("FieldValueTypeInvalid", "Invalid value"),
            Self::NotSupported => ("FieldValueNotSupported", "Unsupported value"),
            Self::NotFound => ("FieldValueNotFound", "Not found"),
            Self::Duplicate => ("FieldValueDuplicate", "Duplicate value"),
            Self::Forbidden => ("FieldValueForbidden", "Forbidden"),
            Self::TooLong => ("FieldValueTooLong", "Too long"),
            Self::TooMany => ("FieldValueTooMany", "Too many"),
        }
    }
}

/// One broken rule.
///
/// ```
/// use atomix_controller::rules::Violation;
/// let violation = Violation::invalid("spec.partitions", &0, "must be greater than or equal to 1");
/// assert_eq!(violation.to_string(), "spec.partitions: Invalid value: 0: must be greater than or equal to 1");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which kind of rule is broken.
    pub reason: Reason,
    /// Path of the field as in the user's manifest.
    pub field: String,
    value: Option<String>,
    detail: String,
}

/// Longest text of a user's value that a message repeats, in characters.
const SHOWN_CHARACTERS: usize = 120;

impl Violation {
    /// The field must be there.
    pub fn required(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { reason: Reason::Required, field: field.into(), value: None, detail: detail.into() }
    }

    /// The value breaks a rule; it is shown as Rust's `Debug` shows it, which for numbers and plain text is as Go does.
    pub fn invalid(field: impl Into<String>, value: &impl fmt::Debug, detail: impl Into<String>) -> Self {
        Self { reason: Reason::Invalid, field: field.into(), value: Some(shown(value)), detail: detail.into() }
    }

    /// The value has another type than the field; `found` names that type, since the value may be large or private.
    pub fn mistyped(field: impl Into<String>, found: &str, detail: impl Into<String>) -> Self {
        Self { reason: Reason::TypeInvalid, field: field.into(), value: Some(shown(&found)), detail: detail.into() }
    }

    /// The value is not one of `supported`.
    pub fn not_supported(field: impl Into<String>, value: &str, supported: &[impl fmt::Debug]) -> Self {
        let list: Vec<String> = supported.iter().map(|name| format!("{name:?}")).collect();
        let detail = format!("supported values: {}", list.join(", "));
        Self { reason: Reason::NotSupported, field: field.into(), value: Some(shown(&value)), detail }
    }

    /// The value names something that is not there.
    pub fn not_found(field: impl Into<String>, value: &str, detail: impl Into<String>) -> Self {
        Self { reason: Reason::NotFound, field: field.into(), value: Some(shown(&value)), detail: detail.into() }
    }

    /// The value is a duplicate.
    pub fn duplicate(field: impl Into<String>, value: &str) -> Self {
        Self { reason: Reason::Duplicate, field: field.into(), value: Some(shown(&value)), detail: String::new() }
    }

    /// The field is not allowed here.
    pub fn forbidden(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { reason: Reason::Forbidden, field: field.into(), value: None, detail: detail.into() }
    }

    /// The text is longer than `max` bytes.
    pub fn too_long(field: impl Into<String>, max: usize) -> Self {
        let detail = format!("may not be more than {max} bytes");
        Self { reason: Reason::TooLong, field: field.into(), value: None, detail }
    }

    /// The list has more than `max` items.
    pub fn too_many(field: impl Into<String>, count: usize, max: usize) -> Self {
        let detail = format!("must have at most {max} items");
        Self { reason: Reason::TooMany, field: field.into(), value: Some(count.to_string()), detail }
    }

    /// What is wrong, without the field: the `message` of a cause in `metav1.Status`.
    #[must_use]
    pub fn message(&self) -> String {
        let mut text = self.reason.names().1.to_owned();
        for part in self.value.iter().chain((!self.detail.is_empty()).then_some(&self.detail)) {
            text.push_str(": ");
            text.push_str(part);
        }
        text
    }

    /// The same violation of another field.
    #[must_use]
    pub fn at(mut self, field: impl Into<String>) -> Self {
        self.field = field.into();
        self
    }

    /// Whether both are the same violation of the same field, at any index of a list: an update is not refused for what
    /// was wrong before and is unchanged.
    #[must_use]
    pub fn same_as(&self, other: &Self) -> bool {
        self.reason == other.reason
            && self.value == other.value
            && self.detail == other.detail
            && without_indexes(&self.field).eq(without_indexes(&other.field))
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.message())
    }
}

/// All violations in one line, as Kubernetes joins them.
#[must_use]
pub fn join(violations: &[Violation]) -> String {
    match violations {
        [one] => one.to_string(),
        many => {
            let texts: Vec<String> = many.iter().map(ToString::to_string).collect();
            format!("[{}]", texts.join(", "))
        }
    }
}

/// The value as messages repeat it: quoted, and cut if it is long.
pub(super) fn shown(value: &impl fmt::Debug) -> String {
    let text = format!("{value:?}");
    match text.char_indices().nth(SHOWN_CHARACTERS) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

fn without_indexes(field: &str) -> impl Iterator<Item = char> {
    let mut in_index = false;
    field.chars().filter(move |&c| {
        let keep = !(in_index && c.is_ascii_digit());
        in_index = c == '[' || (in_index && c.is_ascii_digit());
        keep
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_those_of_kubernetes() {
        let cases = [
            (Violation::required("a", ""), "a: Required value"),
            (Violation::required("a", "needed by b"), "a: Required value: needed by b"),
            (Violation::invalid("a", &-1, "must be positive"), "a: Invalid value: -1: must be positive"),
            (Violation::invalid("a", &"x\"y", "is odd"), r#"a: Invalid value: "x\"y": is odd"#),
            (
                Violation::mistyped("a", "string", "must be an integer"),
                r#"a: Invalid value: "string": must be an integer"#,
            ),
            (
                Violation::not_supported("a", "paxos", &["raft", "log"]),
                r#"a: Unsupported value: "paxos": supported values: "raft", "log""#,
            ),
            (Violation::not_found("a", "x", "must exist"), r#"a: Not found: "x": must exist"#),
            (Violation::duplicate("a[1].name", "x"), r#"a[1].name: Duplicate value: "x""#),
            (Violation::forbidden("a", "not here"), "a: Forbidden: not here"),
            (Violation::too_long("a", 5), "a: Too long: may not be more than 5 bytes"),
            (Violation::too_many("a", 6, 5), "a: Too many: 6: must have at most 5 items"),
        ];
        for (violation, text) in cases {
            assert_eq!(violation.to_string(), text);
        }
    }

    #[test]
    fn long_values_are_cut() {
        let text = Violation::invalid("a", &"é".repeat(5000), "is long").to_string();
        assert!(text.len() < 300 && text.ends_with("...: is long"), "{text}");
    }

    #[test]
    fn the_same_violation_is_recognised_at_another_index() {
        let at = |index: u32| Violation::invalid(format!("env[{index}].name"), &"", "bad");
        assert!(at(1).same_as(&at(12)));
        assert!(!at(1).same_as(&Violation::invalid("env[1].name", &"x", "bad")));
        assert!(!at(1).same_as(&Violation::invalid("env[1].value", &"", "bad")));
    }
}
