//! Protocol options: the YAML text of `spec.config`, checked strictly, and the protobuf JSON that nodes read.

mod options;
mod yaml;

use serde_json::{Map, Value};

use self::options::{ConfigOption, Kind};
use self::yaml::Node;
use super::duration;
use super::violation::Violation;
use crate::api::{MAX_CONFIG_BYTES, Protocol};

/// Timings of a Raft node that is told nothing else, in nanoseconds (contract, section 4).
const ELECTION_TIMEOUT: u128 = 5_000_000_000;
const HEARTBEAT_INTERVAL: u128 = 500_000_000;

/// What a share of the disk or of the memory has to be.
pub const RATIO: &str = "must be greater than 0 and less than 1";

/// The options in `text` as the protobuf JSON object of `protocol.json`; what is unset stays unset.
///
/// With an unknown protocol (`None`) the options of all protocols are accepted. `path` is the field that the text
/// stands in, for the messages.
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
    let mut violations = Vec::new();
    let checked = group(&given, options::of(protocol), path, &mut violations);
    timings(&checked, protocol, path, &mut violations);
    if violations.is_empty() { Ok(checked) } else { Err(violations) }
}

/// The content of `protocol.json` for options that [`check`] accepted.
#[must_use]
pub fn protobuf_json(options: &Map<String, Value>) -> String {
    Value::Object(options.clone()).to_string()
}

fn group(
    given: &[(String, Node)],
    known: &[ConfigOption],
    path: &str,
    violations: &mut Vec<Violation>,
) -> Map<String, Value> {
    let mut checked = Map::new();
    for (index, (key, value)) in given.iter().enumerate() {
        let field = format!("{path}.{key}");
        let Some(option) = known.iter().find(|option| *key == option.name || *key == snake_case(option.name)) else {
            let names: Vec<&str> = known.iter().map(|option| option.name).collect();
            violations.push(Violation::not_supported(field, key, &names));
            continue;
        };
        if checked.contains_key(option.name) || given[..index].iter().any(|(earlier, _)| earlier == key) {
            violations.push(Violation::duplicate(field, option.name));
            continue;
        }
        if *value == Node::Null {
            continue;
        }
        match one(option.kind, value, &field, violations) {
            Ok(value) => drop(checked.insert(option.name.to_owned(), value)),
            Err(violation) => violations.push(violation),
        }
    }
    checked
}

fn one(kind: Kind, value: &Node, field: &str, violations: &mut Vec<Violation>) -> Result<Value, Violation> {
    let mistyped = |detail: &str| Violation::mistyped(field, value.type_name(), detail);
    let text = |detail: &str| match value {
        Node::Text(text) => Ok(text.as_str()),
        _ => Err(mistyped(detail)),
    };
    match kind {
        Kind::Duration => {
            const DETAIL: &str = "must be a duration greater than 0 with a unit, such as 5s, 500ms or 1m";
            let text = text(DETAIL)?;
            match duration::read(text) {
                Ok(nanos) if nanos > 0 => Ok(duration::protobuf_json(nanos).into()),
                Ok(_) | Err(duration::Unreadable::Syntax) => Err(Violation::invalid(field, &text, DETAIL)),
                Err(duration::Unreadable::TooLong) => Err(Violation::invalid(field, &text, duration::TOO_LONG)),
            }
        }
        Kind::Boolean => match value {
            Node::Boolean(value) => Ok((*value).into()),
            _ => Err(mistyped("must be true or false")),
        },
        Kind::Path => {
            let path = text("must be a string")?;
            if path.contains(char::is_control) {
                return Err(Violation::invalid(field, &path, "must not contain control characters"));
            }
            Ok(path.into())
        }
        Kind::Ratio => {
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
        Kind::Choice(supported) => {
            let text = text("must be a string")?;
            let known = supported.contains(&text);
            known.then(|| text.into()).ok_or_else(|| Violation::not_supported(field, text, supported))
        }
        Kind::Group(known) => match value {
            Node::Mapping(given) => Ok(Value::Object(group(given, known, field, violations))),
            _ => Err(mistyped("must be a mapping of options")),
        },
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

/// A Raft leader must be heard more often than its followers lose patience.
fn timings(checked: &Map<String, Value>, protocol: Option<Protocol>, path: &str, violations: &mut Vec<Violation>) {
    if matches!(protocol, Some(Protocol::Backup | Protocol::Log)) {
        return;
    }
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

fn snake_case(camel: &str) -> String {
    camel.chars().fold(String::new(), |mut snake, c| {
        if c.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(c.to_ascii_lowercase());
        snake
    })
}

#[cfg(test)]
mod tests;
