//! The identity of a replica.

use std::fmt;

use ring::rand::{SecureRandom, SystemRandom};

/// Without random numbers, replicas could not be told from each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the system gives no random numbers")]
pub struct NoRandomness;

/// Tells one process of the controller from every other, an earlier one of the same pod included: eight hexadecimal
/// digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplicaId(u32);

impl ReplicaId {
    /// A new identity.
    ///
    /// # Errors
    /// [`NoRandomness`] if the system has none to give.
    pub fn random() -> Result<Self, NoRandomness> {
        let mut bytes = [0; 4];
        SystemRandom::new().fill(&mut bytes).map_err(|_| NoRandomness)?;
        Ok(Self(u32::from_be_bytes(bytes)))
    }

    /// Reads what [`Display`](fmt::Display) writes.
    ///
    /// ```
    /// use atomix_controller::replicas::ReplicaId;
    /// assert!(ReplicaId::parse("00c0ffee").is_some_and(|id| id.to_string() == "00c0ffee"));
    /// assert!(["", "c0ffee", "00C0FFEE", "+0c0ffee", "00c0ffee0"].into_iter().all(|text| ReplicaId::parse(text).is_none()));
    /// ```
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        (text.len() == 8 && digits).then(|| u32::from_str_radix(text, 16).ok().map(Self)).flatten()
    }
}

impl fmt::Display for ReplicaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}
