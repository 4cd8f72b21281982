//! Protocol options: the YAML text of `spec.config`, checked strictly, and the protobuf JSON that nodes read.
//!
//! The options of a protocol are the fields of its message in `proto/`, in camelCase; `snake_case` is read as well.

mod yaml;

use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{Map, Value};

use self::yaml::Node;
use super::duration;
use super::violation::Violation;
use crate::api::{MAX_CONFIG_BYTES, Protocol};

/// Timings of a node where the options set none, in nanoseconds: those of Raft.
const ELECTION_TIMEOUT: u128 = 5_000_000_000;
const HEARTBEAT_INTERVAL: u128 = 500_000_000;

/// The type of options that are durations.
pub const DURATION: &str = "google.protobuf.Duration";
/// Rule of every option of type `double`: they are shares, of the disk or of the memory.
pub const RATIO: &str = "must be greater than 0 and less than 1";

/// The options in `text` as the protobuf JSON object of `protocol.json`; what is unset stays unset.
///
/// With an unknown protocol (`None`) the options of all protocols are accepted, so that a wrong protocol does not hide a
/// wrong option. `path` is the field of the text, for the messages.
///
/// # Errors
/// Every violation in the text: no YAML, no mapping, too long, an unknown, doubled, mistyped or out-of-bounds option.
pub fn check(text: &str, protocol: Option<Protocol>, path: &str) -> Result<Map<String, Value>, Vec<Violation>> {
    if text.len() > MAX_CONFIG_BYTES {
        return Err(vec![Violation::too_long(path, MAX_CONFIG_BYTES)]);
    }
    let given = match yaml::parse(text) {
        Ok(Node::Null) => Vec::new(),
        Ok(Node::Mapping(given)) => given,
        Ok(other) => {
            return Err(vec![Violation::mistyped(path, other.type_name(), "must be a YAML mapping of options")]);
        }
        Err(why) => return Err(vec![Violation::invalid(path, &text, format!("must be YAML: {why}"))]),
    };
    let known = protocol.map_or_else(|| Protocol::ALL.to_vec(), |protocol| vec![protocol]);
    let known: Vec<_> = known.into_iter().filter_map(Protocol::options).collect();
    let mut violations = Vec::new();
    let checked = group(&given, &known, path, &mut violations);
    timings(&checked, path, &mut violations);
    if violations.is_empty() { Ok(checked) } else { Err(violations) }
}

/// The content of `protocol.json` for options that [`check`] accepted.
#[must_use]
pub fn protobuf_json(options: &Map<String, Value>) -> String {
    Value::Object(options.clone()).to_string()
}

/// The options of a group that is one of the `known` messages.
fn group(
    given: &[(String, Node)],
    known: &[MessageDescriptor],
    path: &str,
    violations: &mut Vec<Violation>,
) -> Map<String, Value> {
    let mut checked = Map::new();
    for (index, (key, value)) in given.iter().enumerate() {
        let field = format!("{path}.{key}");
        let options: Vec<FieldDescriptor> = known
            .iter()
            .filter_map(|message| message.get_field_by_json_name(key).or_else(|| message.get_field_by_name(key)))
            .collect();
        let Some(option) = options.first() else {
            violations.push(Violation::not_supported(field, key, &names(known)));
            continue;
        };
        let name = option.json_name();
        if checked.contains_key(name) || given[..index].iter().any(|(earlier, _)| earlier == key) {
            violations.push(Violation::duplicate(field, name));
            continue;
        }
        if *value == Node::Null {
            continue;
        }
        match one(&options, &option.kind(), value, &field, violations) {
            Ok(value) => drop(checked.insert(name.to_owned(), value)),
            Err(violation) => violations.push(violation),
        }
    }
    checked
}

/// Names of all options of the messages.
fn names(messages: &[MessageDescriptor]) -> Vec<String> {
    let mut names = Vec::new();
    for field in messages.iter().flat_map(MessageDescriptor::fields) {
        let name = field.json_name().to_owned();
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// The value of an option, which all of `options` are.
fn one(
    options: &[FieldDescriptor],
    kind: &Kind,
    value: &Node,
    field: &str,
    violations: &mut Vec<Violation>,
) -> Result<Value, Violation> {
    let mistyped = |detail: &str| Violation::mistyped(field, value.type_name(), detail);
    let text = |detail: &str| match value {
        Node::Text(text) => Ok(text.as_str()),
        _ => Err(mistyped(detail)),
    };
    match kind {
        Kind::Message(message) if message.full_name() == DURATION => {
            const DETAIL: &str = "must be a duration greater than 0 with a unit, such as 5s, 500ms or 1m";
            let text = text(DETAIL)?;
            match duration::read(text) {
                Ok(nanos) if nanos > 0 => Ok(duration::protobuf_json(nanos).into()),
                Ok(_) => Err(Violation::invalid(field, &text, DETAIL)),
                Err(error) => Err(Violation::invalid(field, &text, error.select(DETAIL, duration::TOO_LONG))),
            }
        }
        Kind::Message(_) => {
            let Node::Mapping(given) = value else { return Err(mistyped("must be a mapping of options")) };
            let known: Vec<_> = options.iter().filter_map(|option| option.kind().as_message().cloned()).collect();
            Ok(Value::Object(group(given, &known, field, violations)))
        }
        Kind::Bool => match value {
            Node::Boolean(value) => Ok((*value).into()),
            _ => Err(mistyped("must be true or false")),
        },
        // A text, such as a path, has no control characters.
        Kind::String => {
            let text = text("must be a string")?;
            if text.contains(char::is_control) {
                return Err(Violation::invalid(field, &text, "must not contain control characters"));
            }
            Ok(text.into())
        }
        Kind::Double => {
            let number = value.number().ok_or_else(|| mistyped("must be a number"))?;
            if number > 0.0 && number < 1.0 {
                return Ok(number.into());
            }
            Err(Violation::invalid(field, &format_args!("{}", shown(number)), RATIO))
        }
        Kind::Uint32 => integer(value, u64::from(u32::MAX), field).map(Value::from),
        // Canonical protobuf JSON writes 64-bit integers as strings.
        Kind::Uint64 => match value {
            Node::Text(text) => text.parse().map_err(|_| mistyped("must be an integer")),
            _ => integer(value, u64::MAX, field),
        }
        .map(|number: u64| number.to_string().into()),
        Kind::Enum(choices) => {
            let text = text("must be a string")?;
            let known = choices.get_value_by_name(text).map(|_| text.into());
            known.ok_or_else(|| {
                let supported: Vec<_> = choices.values().map(|choice| choice.name().to_owned()).collect();
                Violation::not_supported(field, text, &supported)
            })
        }
        _ => Err(Violation::forbidden(field, "an option of this type cannot be set")),
    }
}

/// A number as YAML writes it.
fn shown(number: f64) -> String {
    if number.is_nan() {
        ".nan".to_owned()
    } else if number.is_infinite() {
        if number > 0.0 { ".inf".to_owned() } else { "-.inf".to_owned() }
    } else {
        number.to_string()
    }
}

fn integer(value: &Node, max: u64, field: &str) -> Result<u64, Violation> {
    let number = value.integer().ok_or_else(|| Violation::mistyped(field, value.type_name(), "must be an integer"))?;
    let outside =
        || Violation::invalid(field, &format_args!("{number}"), format!("must be an integer from 0 to {max}"));
    u64::try_from(number).ok().filter(|number| *number <= max).ok_or_else(outside)
}

/// The heartbeat interval of a leader must be shorter than the election timeout of its followers. It holds for every
/// protocol that has options of these names; one without them passes, since the defaults are in order.
fn timings(checked: &Map<String, Value>, path: &str, violations: &mut Vec<Violation>) {
    let nanos = |name: &str| checked.get(name).and_then(Value::as_str).and_then(duration::parse);
    let given_heartbeat = nanos("heartbeatInterval");
    let election = nanos("electionTimeout").unwrap_or(ELECTION_TIMEOUT);
    let heartbeat = given_heartbeat.unwrap_or(HEARTBEAT_INTERVAL);
    if heartbeat < election {
        return;
    }
    let (election, heartbeat) = (duration::readable(election), duration::readable(heartbeat));
    violations.push(if given_heartbeat.is_some() {
        let detail = format!("must be less than electionTimeout ({election})");
        Violation::invalid(format!("{path}.heartbeatInterval"), &heartbeat, detail)
    } else {
        let detail = format!("must be greater than heartbeatInterval ({heartbeat} by default)");
        Violation::invalid(format!("{path}.electionTimeout"), &election, detail)
    });
}

#[cfg(test)]
mod tests;
