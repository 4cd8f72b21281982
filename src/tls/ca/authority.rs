//! The CA in use, and the one on its way in or out. No I/O, no clock.
//!
//! A rotation goes from `Stable` by `Published` and `Promoted` to `Stable` again. In each phase, what is served
//! verifies with the bundle of that phase, of the phase before it and of the phase after it, so that replicas and API
//! servers may see a change in any order.

use std::sync::Arc;
use std::time::SystemTime;

use pem::{EncodeConfig, LineEnding, Pem};
use rustls::pki_types::CertificateDer;

use super::issue::{self, Ca, Leaf};
use super::periods::Periods;
use crate::tls::names::Names;
use crate::tls::pair::Validity;

/// How far a rotation has come.
#[derive(Clone, Debug)]
pub enum Phase {
    /// There is one CA, and no other on its way in or out.
    Stable,
    /// The bundles have the next CA, too. It signs nothing yet.
    Published {
        /// The next CA.
        next: Arc<Ca>,
    },
    /// The current CA signs; the bundles still have the previous one.
    Promoted {
        /// Certificate of the previous CA, whose key is gone.
        previous: CertificateDer<'static>,
    },
}

/// The CAs of an installation. Clones share the keys.
#[derive(Clone, Debug)]
pub struct Authority {
    /// The CA that signs serving certificates.
    pub current: Arc<Ca>,
    /// The current CA signed by the one before it: also served, for API servers that do not trust the current one yet.
    pub cross: Option<CertificateDer<'static>>,
    /// How far a rotation has come.
    pub phase: Phase,
}

impl Authority {
    /// A new CA that nothing came before.
    ///
    /// # Errors
    /// [`issue::Error`] if it cannot be made.
    pub fn mint(names: &Names, generation: u64, periods: &Periods, now: SystemTime) -> Result<Self, issue::Error> {
        let current = Arc::new(Ca::mint(names, generation, periods.ca, now)?);
        Ok(Self { current, cross: None, phase: Phase::Stable })
    }

    /// The certificates to trust, as PEM text, the oldest first: a promotion does not change the bundle.
    #[must_use]
    pub fn bundle(&self) -> String {
        let current = pem_of(&self.current.certificate);
        match &self.phase {
            Phase::Stable => current,
            Phase::Published { next } => current + &pem_of(&next.certificate),
            Phase::Promoted { previous } => pem_of(previous) + &current,
        }
    }

    /// A new serving certificate.
    ///
    /// # Errors
    /// [`issue::Error`] if it cannot be made.
    pub fn leaf(&self, names: &Names, periods: &Periods, now: SystemTime) -> Result<Leaf, issue::Error> {
        self.current.leaf(names, self.cross.as_ref(), periods.leaf, now)
    }

    /// Whether a leaf that `other` signed is as good as one that this signs.
    #[must_use]
    pub fn signs_like(&self, other: &Self) -> bool {
        self.current.certificate == other.current.certificate && self.cross == other.cross
    }

    /// How far this is along the way of all rotations: what comes later is greater.
    #[must_use]
    pub fn rank(&self) -> (u64, u8) {
        let phase = match self.phase {
            Phase::Promoted { .. } => 0,
            Phase::Stable => 1,
            Phase::Published { .. } => 2,
        };
        (self.current.generation, phase)
    }

    /// The greatest generation in it.
    #[must_use]
    pub fn last_generation(&self) -> u64 {
        match &self.phase {
            Phase::Published { next } => next.generation,
            _ => self.current.generation,
        }
    }

    /// Whether it can sign at `now`.
    #[must_use]
    pub fn is_valid_at(&self, now: SystemTime) -> bool {
        self.current.is_valid_at(now)
    }

    /// The same with a new next CA, which replaces one that is there.
    ///
    /// # Errors
    /// [`issue::Error`] if it cannot be made.
    pub fn published(&self, names: &Names, periods: &Periods, now: SystemTime) -> Result<Self, issue::Error> {
        let next = Arc::new(Ca::mint(names, self.current.generation.saturating_add(1), periods.ca, now)?);
        Ok(Self { phase: Phase::Published { next }, ..self.clone() })
    }

    /// The next CA signs, and the current one becomes the previous. Without a next one, nothing changes.
    ///
    /// # Errors
    /// [`issue::Error`] if the next CA cannot be signed by the current one.
    pub fn promoted(&self) -> Result<Self, issue::Error> {
        let Phase::Published { next } = &self.phase else { return Ok(self.clone()) };
        Ok(Self {
            current: Arc::clone(next),
            cross: Some(self.current.cross_sign(next)?),
            phase: Phase::Promoted { previous: self.current.certificate.clone() },
        })
    }

    /// Nothing but the current CA is to be trusted any more. The cross-certificate stays: clients that trust the current CA
    /// do not need it, and those that do not trust it yet still verify.
    #[must_use]
    pub fn retired(&self) -> Self {
        Self { phase: Phase::Stable, ..self.clone() }
    }

    /// A new CA at once, and nothing that was there before is to be trusted any more. API servers that do not trust it yet
    /// verify by the cross-certificate.
    ///
    /// # Errors
    /// [`issue::Error`] if it cannot be made.
    pub fn revoked(&self, names: &Names, periods: &Periods, now: SystemTime) -> Result<Self, issue::Error> {
        let next = Ca::mint(names, self.last_generation().saturating_add(1), periods.ca, now)?;
        let cross = self.is_valid_at(now).then(|| self.current.cross_sign(&next)).transpose()?;
        Ok(Self { current: Arc::new(next), cross, phase: Phase::Stable })
    }

    /// When the previous CA expires, if there is one.
    #[must_use]
    pub fn previous_not_after(&self) -> Option<SystemTime> {
        match &self.phase {
            Phase::Promoted { previous } => Validity::of(previous).map(|validity| validity.not_after),
            _ => None,
        }
    }
}

/// A certificate as PEM text.
#[must_use]
pub fn pem_of(certificate: &CertificateDer<'_>) -> String {
    let pem = Pem::new("CERTIFICATE", certificate.as_ref());
    pem::encode_config(&pem, EncodeConfig::new().set_line_ending(LineEnding::LF))
}

#[cfg(test)]
#[path = "authority_tests.rs"]
mod tests;
