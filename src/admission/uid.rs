//! The uid of a review that there is no room to read: it names the answer that asks to try again.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};

use super::review::{API_VERSION, KIND};

/// Longest uid that is looked for; the API server's have 36 characters.
const MAX_UID: usize = 253;

#[derive(Default)]
struct Found {
    of_the_version: bool,
    of_the_kind: bool,
    uid: Option<String>,
}

/// The uid in an `AdmissionReview` of which perhaps only the beginning is here. It is not kept, and not read twice.
pub(super) fn find(beginning: &[u8]) -> Option<String> {
    let mut found = Found::default();
    // A beginning ends in an error, which says nothing about what was found before it.
    let _ = Review(&mut found).deserialize(&mut serde_json::Deserializer::from_slice(beginning));
    found.uid.filter(|uid| found.of_the_version && found.of_the_kind && !uid.is_empty() && uid.len() <= MAX_UID)
}

type Text<'de> = Cow<'de, str>;

struct Review<'a>(&'a mut Found);
struct Request<'a>(&'a mut Found);

impl<'de> DeserializeSeed<'de> for Review<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Review<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an AdmissionReview")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<Text<'_>>()? {
            match &*key {
                "apiVersion" => self.0.of_the_version = map.next_value::<Text<'_>>()? == API_VERSION,
                "kind" => self.0.of_the_kind = map.next_value::<Text<'_>>()? == KIND,
                "request" => map.next_value_seed(Request(self.0))?,
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Request<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Request<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a request")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<Text<'_>>()? {
            if key == "uid" {
                self.0.uid = Some(map.next_value()?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REVIEW: &str = r#"{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","x":[{}],"request":{"a":{"uid":"b"},"uid":"u-1","object":{"metadata":{"uid":"c"}}}}"#;

    #[test]
    fn a_uid_is_found_in_the_whole_and_in_a_beginning() {
        let end = REVIEW.find(r#","object""#).unwrap();
        for length in end..=REVIEW.len() {
            assert_eq!(find(&REVIEW.as_bytes()[..length]).as_deref(), Some("u-1"), "{length}");
        }
        for length in 0..end - 1 {
            assert_eq!(find(&REVIEW.as_bytes()[..length]), None, "{length}");
        }
    }

    #[test]
    fn what_is_no_review_has_no_uid() {
        for (from, to) in [
            ("AdmissionReview", "Review"),
            ("k8s.io/v1", "k8s.io/v1beta1"),
            (r#""u-1""#, r#""""#),
            (r#""u-1""#, "5"),
            (r#""u-1""#, &format!("{:?}", "x".repeat(254))),
            ("AdmissionReview\",", "AdmissionReview\"]"),
        ] {
            assert_eq!(find(REVIEW.replacen(from, to, 1).as_bytes()), None, "{to}");
        }
        for text in ["", "null", "[]", "{\"request\":", "\u{0}"] {
            assert_eq!(find(text.as_bytes()), None, "{text}");
        }
    }
}
