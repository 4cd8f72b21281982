//! The user's consent to the removal of partitions: an annotation of the set that works for one change.

use std::collections::BTreeMap;
use std::fmt;

use crate::api::labels::annotations;

/// The consent to shrink a set to `count` partitions, given at a generation of the set.
///
/// Every change of a set's spec raises its generation, so a consent that names the generation before the change allows
/// that change and no later one, and its use is recorded nowhere. Annotating a set does not raise its
/// generation, so a consent may be given before the change or with it.
///
/// ```
/// use atomix_controller::rules::Consent;
/// let consent = Consent::parse("4@17");
/// assert_eq!(consent, Some(Consent { count: 4, generation: 17 }));
/// assert_eq!(consent.map(|consent| consent.to_string()).as_deref(), Some("4@17"));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Consent {
    /// Number of partitions that remain.
    pub count: i64,
    /// `metadata.generation` of the set before the change.
    pub generation: i64,
}

impl Consent {
    /// Reads `<count>@<generation>`, two decimal numbers from 1 up, as [`Display`](fmt::Display) writes them.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (count, generation) = text.split_once('@')?;
        Some(Self { count: number(count)?, generation: number(generation)? })
    }

    /// The consent among the annotations of a set; none if there is none, or it is malformed.
    #[must_use]
    pub fn of(annotations: &BTreeMap<String, String>) -> Option<Self> {
        Self::parse(annotations.get(annotations::ALLOW_PARTITION_REMOVAL)?)
    }

    /// Whether it allows the update to `count` partitions of a set that has this generation before the update.
    #[must_use]
    pub fn allows(self, count: i64, generation: Option<i64>) -> bool {
        self.count == count && Some(self.generation) == generation
    }

    /// Whether it may be the consent to a set of `count` partitions that has this generation now: a reconciler sees the
    /// set after the update, and after later ones, which may add some of the partitions again.
    #[must_use]
    pub fn covers(self, count: i64, generation: Option<i64>) -> bool {
        self.count <= count && generation.is_some_and(|now| self.generation <= now)
    }
}

impl fmt::Display for Consent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.count, self.generation)
    }
}

/// The value of the annotation that agrees to `count` partitions. The generation is spelt out where it is not known.
pub(super) fn wanted(count: i64, generation: Option<i64>) -> String {
    match generation {
        Some(generation) => Consent { count, generation }.to_string(),
        None => format!("{count}@<metadata.generation of the set>"),
    }
}

/// Why `given`, a value of the annotation, does not allow the update to `count` partitions.
pub(super) fn reason(given: &str, count: i64, generation: Option<i64>) -> String {
    const ONCE: &str = "a consent is for one change only";
    match Consent::parse(given) {
        Some(consent) if consent.count != count => "it agrees to another number of partitions".to_owned(),
        Some(consent) => match generation {
            Some(now) if consent.generation > now => {
                format!("the set has not reached generation {}", consent.generation)
            }
            Some(_) => format!("{ONCE}, and the set has changed since generation {}", consent.generation),
            None => format!("{ONCE}, and the generation of the set is not known here"),
        },
        None if number(given).is_some() => format!("{ONCE}, so it names the generation of the set as well"),
        None => "it is not of the form <partitions>@<generation>".to_owned(),
    }
}

/// A decimal number from 1 up, with neither sign nor leading zeros.
fn number(text: &str) -> Option<i64> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    (digits && !text.starts_with('0')).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_form_that_is_printed_is_read() {
        for text in ["1@1", "4@17", "1000@9223372036854775807"] {
            assert_eq!(Consent::parse(text).map(|consent| consent.to_string()).as_deref(), Some(text));
        }
        for text in [
            "",
            "@",
            "4",
            "4@",
            "@17",
            "04@17",
            "4@017",
            "0@17",
            "4@0",
            "+4@17",
            "4@+17",
            "-4@17",
            "4@-17",
            " 4@17",
            "4@17 ",
            "4 @17",
            "4@17@18",
            "4@17\n",
            "4.0@17",
            "4@9223372036854775808",
            "٤@17",
            "four@17",
        ] {
            assert_eq!(Consent::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn an_update_is_allowed_at_the_generation_of_the_consent_only() {
        let consent = Consent { count: 4, generation: 17 };
        for (count, generation, allowed) in [
            (4, Some(17), true),
            (4, Some(16), false),
            (4, Some(18), false),
            (4, None, false),
            (3, Some(17), false),
            (5, Some(17), false),
        ] {
            assert_eq!(consent.allows(count, generation), allowed, "{count} {generation:?}");
        }
    }

    #[test]
    fn what_a_reconciler_sees_is_covered_from_that_generation_on() {
        let consent = Consent { count: 4, generation: 17 };
        for (count, generation, covered) in [
            (4, Some(17), true),
            (4, Some(18), true),
            (4, Some(30), true),
            (4, Some(16), false),
            (4, None, false),
            (3, Some(18), false),
            (5, Some(18), true),
        ] {
            assert_eq!(consent.covers(count, generation), covered, "{count} {generation:?}");
        }
    }
}
