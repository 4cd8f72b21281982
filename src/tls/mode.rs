//! Where the webhooks' certificates come from.

use std::fmt;
use std::str::FromStr;

use super::source::Source;
use crate::runtime::readiness::Counts;

/// Where the webhooks' certificates come from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// The controller makes a CA, certificates of it, and the API server's trust in it.
    #[default]
    SelfSigned,
    /// Other programs make the certificates and set what the API server trusts; the controller serves what it finds.
    Provided(Source),
}

impl Mode {
    /// For how long readiness depends on a certificate that is valid. What is in a Secret is the same for all replicas: if
    /// that has expired, taking all of them out of the Service would stop the Atomix API, too.
    pub(super) fn counts(&self) -> Counts {
        match self {
            Self::SelfSigned | Self::Provided(Source::Files(_)) => Counts::Always,
            Self::Provided(Source::Secret(_)) => Counts::UntilReady,
        }
    }
}

impl FromStr for Mode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "self-signed" {
            return Ok(Self::SelfSigned);
        }
        text.parse().map(Self::Provided).map_err(|why| format!("must be self-signed, or it {why}"))
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SelfSigned => f.write_str("self-signed"),
            Self::Provided(source) => source.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expired_certificate_that_all_replicas_share_takes_none_of_them_out_of_the_service() {
        let counts = |text: &str| text.parse::<Mode>().unwrap().counts();
        assert_eq!(counts("self-signed"), Counts::Always);
        assert_eq!(counts("files:/a"), Counts::Always);
        assert_eq!(counts("secret:a"), Counts::UntilReady);
    }

    #[test]
    fn certificates_are_self_signed_or_from_a_source() {
        for (text, mode) in [
            ("self-signed", Mode::SelfSigned),
            ("secret:a", Mode::Provided(Source::Secret("a".to_owned()))),
            ("files:/a", Mode::Provided(Source::Files("/a".into()))),
        ] {
            assert_eq!(text.parse(), Ok(mode.clone()));
            assert_eq!(mode.to_string(), text);
        }
        for wrong in ["", "selfsigned", "secret:", "a"] {
            let why = wrong.parse::<Mode>().unwrap_err();
            assert!(why.starts_with("must be self-signed, or it must be secret:NAME"), "{why}");
        }
    }
}
