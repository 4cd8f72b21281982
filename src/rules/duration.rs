//! Durations as users write them (`5s`, `500ms`, `1m30s`) and as protobuf JSON has them (`"5s"`, `"0.5s"`).

use std::time::Duration;

use super::parse_error::ParseError;

/// Longest duration in seconds that a `google.protobuf.Duration` can hold.
pub const MAX_SECONDS: u128 = 315_576_000_000;
/// Message about a longer duration.
pub const TOO_LONG: &str = "must be at most 87660000h, the longest duration in the configuration of a node";
/// More nanoseconds than any duration has: those of one that is too long.
const OVER: u128 = MAX_SECONDS * 1_000_000_000 + 1;
const UNITS: [(&str, u128); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// Nanoseconds of a duration in Go's notation: decimal numbers with a unit each, without a sign. `None` if [`read`]
/// refuses it.
#[must_use]
pub fn parse(text: &str) -> Option<u128> {
    read(text).ok()
}

/// A duration that fits into 64 bits of nanoseconds, see [`parse`].
pub fn parse_std(text: &str) -> Option<Duration> {
    parse(text).and_then(|nanos| u64::try_from(nanos).ok()).map(Duration::from_nanos)
}

/// Nanoseconds of a duration, see [`parse`].
///
/// # Errors
/// If the syntax is wrong, or it is longer than protobuf can represent.
pub fn read(text: &str) -> Result<u128, ParseError> {
    if text.is_empty() {
        return Err(ParseError::Syntax);
    }
    let mut rest = text;
    let mut nanos: u128 = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or(ParseError::Syntax)?;
        let (number, tail) = rest.split_at(digits);
        let unit_end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_end);
        let (_, scale) = UNITS.iter().find(|(name, _)| *name == unit).ok_or(ParseError::Syntax)?;
        let part = scaled(number, *scale).ok_or(ParseError::Syntax)?;
        nanos = nanos.saturating_add(part).min(OVER);
        rest = tail;
    }
    if nanos < OVER { Ok(nanos) } else { Err(ParseError::TooLarge) }
}

/// Nanoseconds of a number of units, at most [`OVER`]; what is finer is cut off. None if it is no number.
fn scaled(number: &str, scale: u128) -> Option<u128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
        return None;
    }
    let fraction = &fraction[..fraction.len().min(18)];
    let parse = |digits: &str| if digits.is_empty() { 0 } else { digits.parse::<u128>().unwrap_or(OVER) };
    let part = parse(fraction) * scale / 10_u128.pow(u32::try_from(fraction.len()).ok()?);
    Some(parse(whole).saturating_mul(scale).saturating_add(part).min(OVER))
}

/// The form that every generation of nodes reads: decimal seconds without needless zeros, and `s`.
#[must_use]
pub fn protobuf_json(nanos: u128) -> String {
    let (seconds, fraction) = (nanos / 1_000_000_000, nanos % 1_000_000_000);
    if fraction == 0 {
        return format!("{seconds}s");
    }
    let fraction = format!("{fraction:09}");
    format!("{seconds}.{}s", fraction.trim_end_matches('0'))
}

/// The form for people: `5s`, `500ms`, `1us`, `1ns`, with a fraction only if necessary.
#[must_use]
pub fn readable(nanos: u128) -> String {
    let unit = [("s", 1_000_000_000), ("ms", 1_000_000), ("us", 1_000)]
        .into_iter()
        .find(|(_, scale)| nanos.is_multiple_of(*scale));
    match unit {
        Some((unit, scale)) if unit == "s" || nanos < 1_000_000_000 => format!("{}{unit}", nanos / scale),
        None if nanos < 1_000_000_000 => format!("{nanos}ns"),
        _ => protobuf_json(nanos),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_write_is_read() {
        let cases = [
            ("5s", 5_000_000_000),
            ("500ms", 500_000_000),
            ("1m", 60_000_000_000),
            ("1h2m3.5s", 3_723_500_000_000),
            (".5s", 500_000_000),
            ("1us", 1_000),
            ("0s", 0),
        ];
        for (text, nanos) in cases {
            assert_eq!(parse(text), Some(nanos), "{text}");
        }
    }

    #[test]
    fn anything_else_is_not_a_duration() {
        for text in ["", "5", "s", "5 s", "-5s", "5sec", "1.2.3s", ".s", "5S", "١s", "1e3s", "99999999999999hs"] {
            assert_eq!(read(text), Err(ParseError::Syntax), "{text}");
        }
    }

    #[test]
    fn what_protobuf_cannot_represent_is_too_long() {
        assert_eq!(parse("87660000h"), Some(MAX_SECONDS * 1_000_000_000));
        for text in ["87660000h1ns", "87660000.1h", "9999999999999h", &format!("{}s", "9".repeat(60))] {
            assert_eq!(read(text), Err(ParseError::TooLarge), "{text}");
        }
        // What is finer than a nanosecond does not count, however long it is.
        assert_eq!(parse(&format!("1.{}s", "0".repeat(60))), Some(1_000_000_000));
    }

    #[test]
    fn what_is_made_to_be_read_keeps_every_nanosecond() {
        for (nanos, text) in [
            (0, "0s"),
            (90_000_000_000, "90s"),
            (500_000_000, "500ms"),
            (1_500_000_000, "1.5s"),
            (1_500_000, "1500us"),
            (1, "1ns"),
            (1_500, "1500ns"),
            (1_000_000_001, "1.000000001s"),
        ] {
            assert_eq!(readable(nanos), text);
            assert_eq!(parse(text), Some(nanos));
        }
    }

    #[test]
    fn protobuf_json_keeps_every_nanosecond() {
        for (nanos, text) in [(0, "0s"), (5_000_000_000, "5s"), (2_500_000_000, "2.5s"), (1, "0.000000001s")] {
            assert_eq!(protobuf_json(nanos), text);
            assert_eq!(parse(text), Some(nanos));
        }
    }
}
