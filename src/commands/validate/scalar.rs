//! Scalars of a manifest as kubectl reads them, by YAML 1.1: `010` is 8, `1_000` is 1000 and `yes` is true.

use serde_json::{Number, Value};

/// Largest whole number that Go writes as JSON without an exponent.
const MAX_WRITTEN_OUT: f64 = 1e21;

/// The value of a plain scalar, or of one that is tagged to be another than a text. Times are texts.
///
/// # Errors
/// If JSON has no such number.
pub(super) fn plain(text: &str) -> Result<Value, String> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Ok(Value::Null),
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => return Ok(true.into()),
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            return Ok(false.into());
        }
        ".nan" | ".NaN" | ".NAN" => return number(f64::NAN),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => return number(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => return number(f64::NEG_INFINITY),
        _ => {}
    }
    let digits: String = match text.as_bytes()[0] {
        b'.' => text.to_owned(),
        b'0'..=b'9' | b'+' | b'-' => text.replace('_', ""),
        _ => return Ok(text.into()),
    };
    if let Some(integer) = integer(&digits) {
        return Ok(integer);
    }
    match float(&digits) {
        Some(float) => number(float),
        None => Ok(text.into()),
    }
}

/// A number as Go writes it: without a fraction if it has none.
///
/// # Errors
/// If JSON has no such number.
pub(super) fn number(number: f64) -> Result<Value, String> {
    if number.fract() == 0.0 && number.abs() < MAX_WRITTEN_OUT {
        let written = (number + 0.0).to_string();
        let whole = written.parse::<i64>().map(Value::from).or_else(|_| written.parse::<u64>().map(Value::from));
        if let Ok(whole) = whole {
            return Ok(whole);
        }
    }
    Number::from_f64(number).map(Value::Number).ok_or_else(|| format!("JSON has no number {number}"))
}

/// An integer of 64 bits: decimal, or in the base of its prefix.
fn integer(digits: &str) -> Option<Value> {
    let (sign, unsigned) = match digits.as_bytes().first()? {
        b'-' => ("-", &digits[1..]),
        b'+' => ("", &digits[1..]),
        _ => ("", digits),
    };
    let prefixed = |prefixes: [&str; 2]| prefixes.into_iter().find_map(|prefix| unsigned.strip_prefix(prefix));
    let (base, unsigned) = if let Some(rest) = prefixed(["0x", "0X"]) {
        (16, rest)
    } else if let Some(rest) = prefixed(["0o", "0O"]) {
        (8, rest)
    } else if let Some(rest) = prefixed(["0b", "0B"]) {
        (2, rest)
    } else if unsigned.len() > 1 && unsigned.starts_with('0') {
        (8, &unsigned[1..])
    } else {
        (10, unsigned)
    };
    if unsigned.starts_with(['+', '-']) {
        return None;
    }
    if let Ok(signed) = i64::from_str_radix(&format!("{sign}{unsigned}"), base) {
        return Some(signed.into());
    }
    // Beyond that, a decimal integer has no sign at all, and one of another base no minus.
    let may_be_more = !digits.starts_with('-') && (base != 10 || !digits.starts_with('+'));
    u64::from_str_radix(unsigned, base).ok().filter(|_| may_be_more).map(Value::from)
}

/// A decimal number, with a fraction, an exponent or both; none if it is beyond what 64 bits hold.
fn float(digits: &str) -> Option<f64> {
    let unsigned = digits.strip_prefix(['+', '-']).unwrap_or(digits);
    let known = unsigned.chars().all(|c| c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E' | '+' | '-'));
    if !known || !unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return None;
    }
    digits.parse().ok().filter(|float: &f64| float.is_finite())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn scalars_are_those_of_kubectl() {
        for (text, value) in [
            ("3", json!(3)),
            ("+3", json!(3)),
            ("3.0", json!(3)),
            ("3.", json!(3)),
            ("3e0", json!(3)),
            ("30e-1", json!(3)),
            (".3e1", json!(3)),
            ("03", json!(3)),
            ("010", json!(8)),
            ("08", json!(8)),
            ("-010", json!(-8)),
            ("0o10", json!(8)),
            ("0x1F", json!(31)),
            ("-0X1f", json!(-31)),
            ("0b11", json!(3)),
            ("1_000", json!(1000)),
            ("3.5", json!(3.5)),
            ("-0.0", json!(0)),
            ("1e3", json!(1000)),
            ("1e20", json!(1e20)),
            ("9223372036854775808", json!(9_223_372_036_854_775_808_u64)),
            ("18446744073709551616", json!(18_446_744_073_709_551_616_f64)),
            ("1e400", json!("1e400")),
            ("1:30", json!("1:30")),
            ("2020-01-02", json!("2020-01-02")),
            ("-", json!("-")),
            ("--1", json!("--1")),
            ("0x", json!("0x")),
            (".", json!(".")),
            ("1e", json!("1e")),
            ("infinity", json!("infinity")),
            ("NaN", json!("NaN")),
            ("yes", json!(true)),
            ("Off", json!(false)),
            ("~", json!(null)),
            ("raft", json!("raft")),
        ] {
            assert_eq!(plain(text), Ok(value), "{text}");
        }
        for text in [".inf", "-.Inf", ".nan"] {
            assert!(plain(text).is_err(), "{text}");
        }
    }
}
