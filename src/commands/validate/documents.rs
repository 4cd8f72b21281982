//! The documents of a manifest, read as kubectl reads them: JSON, or YAML 1.1 of which JSON is made.
//!
//! The last of duplicate keys is used, as kubectl does; the reader reports the line.

use std::collections::{HashMap, HashSet};
use std::iter;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use granit_parser::{Event, Parser, ScalarStyle, Span, Tag};
use serde_json::{Map, Value};

use super::scalar;

/// Most values of all aliases together.
const MAX_ALIASED: usize = 100_000;
/// The key under which other mappings are merged into the one that has it.
const MERGE: &str = "<<";

/// One document of a manifest.
#[derive(Debug, Default)]
pub(super) struct Document {
    /// Its content.
    pub value: Value,
    /// Duplicate keys of mappings, each with the line of its repetition.
    pub repeated: Vec<(String, usize)>,
}

/// Reads all documents of a manifest.
///
/// # Errors
/// A message about what cannot be read.
pub(super) fn read(text: &str) -> Result<Vec<Document>, String> {
    if text.trim_start().starts_with('{') {
        let values: Result<Vec<Value>, _> = serde_json::Deserializer::from_str(text).into_iter().collect();
        if let Ok(values) = values {
            // JSON is YAML as a rule, and the YAML reader reports duplicate keys.
            let repeated = yaml(text).unwrap_or_default().into_iter().map(|document| document.repeated);
            let document = |(value, repeated)| Ok(Document { value: whole(value)?, repeated });
            return values.into_iter().zip(repeated.chain(iter::repeat(Vec::new()))).map(document).collect();
        }
    }
    separators(text)?;
    yaml(text)
}

/// Refuses what kubectl does not accept between documents: anything but a comment after the `---` that separates them, and
/// directives, since it reads each document alone.
fn separators(text: &str) -> Result<(), String> {
    let mut begins = true;
    for (index, line) in text.lines().enumerate() {
        if let Some(rest) = line.strip_prefix("---") {
            let rest = rest.trim();
            if !rest.is_empty() && !rest.starts_with('#') {
                return Err(format!("nothing but a comment may follow \"---\" in line {}", index + 1));
            }
            begins = true;
        } else if begins && line.starts_with('%') {
            return Err(format!("there is a directive in line {}", index + 1));
        } else if !line.trim().is_empty() && !line.starts_with('#') {
            begins = false;
        }
    }
    Ok(())
}

fn yaml(text: &str) -> Result<Vec<Document>, String> {
    let parser = Parser::new_from_str_with_options(text, granit_parser::options! { emit_comments: false });
    let mut reader = Reader { parser, anchors: HashMap::new(), aliased: 0, repeated: Vec::new() };
    let mut documents = Vec::new();
    while let Some((event, span)) = reader.next()? {
        if matches!(event, Event::StreamStart | Event::StreamEnd | Event::DocumentStart(..) | Event::DocumentEnd) {
            continue;
        }
        let value = reader.node(event, span)?;
        reader.anchors.clear();
        documents.push(Document { value, repeated: std::mem::take(&mut reader.repeated) });
    }
    Ok(documents)
}

/// Numbers of JSON as kubectl sends them.
fn whole(value: Value) -> Result<Value, String> {
    Ok(match value {
        Value::Number(number) if number.is_f64() => scalar::number(number.as_f64().unwrap_or_default())?,
        Value::Array(items) => items.into_iter().map(whole).collect::<Result<_, _>>()?,
        Value::Object(fields) => {
            let fields = fields.into_iter().map(|(key, value)| Ok((key, whole(value)?)));
            Value::Object(fields.collect::<Result<_, String>>()?)
        }
        other => other,
    })
}

struct Reader<'a> {
    parser: Parser<'a, granit_parser::StrInput<'a>>,
    anchors: HashMap<usize, Value>,
    aliased: usize,
    repeated: Vec<(String, usize)>,
}

type Read<T> = Result<T, String>;

impl<'a> Reader<'a> {
    fn next(&mut self) -> Read<Option<(Event<'a>, Span)>> {
        let event = self.parser.next().transpose();
        event.map_err(|error| {
            format!("{} at line {}, column {}", error.info(), error.marker().line(), error.marker().col() + 1)
        })
    }

    /// The next event inside a document; there is one until the document ends.
    fn inside(&mut self) -> Read<(Event<'a>, Span)> {
        self.next()?.ok_or_else(|| "the document does not end".to_owned())
    }

    fn node(&mut self, event: Event<'a>, span: Span) -> Read<Value> {
        let (anchor, value) = match event {
            Event::Scalar(text, style, anchor, tag) => (anchor, value_of(&text, style, tag.as_deref(), span)?),
            Event::SequenceStart(_, anchor, _) => (anchor, self.sequence()?),
            Event::MappingStart(_, anchor, _) => (anchor, self.mapping()?),
            Event::Alias(anchor) => (0, self.alias(anchor)?),
            other => return Err(format!("{other:?} is no value{}", at(span))),
        };
        if anchor != 0 {
            self.anchors.insert(anchor, value.clone());
        }
        Ok(value)
    }

    fn alias(&mut self, anchor: usize) -> Read<Value> {
        let value = self.anchors.get(&anchor).ok_or("an anchor contains itself")?;
        self.aliased += size(value);
        if self.aliased > MAX_ALIASED {
            return Err("the document contains excessive aliasing".to_owned());
        }
        Ok(value.clone())
    }

    fn sequence(&mut self) -> Read<Value> {
        let mut items = Vec::new();
        loop {
            match self.inside()? {
                (Event::SequenceEnd, _) => return Ok(Value::Array(items)),
                (event, span) => items.push(self.node(event, span)?),
            }
        }
    }

    fn mapping(&mut self) -> Read<Value> {
        let mut fields = Map::new();
        let mut written = HashSet::new();
        loop {
            let (event, span) = match self.inside()? {
                (Event::MappingEnd, _) => return Ok(Value::Object(fields)),
                other => other,
            };
            let is_merge = matches!(&event, Event::Scalar(text, ScalarStyle::Plain, _, None) if text == MERGE);
            let key = self.node(event, span)?;
            let (event, of_value) = self.inside()?;
            let value = self.node(event, of_value)?;
            if is_merge {
                let others = merge(value).ok_or_else(|| format!("only mappings can be merged{}", at(of_value)))?;
                fields.extend(others);
                continue;
            }
            let key = key_of(key).ok_or_else(|| format!("a key must be a text or a number{}", at(span)))?;
            if !written.insert(key.clone()) {
                self.repeated.push((key.clone(), span.start.line()));
            }
            fields.insert(key, value);
        }
    }
}

fn at(span: Span) -> String {
    format!(" at line {}, column {}", span.start.line(), span.start.col() + 1)
}

fn value_of(text: &str, style: ScalarStyle, tag: Option<&Tag>, span: Span) -> Read<Value> {
    let Some(tag) = tag else {
        return if style == ScalarStyle::Plain { scalar::plain(text) } else { Ok(text.into()) };
    };
    let is_yaml = tag.handle() == "tag:yaml.org,2002:";
    let found = match tag.suffix() {
        "binary" if is_yaml => {
            STANDARD.decode(text).ok().and_then(|bytes| String::from_utf8(bytes).ok()).map(Value::from)
        }
        "bool" if is_yaml => Some(scalar::plain(text)?).filter(Value::is_boolean),
        "int" if is_yaml => Some(scalar::plain(text)?).filter(|value| value.is_i64() || value.is_u64()),
        "float" if is_yaml => Some(scalar::plain(text)?).filter(Value::is_number),
        "null" if is_yaml => Some(scalar::plain(text)?).filter(Value::is_null),
        _ => Some(text.into()),
    };
    found.ok_or_else(|| format!("{text:?} is no !!{}{}", tag.suffix(), at(span)))
}

/// The fields that a merge adds; the first of several mappings has precedence.
fn merge(value: Value) -> Option<Map<String, Value>> {
    match value {
        Value::Object(fields) => Some(fields),
        Value::Array(items) => items.into_iter().rev().try_fold(Map::new(), |mut fields, item| match item {
            Value::Object(others) => {
                fields.extend(others);
                Some(fields)
            }
            _ => None,
        }),
        _ => None,
    }
}

fn key_of(key: Value) -> Option<String> {
    match key {
        Value::String(key) => Some(key),
        Value::Bool(key) => Some(key.to_string()),
        Value::Number(key) => Some(key.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// How many values there are in one.
fn size(value: &Value) -> usize {
    1 + match value {
        Value::Array(items) => items.iter().map(size).sum(),
        Value::Object(fields) => fields.values().map(size).sum(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn values(text: &str) -> Vec<Value> {
        read(text).unwrap().into_iter().map(|document| document.value).collect()
    }

    #[test]
    fn documents_are_those_of_kubectl() {
        let texts = "a: 'yes'\nb: yes\nc: \"1\"\nd: |\n  1\n";
        assert_eq!(values(texts), [json!({"a": "yes", "b": true, "c": "1", "d": "1\n"})]);
        assert_eq!(values("# nothing\n---\na: 1\n---\n---\n- 2\n"), [json!({"a": 1}), json!(null), json!([2])]);
        assert_eq!(values("--- # one\na: |\n %b\n---  \nc: 1\n"), [json!({"a": "%b\n"}), json!({"c": 1})]);
        assert_eq!(values("{1: a, yes: b, 0x10: c}"), [json!({"1": "a", "true": "b", "16": "c"})]);
        assert_eq!(
            values("a: !!str 1\nb: !!float 2\nc: !!binary YQ==\nd: !x 1\n"),
            [json!({"a": "1", "b": 2, "c": "a", "d": "1"})]
        );
        assert_eq!(
            values(r#" {"a": 3.0, "b": [1e0, "\ud83d\ude00"]} {"c": 1.5}"#),
            [json!({"a": 3, "b": [1, "😀"]}), json!({"c": 1.5})]
        );
    }

    #[test]
    fn anchors_are_copied_and_merged() {
        let merged = "a: &a {p: 1, q: 2}\nb: {<<: *a, q: 3}\nc: {q: 4, <<: [{r: 5}, *a]}\nd: *a\n";
        let [value] = values(merged).try_into().unwrap();
        assert_eq!((&value["b"], &value["d"]), (&json!({"p": 1, "q": 3}), &value["a"]));
        assert_eq!(value["c"], json!({"p": 1, "q": 2, "r": 5}));
        assert!(read(merged).unwrap()[0].repeated.is_empty());
    }

    #[test]
    fn the_last_of_duplicate_keys_is_used() {
        let document = read("a: 1\nb: {c: 1, c: 2}\na: 3\n").unwrap().pop().unwrap();
        assert_eq!(document.value, json!({"a": 3, "b": {"c": 2}}));
        assert_eq!(document.repeated, [("c".to_owned(), 2), ("a".to_owned(), 3)]);
        let document = read("{\"a\": 1,\n\"a\": 2}").unwrap().pop().unwrap();
        assert_eq!((document.value, document.repeated), (json!({"a": 2}), vec![("a".to_owned(), 2)]));
    }

    #[test]
    fn errors_say_what_cannot_be_read() {
        let bomb =
            (1..30).fold("a0: &a0 [x, x]\n".to_owned(), |text, i| format!("{text}a{i}: &a{i} [*a{0}, *a{0}]\n", i - 1));
        for (text, words) in [
            ("a: [1\n", "line"),
            ("a: .inf\n", "JSON has no number inf"),
            ("~: 1\n", "a key must be a text or a number at line 1, column 1"),
            ("a: !!int x\n", "\"x\" is no !!int at line 1"),
            ("<<: 1\n", "only mappings can be merged at line 1, column 5"),
            ("a: &a [*a]\n", "an anchor contains itself"),
            (&bomb, "excessive aliasing"),
            ("--- {a: 1}\n", "nothing but a comment may follow \"---\" in line 1"),
            ("a: 1\n---- # b\n", "nothing but a comment may follow \"---\" in line 2"),
            ("# a\n%YAML 1.2\n---\na: 1\n", "there is a directive in line 2"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(words), "{text:.40}: {error}");
        }
        assert!(read(&"[".repeat(10_000)).is_err());
    }
}
