//! Resource quantities: the syntax of `k8s.io/apimachinery/pkg/api/resource`, and the one form of a value that the API
//! server stores. Children are rendered in that form, so that a stored object equals the wanted one.

/// Billionths per unit: the smallest step that Kubernetes keeps.
const NANO: i128 = 1_000_000_000;
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
    /// Reads a quantity; `None` if it has not the syntax of one or is beyond what Kubernetes can hold.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (negative, unsigned) = match text.as_bytes().first()? {
            b'-' => (true, &text[1..]),
            b'+' => (false, &text[1..]),
            _ => (false, text),
        };
        let end = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
        let (number, suffix) = unsigned.split_at(end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
            return None;
        }
        let (form, numerator, denominator) = scale(suffix)?;
        let digits: i128 = format!("{whole}{fraction}").parse().ok()?;
        let fraction_digits = u32::try_from(fraction.len()).ok()?;
        let scaled = digits.checked_mul(numerator)?.checked_mul(NANO)?;
        let divisor = denominator.checked_mul(10_i128.checked_pow(fraction_digits)?)?;
        // Kubernetes rounds away from zero what is finer than a billionth.
        let nanos = scaled / divisor + i128::from(scaled % divisor != 0);
        (nanos <= i128::from(i64::MAX) * NANO).then_some(Self { nanos: if negative { -nanos } else { nanos }, form })
    }

    /// Whether it is more than nothing.
    #[must_use]
    pub const fn is_positive(self) -> bool {
        self.nanos > 0
    }

    /// Whether it is less than nothing.
    #[must_use]
    pub const fn is_negative(self) -> bool {
        self.nanos < 0
    }

    /// Whether it is nothing.
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.nanos == 0
    }

    /// Whether it has no fraction.
    #[must_use]
    pub const fn is_whole(self) -> bool {
        self.nanos % NANO == 0
    }

    /// Whether it is more than `other`.
    #[must_use]
    pub const fn exceeds(self, other: Self) -> bool {
        self.nanos > other.nanos
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

    /// Whether both are the same amount, however written.
    #[must_use]
    pub const fn same_amount(self, other: Self) -> bool {
        self.nanos == other.nanos
    }

    /// The form in which the API server stores it.
    ///
    /// ```
    /// use atomix_controller::rules::quantity::Quantity;
    /// assert_eq!(Quantity::parse("1.5Gi").unwrap().canonical(), "1536Mi");
    /// assert_eq!(Quantity::parse("1000m").unwrap().canonical(), "1");
    /// ```
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

/// Form and factor of a suffix as a fraction.
fn scale(suffix: &str) -> Option<(Form, i128, i128)> {
    if let Some(power) = BINARY.iter().skip(1).position(|name| *name == suffix) {
        return Some((Form::Binary, 1 << (10 * (power + 1)), 1));
    }
    let (form, exponent) = if let Some((_, exponent)) = DECIMAL.iter().find(|(name, _)| *name == suffix) {
        (Form::Decimal, *exponent)
    } else {
        (Form::Exponent, suffix.strip_prefix(['e', 'E'])?.parse::<i32>().ok()?)
    };
    let factor = 10_i128.checked_pow(exponent.unsigned_abs())?;
    Some(if exponent < 0 { (form, 1, factor) } else { (form, factor, 1) })
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
mod tests {
    use super::*;

    #[test]
    fn canonical_forms_are_those_that_the_api_server_stores() {
        let cases = [
            ("1", "1"),
            ("0", "0"),
            ("0Gi", "0"),
            ("0.5", "500m"),
            ("1000m", "1"),
            ("1024", "1024"),
            ("1024Mi", "1Gi"),
            ("1.5Gi", "1536Mi"),
            ("1023Ki", "1023Ki"),
            ("512Mi", "512Mi"),
            ("1000Ki", "1000Ki"),
            ("0.5Ki", "512"),
            ("10G", "10G"),
            ("10000M", "10G"),
            ("1e3", "1e3"),
            ("12e6", "12e6"),
            ("5E", "5E"),
            ("100n", "100n"),
            ("0.1n", "1n"),
            ("+2", "2"),
            ("-1Mi", "-1Mi"),
            (".5", "500m"),
            ("2.", "2"),
        ];
        for (text, canonical) in cases {
            let quantity = Quantity::parse(text).unwrap_or_else(|| panic!("{text}"));
            assert_eq!(quantity.canonical(), canonical, "{text}");
            assert_eq!(Quantity::parse(canonical).map(Quantity::canonical).as_deref(), Some(canonical));
        }
    }

    #[test]
    fn anything_else_is_not_a_quantity() {
        for text in ["", "Gi", "1Gb", "1 Gi", "1.2.3", "--1", "e3", "1e", "1KiB", "1ki", ".", "1e99", "99999999E"] {
            assert_eq!(Quantity::parse(text), None, "{text}");
        }
    }

    #[test]
    fn the_same_amount_is_equal_however_it_is_written() {
        let parse = |text| Quantity::parse(text).unwrap();
        assert!(parse("1Gi").same_amount(parse("1024Mi")));
        assert!(!parse("1Gi").same_amount(parse("1G")));
        assert!(parse("1Gi").exceeds(parse("1G")));
    }

    #[test]
    fn amounts_are_rounded_away_from_nothing() {
        let parse = |text| Quantity::parse(text).unwrap();
        assert_eq!((parse("1500m").units(), parse("-1500m").units(), parse("2").units()), (2, -2, 2));
        assert_eq!(parse("1u").rounded_to_milli().canonical(), "1m");
        assert!(parse("2").is_whole() && !parse("1500m").is_whole());
    }
}
