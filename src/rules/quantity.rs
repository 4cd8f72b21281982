//! Resource quantities: the syntax of `k8s.io/apimachinery/pkg/api/resource`, and the one form of a value that the API
//! server stores. Child objects are rendered in that form.

use super::parse_error::ParseError;

/// Message about a quantity that is too large.
pub(super) const TOO_LARGE: &str =
    "must be less than 2^63: Kubernetes would take 9223372036854775807 in its place without a word";
/// Billionths per unit: the smallest step that Kubernetes keeps.
const NANO: i128 = 1_000_000_000;
/// Decimal digits of a billionth.
const NANO_DIGITS: i64 = 9;
/// Most that Kubernetes can hold, in billionths: 2^63-1 units.
const MAX_NANOS: i128 = i64::MAX as i128 * NANO;
/// Digits of [`MAX_NANOS`].
const MAX_DIGITS: i64 = 28;
/// Digits of a fraction that count before a binary suffix.
const FRACTION_DIGITS: usize = 18;
/// Billionths per thousandth.
const MILLI: i128 = 1_000_000;
const BINARY: [&str; 7] = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
const DECIMAL: [(&str, i32); 10] =
    [("n", -9), ("u", -6), ("m", -3), ("", 0), ("k", 3), ("M", 6), ("G", 9), ("T", 12), ("P", 15), ("E", 18)];

/// A parsed quantity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Quantity {
    nanos: i128,
    form: Form,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Form {
    Binary,
    Decimal,
    Exponent,
}

impl Quantity {
    /// Reads a quantity; `None` if [`Self::read`] refuses it.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::read(text).ok()
    }

    /// Reads a quantity. What is finer than a billionth is rounded away from zero, as Kubernetes does it.
    ///
    /// # Errors
    /// If it has not the syntax of a quantity, or is more than Kubernetes can hold.
    pub fn read(text: &str) -> Result<Self, ParseError> {
        let (negative, unsigned) = match text.as_bytes().first() {
            Some(b'-') => (true, &text[1..]),
            Some(b'+') => (false, &text[1..]),
            _ => (false, text),
        };
        let end = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
        let (number, suffix) = unsigned.split_at(end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
            return Err(ParseError::Syntax);
        }
        let (form, scale) = scale(suffix).ok_or(ParseError::Syntax)?;
        let nanos = match scale {
            Scale::Power(exponent) => decimal_nanos(whole, fraction, exponent),
            Scale::Times(factor) => binary_nanos(whole, fraction, factor),
        };
        match nanos.filter(|nanos| *nanos <= MAX_NANOS) {
            Some(nanos) => Ok(Self { nanos: if negative { -nanos } else { nanos }, form }),
            // The least that there can be: every caller refuses what is less than zero.
            None if negative => Ok(Self { nanos: -MAX_NANOS, form }),
            None => Err(ParseError::TooLarge),
        }
    }

    /// The amount in billionths.
    #[must_use]
    pub const fn nanos(self) -> i128 {
        self.nanos
    }

    /// Whether it has no fraction.
    #[must_use]
    pub const fn is_whole(self) -> bool {
        self.nanos % NANO == 0
    }

    /// The amount in whole units, rounded away from nothing.
    #[must_use]
    pub const fn units(self) -> i128 {
        rounded(self.nanos, NANO)
    }

    /// The amount in whole thousandths, rounded away from nothing: what the API server makes of requests and limits.
    #[must_use]
    pub const fn rounded_to_milli(self) -> Self {
        Self { nanos: rounded(self.nanos, MILLI) * MILLI, form: self.form }
    }

    /// The form in which the API server stores it.
    #[must_use]
    pub fn canonical(self) -> String {
        let small = self.nanos.abs() < 1024 * NANO;
        if self.form == Form::Binary && !small && self.nanos % NANO == 0 {
            let (mantissa, power) = reduce(self.nanos / NANO, 1024, BINARY.len() - 1);
            return format!("{mantissa}{}", BINARY[power]);
        }
        let (mantissa, power) = reduce(self.nanos, 1000, DECIMAL.len() - 1);
        let (suffix, exponent) = if mantissa == 0 { ("", 0) } else { DECIMAL[power] };
        match self.form {
            Form::Exponent if exponent != 0 => format!("{mantissa}e{exponent}"),
            _ => format!("{mantissa}{suffix}"),
        }
    }
}

/// How many steps there are in an amount, rounded away from nothing.
const fn rounded(amount: i128, step: i128) -> i128 {
    amount / step + (amount % step).signum()
}

/// What a suffix does to the number before it.
enum Scale {
    /// Ten to this power, times the number.
    Power(i64),
    /// This many times the number.
    Times(i128),
}

/// Form and scale of a suffix.
fn scale(suffix: &str) -> Option<(Form, Scale)> {
    if let Some(power) = BINARY.iter().skip(1).position(|name| *name == suffix) {
        return Some((Form::Binary, Scale::Times(1 << (10 * (power + 1)))));
    }
    if let Some((_, exponent)) = DECIMAL.iter().find(|(name, _)| *name == suffix) {
        return Some((Form::Decimal, Scale::Power((*exponent).into())));
    }
    let exponent = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
    Some((Form::Exponent, Scale::Power(exponent)))
}

/// Billionths of a number times a power of ten; none if they are too many to count.
fn decimal_nanos(whole: &str, fraction: &str, exponent: i64) -> Option<i128> {
    let digits = format!("{whole}{fraction}");
    let digits = digits.trim_start_matches('0');
    let moved = exponent.saturating_sub(i64::try_from(fraction.len()).ok()?).saturating_add(NANO_DIGITS);
    if digits.is_empty() {
        return Some(0);
    }
    let kept = i64::try_from(digits.len()).ok()?.saturating_add(moved);
    if kept > MAX_DIGITS {
        return None;
    }
    if moved >= 0 {
        return digits.parse::<i128>().ok()?.checked_mul(10_i128.checked_pow(moved.try_into().ok()?)?);
    }
    let (kept, dropped) = digits.split_at(usize::try_from(kept.max(0)).ok()?);
    let kept: i128 = if kept.is_empty() { 0 } else { kept.parse().ok()? };
    Some(kept + i128::from(dropped.contains(|digit| digit != '0')))
}

/// Billionths of a number times a factor of at most 2^60; none if they are too many to count.
fn binary_nanos(whole: &str, fraction: &str, factor: i128) -> Option<i128> {
    let whole = whole.trim_start_matches('0');
    let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    // More digits than these do not change a billionth of what fits.
    let (fraction, rest) = fraction.split_at(fraction.len().min(FRACTION_DIGITS));
    let of_fraction: i128 = format!("{fraction:0<FRACTION_DIGITS$}").parse().ok()?;
    let scaled = of_fraction * factor;
    let step = 10_i128.pow(u32::try_from(FRACTION_DIGITS).ok()?) / NANO;
    let rest = rest.contains(|digit| digit != '0');
    let part = scaled / step + i128::from(scaled % step != 0 || rest);
    whole.checked_mul(factor)?.checked_mul(NANO)?.checked_add(part)
}

fn reduce(mut mantissa: i128, base: i128, most: usize) -> (i128, usize) {
    let mut power = 0;
    while power < most && mantissa != 0 && mantissa % base == 0 {
        mantissa /= base;
        power += 1;
    }
    (mantissa, power)
}

#[cfg(test)]
#[path = "quantity_tests.rs"]
mod tests;
