//! Durations as people write them (`5s`, `500ms`, `1m30s`) and as protobuf JSON has them (`"5s"`, `"0.5s"`).

/// Longest duration in seconds that a `google.protobuf.Duration` can hold.
pub const MAX_SECONDS: u128 = 315_576_000_000;
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

/// Nanoseconds of a duration in Go's notation: decimal numbers with a unit each, without a sign. `None` if it is none
/// or longer than protobuf can say.
///
/// ```
/// use atomix_controller::rules::duration::parse;
/// assert_eq!(parse("1m30s"), Some(90_000_000_000));
/// assert_eq!(parse("5"), None);
/// ```
#[must_use]
pub fn parse(text: &str) -> Option<u128> {
    let mut rest = text;
    let mut nanos: u128 = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(digits);
        let unit_end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_end);
        let scale = UNITS.iter().find(|(name, _)| *name == unit)?.1;
        nanos = nanos.checked_add(scaled(number, scale)?)?;
        rest = tail;
    }
    (!text.is_empty() && nanos <= MAX_SECONDS * 1_000_000_000).then_some(nanos)
}

fn scaled(number: &str, scale: u128) -> Option<u128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() || fraction.contains('.') || fraction.len() > 18 {
        return None;
    }
    let parse = |digits: &str| if digits.is_empty() { Some(0) } else { digits.parse::<u128>().ok() };
    let part = parse(fraction)? * scale / 10_u128.pow(u32::try_from(fraction.len()).ok()?);
    parse(whole)?.checked_mul(scale)?.checked_add(part)
}

/// The form that every generation of nodes reads: decimal seconds without needless zeros, and `s`.
///
/// ```
/// assert_eq!(atomix_controller::rules::duration::protobuf_json(500_000_000), "0.5s");
/// ```
#[must_use]
pub fn protobuf_json(nanos: u128) -> String {
    let (seconds, fraction) = (nanos / 1_000_000_000, nanos % 1_000_000_000);
    if fraction == 0 {
        return format!("{seconds}s");
    }
    let fraction = format!("{fraction:09}");
    format!("{seconds}.{}s", fraction.trim_end_matches('0'))
}

/// The form that people like to read: `5s`, `500ms`, `1us`, and never a fraction unless it takes one.
///
/// ```
/// assert_eq!(atomix_controller::rules::duration::readable(500_000_000), "500ms");
/// ```
#[must_use]
pub fn readable(nanos: u128) -> String {
    let unit = [("s", 1_000_000_000), ("ms", 1_000_000), ("us", 1_000)]
        .into_iter()
        .find(|(_, scale)| nanos.is_multiple_of(*scale));
    match unit {
        // Of what is longer than a second, a person wants the seconds.
        Some((unit, scale)) if unit == "s" || nanos < 1_000_000_000 => format!("{}{unit}", nanos / scale),
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
        for text in ["", "5", "s", "5 s", "-5s", "5sec", "1.2.3s", ".s", "5S", "١s", "1e3s", "99999999999999h"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_made_to_be_read_keeps_every_nanosecond() {
        for (nanos, text) in [
            (0, "0s"),
            (90_000_000_000, "90s"),
            (500_000_000, "500ms"),
            (1_500_000_000, "1.5s"),
            (1_500_000, "1500us"),
            (1, "0.000000001s"),
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
