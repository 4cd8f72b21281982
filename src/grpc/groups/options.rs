//! The options of a protocol: `google.protobuf.Any` in the API, YAML text in a PartitionSet.
//!
//! Both are read into one message, field by field as `proto/` describes it, so that an option which is added there needs no
//! code here. A zero is the same as an absent field, as in proto3.

use std::fmt;

use prost_reflect::prost::Message;
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, Value};
use prost_types::Any;
use serde_json::{Map, Value as Json};

use crate::api::Protocol;
use crate::rules::config::DURATION;
use crate::rules::{Violation, config, duration};

/// The field of a request that holds options.
const FIELD: &str = "spec.protocol";
/// Prefix of the name of a type.
const TYPE_URL: &str = "type.googleapis.com/";
const NANOS: u128 = 1_000_000_000;
const MAX_SECONDS: i128 = duration::MAX_SECONDS.cast_signed();

/// A protocol and its options; only what is not zero.
#[derive(Clone)]
pub(crate) struct Options {
    pub(crate) protocol: Protocol,
    message: DynamicMessage,
    /// The message encoded, as each answer needs it.
    encoded: Vec<u8>,
}

/// By the encoded message, in which a zero and an absent field are the same.
impl PartialEq for Options {
    fn eq(&self, other: &Self) -> bool {
        self.protocol == other.protocol && self.encoded == other.encoded
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.protocol.as_str(), self.shown())
    }
}

impl Options {
    /// The options in a request.
    ///
    /// # Errors
    /// Every violation: an unknown type, bytes that are no such message, a field that this version does not know (its
    /// option would be lost silently), an unknown value of an enum, a number or a duration that YAML cannot express.
    pub(crate) fn of_any(any: &Any) -> Result<Self, Vec<Violation>> {
        let name = any.type_url.rsplit('/').next().unwrap_or_default();
        let known = Protocol::ALL.into_iter().find(|protocol| protocol.facts().options == name);
        let Some((protocol, descriptor)) = known.and_then(|protocol| Some((protocol, protocol.options()?))) else {
            let names = Protocol::ALL.map(|protocol| protocol.facts().options);
            return Err(vec![Violation::not_supported(format!("{FIELD}.type_url"), name, &names)]);
        };
        let mut message = DynamicMessage::decode(descriptor, &*any.value).map_err(|error| {
            vec![Violation::invalid(FIELD, &name, format!("must be a message of that type: {error}"))]
        })?;
        let mut violations = Vec::new();
        normalize(&mut message, FIELD, &mut violations);
        if violations.is_empty() { Ok(Self::of(protocol, message)) } else { Err(violations) }
    }

    /// The options in the configuration of a PartitionSet.
    ///
    /// # Errors
    /// Every violation of the rules of [`config::check`].
    pub(crate) fn of_config(protocol: Protocol, text: &str, path: &str) -> Result<Self, Vec<Violation>> {
        let options = config::check(text, Some(protocol), path)?;
        let unknown = || vec![Violation::invalid(path, &"", "must have options that the API has as well")];
        let mut message = protocol.options().and_then(|kind| of_json(&kind, &options)).ok_or_else(unknown)?;
        normalize(&mut message, path, &mut Vec::new());
        Ok(Self::of(protocol, message))
    }

    fn of(protocol: Protocol, message: DynamicMessage) -> Self {
        let encoded = message.encode_to_vec();
        Self { protocol, message, encoded }
    }

    /// As the API has it.
    pub(crate) fn to_any(&self) -> Any {
        Any { type_url: format!("{TYPE_URL}{}", self.protocol.facts().options), value: self.encoded.clone() }
    }

    /// As a PartitionSet has it; none if there are no options.
    ///
    /// # Errors
    /// If it cannot be written as YAML.
    pub(crate) fn to_config(&self) -> Result<Option<String>, serde_saphyr::ser::Error> {
        let options = to_json(&self.message);
        if options.is_empty() { Ok(None) } else { serde_saphyr::to_string(&options).map(Some) }
    }

    /// In one line, for messages.
    pub(crate) fn shown(&self) -> String {
        Json::Object(to_json(&self.message)).to_string()
    }
}

/// An empty Any of the protocol's type, for options that cannot be read.
pub(super) fn unreadable(protocol: Protocol) -> Any {
    Any { type_url: format!("{TYPE_URL}{}", protocol.facts().options), value: Vec::new() }
}

/// Removes zeros, and reports what YAML or this version cannot express.
fn normalize(message: &mut DynamicMessage, path: &str, violations: &mut Vec<Violation>) {
    for unknown in message.unknown_fields() {
        let detail = "must have fields that this version of the controller knows, or the option would be lost";
        violations.push(Violation::invalid(path, &format_args!("field {}", unknown.number()), detail));
    }
    let mut zeros = Vec::new();
    for (field, value) in message.fields_mut() {
        let path = format!("{path}.{}", field.name());
        match (value, field.kind()) {
            (Value::Message(duration), Kind::Message(kind)) if kind.full_name() == DURATION => match nanos(duration) {
                Some(0) => zeros.push(field),
                Some(_) => {}
                None => {
                    let too_long = i128::from(parts(duration).0) > MAX_SECONDS;
                    let detail = if too_long { duration::TOO_LONG } else { "must be a duration of 0 or more" };
                    violations.push(Violation::invalid(path, &parts(duration), detail));
                }
            },
            (Value::Message(group), _) => {
                normalize(group, &path, violations);
                if group.encoded_len() == 0 {
                    zeros.push(field);
                }
            }
            (Value::F64(number), _) if *number == 0.0 => zeros.push(field),
            // All doubles are ratios. NaN is not between two numbers.
            (Value::F64(number), _) if !(*number > 0.0 && *number < 1.0) => {
                violations.push(Violation::invalid(path, number, config::RATIO));
            }
            (Value::EnumNumber(number), Kind::Enum(kind)) if kind.get_value(*number).is_none() => {
                let names: Vec<_> = kind.values().map(|value| value.name().to_owned()).collect();
                violations.push(Violation::not_supported(path, &number.to_string(), &names));
            }
            _ => {}
        }
    }
    for field in zeros {
        message.clear_field(&field);
    }
}

/// The two fields of a Duration.
fn parts(duration: &DynamicMessage) -> (i64, i32) {
    let field = |number| duration.get_field_by_number(number);
    let seconds = field(1).and_then(|seconds| seconds.as_i64()).unwrap_or_default();
    let nanos = field(2).and_then(|nanos| nanos.as_i32()).unwrap_or_default();
    (seconds, nanos)
}

/// Nanoseconds of a Duration; none if it is negative or not well formed.
fn nanos(message: &DynamicMessage) -> Option<u128> {
    let (seconds, nanos) = parts(message);
    let (seconds, nanos) = (u128::try_from(seconds).ok()?, u128::try_from(nanos).ok()?);
    (nanos < NANOS && seconds <= duration::MAX_SECONDS && message.unknown_fields().next().is_none())
        .then_some(seconds * NANOS + nanos)
}

fn of_json(kind: &MessageDescriptor, options: &Map<String, Json>) -> Option<DynamicMessage> {
    let mut message = DynamicMessage::new(kind.clone());
    for (name, value) in options {
        let field = kind.get_field_by_json_name(name)?;
        let value = value_of(&field, value)?;
        message.try_set_field(&field, value).ok()?;
    }
    Some(message)
}

/// The value of a field in the canonical protobuf JSON that [`config::check`] makes.
fn value_of(field: &FieldDescriptor, value: &Json) -> Option<Value> {
    Some(match field.kind() {
        Kind::Bool => Value::Bool(value.as_bool()?),
        Kind::Double => Value::F64(value.as_f64()?),
        Kind::Uint32 => Value::U32(value.as_u64()?.try_into().ok()?),
        Kind::Uint64 => Value::U64(value.as_str()?.parse().ok()?),
        Kind::String => Value::String(value.as_str()?.to_owned()),
        Kind::Enum(kind) => Value::EnumNumber(kind.get_value_by_name(value.as_str()?)?.number()),
        Kind::Message(kind) if kind.full_name() == DURATION => {
            let nanos = duration::parse(value.as_str()?)?;
            let mut duration = DynamicMessage::new(kind);
            duration.try_set_field_by_number(1, Value::I64((nanos / NANOS).try_into().ok()?)).ok()?;
            duration.try_set_field_by_number(2, Value::I32((nanos % NANOS).try_into().ok()?)).ok()?;
            Value::Message(duration)
        }
        Kind::Message(kind) => Value::Message(of_json(&kind, value.as_object()?)?),
        _ => return None,
    })
}

/// The fields by the names that people write.
fn to_json(message: &DynamicMessage) -> Map<String, Json> {
    let fields = message.fields().filter(|(field, _)| message.has_field(field));
    fields.map(|(field, value)| (field.json_name().to_owned(), json_of(&field, value))).collect()
}

fn json_of(field: &FieldDescriptor, value: &Value) -> Json {
    match (value, field.kind()) {
        (Value::Bool(value), _) => (*value).into(),
        (Value::F64(value), _) => (*value).into(),
        (Value::U32(value), _) => (*value).into(),
        (Value::U64(value), _) => (*value).into(),
        (Value::String(value), _) => value.as_str().into(),
        (Value::EnumNumber(number), Kind::Enum(kind)) => {
            kind.get_value(*number).map_or(Json::Null, |value| value.name().into())
        }
        (Value::Message(message), Kind::Message(kind)) if kind.full_name() == DURATION => {
            nanos(message).map_or(Json::Null, |nanos| duration::readable(nanos).into())
        }
        (Value::Message(group), _) => Json::Object(to_json(group)),
        _ => Json::Null,
    }
}

#[cfg(test)]
#[path = "options_tests.rs"]
mod tests;
