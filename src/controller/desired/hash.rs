//! Hashes that stay the same over versions of this program: annotations of stored objects have them.

use ring::digest::{Context, SHA256};
use serde_json::Value;

use crate::store::fields::is_empty;

/// A hash of keys and values, of 16 hexadecimal digits.
pub(crate) fn hash_of_entries<'a>(entries: impl Iterator<Item = (&'a String, &'a String)>) -> String {
    let mut context = Context::new(&SHA256);
    for text in entries.flat_map(|(key, value)| [key, value]) {
        context.update(text.as_bytes());
        context.update(&[0]);
    }
    digits(context)
}

/// A hash of a value without its empty fields, of 16 hexadecimal digits.
pub(crate) fn hash_of_value(value: &Value) -> String {
    let mut context = Context::new(&SHA256);
    feed(value, &mut context);
    digits(context)
}

fn digits(context: Context) -> String {
    let first = context.finish().as_ref().first_chunk().copied().unwrap_or_default();
    format!("{:016x}", u64::from_be_bytes(first))
}

fn feed(value: &Value, context: &mut Context) {
    match value {
        Value::Object(fields) => {
            context.update(b"{");
            for (name, value) in fields.iter().filter(|(_, value)| !is_empty(value)) {
                context.update(name.as_bytes());
                context.update(&[0]);
                feed(value, context);
            }
            context.update(b"}");
        }
        Value::Array(values) => {
            context.update(b"[");
            for value in values {
                feed(value, context);
            }
            context.update(b"]");
        }
        Value::String(text) => {
            context.update(text.as_bytes());
            context.update(&[0]);
        }
        other => {
            context.update(other.to_string().as_bytes());
            context.update(&[1]);
        }
    }
}
