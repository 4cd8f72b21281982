//! The identity of a replica.

use std::fmt;

use ring::rand::{self, SystemRandom};

/// The system gives no random numbers, without which replicas could have the same identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the system gives no random numbers")]
pub struct NoRandomness;

/// Identifies one process of the controller, also among earlier processes of the same pod: eight hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplicaId(u32);

impl ReplicaId {
    /// A new identity.
    ///
    /// # Errors
    /// [`NoRandomness`].
    pub(crate) fn random() -> Result<Self, NoRandomness> {
        let random = rand::generate(&SystemRandom::new()).map_err(|_| NoRandomness)?;
        Ok(Self(u32::from_be_bytes(random.expose())))
    }

    /// Reads what [`Display`](fmt::Display) writes.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let digits = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        (text.len() == 8 && digits).then(|| u32::from_str_radix(text, 16).ok().map(Self)).flatten()
    }
}

impl fmt::Display for ReplicaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_is_read_as_it_is_written_and_in_no_other_form() {
        assert!(ReplicaId::parse("00c0ffee").is_some_and(|id| id.to_string() == "00c0ffee"));
        for other in ["", "c0ffee", "00C0FFEE", "+0c0ffee", "00c0ffee0"] {
            assert_eq!(ReplicaId::parse(other), None, "{other}");
        }
    }
}
