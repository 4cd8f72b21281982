//! The YAML text of options as a tree, read as YAML 1.2 has it.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_saphyr::budget::BudgetBreach;
use serde_saphyr::options::{DuplicateKeyPolicy, NonFiniteFloatPolicy};
use serde_saphyr::{Error, Spanned};

/// A value. Some have no equivalent in JSON: numbers that are infinite or NaN, and mappings with duplicate keys.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Node {
    Null,
    Boolean(bool),
    Integer(i128),
    Number(f64),
    Text(String),
    /// No option is a list: the items are dropped.
    List,
    Mapping(Vec<(String, Node)>),
}

impl Node {
    /// The type in messages.
    pub(super) fn type_name(&self) -> &'static str {
        match self {
            _ if self.integer().is_some() => "integer",
            Self::Null => "null",
            Self::Boolean(_) => "boolean",
            Self::Integer(_) => "integer",
            Self::Number(_) => "number",
            Self::Text(_) => "string",
            Self::List => "array",
            Self::Mapping(_) => "object",
        }
    }

    /// The number; none if it is something else.
    #[allow(clippy::cast_precision_loss, reason = "integers that lose precision are out of every bound")]
    pub(super) const fn number(&self) -> Option<f64> {
        match self {
            Self::Integer(number) => Some(*number as f64),
            Self::Number(number) => Some(*number),
            _ => None,
        }
    }

    /// The integer; none if it is something else. A number without a fraction is an integer, as in protobuf JSON: `1e3`,
    /// and `017`, which begins with a zero and is decimal in YAML 1.2.
    #[allow(
        clippy::cast_possible_truncation,
        reason = "a number beyond the integers becomes the largest, which is out of every bound"
    )]
    pub(super) fn integer(&self) -> Option<i128> {
        match self {
            Self::Integer(number) => Some(*number),
            Self::Number(number) if number.is_finite() && number.fract() == 0.0 => Some(*number as i128),
            _ => None,
        }
    }
}

/// Most levels of nesting.
const MAX_DEPTH: usize = 16;
/// Most values, keys among them.
const MAX_NODES: usize = 4096;
/// Most aliases, and most anchors.
const MAX_ALIASES: usize = 16;

/// Reads a text.
///
/// # Errors
/// A message if it is no YAML, or too complex.
pub(super) fn parse(text: &str) -> Result<Node, String> {
    if text.trim().is_empty() {
        return Ok(Node::Null);
    }
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: MAX_DEPTH,
            max_nodes: MAX_NODES,
            max_aliases: MAX_ALIASES,
            max_anchors: MAX_ALIASES,
            max_documents: 1,
        },
        strict_booleans: true,
        underscored_numbers_as_strings: true,
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        non_finite_float_policy: NonFiniteFloatPolicy::PassThrough,
        with_snippet: false,
    };
    let read: Read = serde_saphyr::from_str_with_options(text, options).map_err(|error| why(&error))?;
    Ok(read.resolve(text))
}

/// The message of an error, without the reader's name of its limits.
fn why(error: &Error) -> String {
    let error = error.without_snippet();
    match error {
        Error::Budget { breach: BudgetBreach::Documents { .. }, .. } => "more than one document".to_owned(),
        Error::Budget { breach: BudgetBreach::Depth { .. }, .. } => format!("more than {MAX_DEPTH} levels"),
        Error::Budget { breach: BudgetBreach::Nodes { .. }, .. } => format!("more than {MAX_NODES} values"),
        Error::Budget { breach: BudgetBreach::Aliases { .. } | BudgetBreach::Anchors { .. }, .. } => {
            format!("more than {MAX_ALIASES} aliases or anchors")
        }
        Error::Budget { .. } => "too complex".to_owned(),
        other => {
            let other = other.to_string();
            other.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
        }
    }
}

/// A value whose integers may be of YAML 1.1.
enum Read {
    Known(Node),
    Mapping(Vec<(String, Spanned<Read>)>),
}

impl Read {
    fn resolve(self, text: &str) -> Node {
        match self {
            Self::Known(node) => node,
            Self::Mapping(entries) => {
                let entries = entries.into_iter().map(|(key, entry)| {
                    let span = entry.defined.span();
                    let node = match entry.value.resolve(text) {
                        // The reader knows the integers of YAML 1.1 as well.
                        Node::Integer(number) => match written(text, span).filter(|written| !is_integer(written)) {
                            Some(written) => Node::Text(written.to_owned()),
                            None => Node::Integer(number),
                        },
                        other => other,
                    };
                    (key, node)
                });
                Node::Mapping(entries.collect())
            }
        }
    }
}

fn written(text: &str, span: serde_saphyr::Span) -> Option<&str> {
    let start = usize::try_from(span.byte_offset()?).ok()?;
    let length = usize::try_from(span.byte_len()?).ok()?;
    text.get(start..start.checked_add(length)?)
}

/// Whether a text is an integer in YAML 1.2.
fn is_integer(text: &str) -> bool {
    let all = |digits: &str, is: fn(&char) -> bool| !digits.is_empty() && digits.chars().all(|c| is(&c));
    if let Some(digits) = text.strip_prefix("0x") {
        return all(digits, char::is_ascii_hexdigit);
    }
    if let Some(digits) = text.strip_prefix("0o") {
        return all(digits, |c| ('0'..='7').contains(c));
    }
    all(text.strip_prefix(['+', '-']).unwrap_or(text), char::is_ascii_digit)
}

impl<'de> Deserialize<'de> for Read {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Read;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<E>(self) -> Result<Read, E> {
        Ok(Read::Known(Node::Null))
    }

    fn visit_none<E>(self) -> Result<Read, E> {
        Ok(Read::Known(Node::Null))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Read, E> {
        Ok(Read::Known(Node::Boolean(value)))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Read, E> {
        Ok(Read::Known(Node::Integer(value.into())))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Read, E> {
        Ok(Read::Known(Node::Integer(value.into())))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Read, E> {
        Ok(Read::Known(Node::Number(value)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Read, E> {
        Ok(Read::Known(Node::Text(value.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Read, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Read::Known(Node::List))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Read, A::Error> {
        let mut read = Vec::new();
        while let Some((key, entry)) = entries.next_entry::<Option<String>, _>()? {
            read.push((key.ok_or_else(|| A::Error::custom("a key is null: it must be a string"))?, entry));
        }
        Ok(Read::Mapping(read))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_name_the_limit() {
        let deep = "{a: ".repeat(MAX_DEPTH + 1) + &"}".repeat(MAX_DEPTH + 1);
        let aliases = format!("a: &x 1\nb: [{}]", vec!["*x"; MAX_ALIASES + 1].join(", "));
        for (text, words) in [
            ("a: 1\n---\nb: 2\n", "more than one document"),
            (&deep, "more than 16 levels"),
            (&aliases, "more than 16 aliases or anchors"),
            (&format!("a: [{}]", "1, ".repeat(MAX_NODES)), "more than 4096 values"),
        ] {
            assert_eq!(parse(text), Err(words.to_owned()));
        }
        let null = parse("~: 1\n").unwrap_err();
        assert!(null.contains("a key is null: it must be a string"), "{null}");
    }

    #[test]
    fn scalars_are_those_of_yaml_1_2() {
        let text = |text: &str| Node::Text(text.to_owned());
        for (written, node) in [
            ("12", Node::Integer(12)),
            ("+12", Node::Integer(12)),
            ("-3", Node::Integer(-3)),
            ("0x1F", Node::Integer(31)),
            ("0o17", Node::Integer(15)),
            ("017", Node::Number(17.0)),
            ("1_000", text("1_000")),
            ("0b11", text("0b11")),
            ("0X1F", text("0X1F")),
            ("-0x1F", text("-0x1F")),
            ("'12'", text("12")),
            ("1e400", Node::Number(f64::INFINITY)),
            ("-.inf", Node::Number(f64::NEG_INFINITY)),
            ("yes", text("yes")),
            ("True", Node::Boolean(true)),
            ("~", Node::Null),
            ("", Node::Null),
            ("[1, {a: b}]", Node::List),
        ] {
            let found = parse(&format!("é: ü\na: {written}\n"));
            let wanted = [("é".to_owned(), text("ü")), ("a".to_owned(), node)];
            assert_eq!(found, Ok(Node::Mapping(wanted.into())), "{written}");
        }
    }
}
