//! Why a text cannot be parsed as a quantity or a duration.

/// Why a text cannot be parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParseError {
    /// The syntax is wrong.
    Syntax,
    /// The value is larger than can be stored.
    TooLarge,
}

impl ParseError {
    /// The one of two messages that describes the error.
    pub(super) const fn select<'a>(self, syntax: &'a str, too_large: &'a str) -> &'a str {
        match self {
            Self::Syntax => syntax,
            Self::TooLarge => too_large,
        }
    }
}
