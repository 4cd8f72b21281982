//! Protocol options: the YAML text of `spec.config`, checked strictly, and the protobuf JSON that nodes read.

mod options;

use serde_json::{Map, Value};

use self::options::{ConfigOption, Kind};
use super::violation::Violation;
use super::{duration, fields};
use crate::api::{MAX_CONFIG_BYTES, Protocol};

/// Timings of a Raft node that is told nothing else, in nanoseconds (contract, section 4).
const ELECTION_TIMEOUT: u128 = 5_000_000_000;
const HEARTBEAT_INTERVAL: u128 = 500_000_000;

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
    let given = match parse(text) {
        Ok(Value::Null) => Map::new(),
        Ok(Value::Object(given)) => given,
        Ok(other) => {
            return Err(vec![Violation::mistyped(path, fields::type_of(&other), "must be a YAML mapping of options")]);
        }
        Err(detail) => return Err(vec![Violation::invalid(path, &text, detail)]),
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

fn parse(text: &str) -> Result<Value, String> {
    if text.trim().is_empty() {
        return Ok(Value::Null);
    }
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: 16,
            max_nodes: 4096,
            max_aliases: 16,
            max_anchors: 16,
            max_documents: 1,
        },
        strict_booleans: true,
        with_snippet: false,
    };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        let error = error.without_snippet().to_string();
        let line = error.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ");
        format!("must be YAML: {line}")
    })
}

fn group(
    given: &Map<String, Value>,
    known: &[ConfigOption],
    path: &str,
    violations: &mut Vec<Violation>,
) -> Map<String, Value> {
    let mut checked = Map::new();
    for (key, value) in given {
        let field = format!("{path}.{key}");
        let Some(option) = known.iter().find(|option| *key == option.name || *key == snake_case(option.name)) else {
            let names: Vec<&str> = known.iter().map(|option| option.name).collect();
            violations.push(Violation::not_supported(field, key, &names));
            continue;
        };
        if value.is_null() {
            continue;
        }
        if checked.contains_key(option.name) {
            violations.push(Violation::duplicate(field, option.name));
            continue;
        }
        match one(option.kind, value, &field, violations) {
            Ok(value) => drop(checked.insert(option.name.to_owned(), value)),
            Err(violation) => violations.push(violation),
        }
    }
    checked
}

fn one(kind: Kind, value: &Value, field: &str, violations: &mut Vec<Violation>) -> Result<Value, Violation> {
    let mistyped = |detail: &str| Violation::mistyped(field, fields::type_of(value), detail);
    match kind {
        Kind::Duration => {
            const DETAIL: &str = "must be a duration greater than 0 with a unit, such as 5s, 500ms or 1m";
            let text = value.as_str().ok_or_else(|| mistyped(DETAIL))?;
            let nanos = duration::parse(text).filter(|nanos| *nanos > 0);
            let nanos = nanos.ok_or_else(|| Violation::invalid(field, &text, DETAIL))?;
            Ok(duration::protobuf_json(nanos).into())
        }
        Kind::Boolean => value.as_bool().map(Value::Bool).ok_or_else(|| mistyped("must be true or false")),
        Kind::Text => value.as_str().map(Value::from).ok_or_else(|| mistyped("must be a string")),
        Kind::Fraction => {
            let number = value.as_f64().ok_or_else(|| mistyped("must be a number"))?;
            if number < 0.0 {
                return Err(Violation::invalid(field, &number, "must be greater than or equal to 0"));
            }
            Ok(value.clone())
        }
        Kind::Uint32 => integer(value, u64::from(u32::MAX), field).map(Value::from),
        // Canonical protobuf JSON writes 64-bit integers as strings.
        Kind::Uint64 => match value.as_str().map(str::parse::<u64>) {
            Some(Ok(number)) => Ok(number.to_string().into()),
            _ => integer(value, u64::MAX, field).map(|number| number.to_string().into()),
        },
        Kind::Choice(supported) => {
            let text = value.as_str().ok_or_else(|| mistyped("must be a string"))?;
            let known = supported.contains(&text);
            known.then(|| text.into()).ok_or_else(|| Violation::not_supported(field, text, supported))
        }
        Kind::Group(known) => {
            let given = value.as_object().ok_or_else(|| mistyped("must be a mapping of options"))?;
            Ok(Value::Object(group(given, known, field, violations)))
        }
    }
}

fn integer(value: &Value, max: u64, field: &str) -> Result<u64, Violation> {
    let Value::Number(number) = value else {
        return Err(Violation::mistyped(field, fields::type_of(value), "must be an integer"));
    };
    let outside =
        || Violation::invalid(field, &format_args!("{number}"), format!("must be an integer from 0 to {max}"));
    number.as_u64().filter(|number| *number <= max).ok_or_else(outside)
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
    let (election, heartbeat) = (duration::protobuf_json(election), duration::protobuf_json(heartbeat));
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
