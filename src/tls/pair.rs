//! A certificate chain with its key.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::pki_types::CertificateDer;
use rustls::sign::CertifiedKey;
use x509_parser::prelude::{FromDer, X509Certificate};

/// A certificate chain with its key, which never appears in its debug output.
#[derive(Debug)]
pub struct Pair {
    /// Both, as TLS takes them.
    pub key: Arc<CertifiedKey>,
    pub(in crate::tls) validity: Validity,
}

/// When a certificate is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::tls) struct Validity {
    pub(in crate::tls) not_before: SystemTime,
    pub(in crate::tls) not_after: SystemTime,
}

impl Validity {
    /// None if it is no certificate.
    pub(in crate::tls) fn of(certificate: &CertificateDer<'_>) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
        let time = |seconds: i64| SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
        let validity = certificate.validity();
        let (not_before, not_after) = (validity.not_before.timestamp(), validity.not_after.timestamp());
        Some(Self { not_before: time(not_before), not_after: time(not_after) })
    }

    pub(in crate::tls) fn contains(&self, now: SystemTime) -> bool {
        self.not_before <= now && now < self.not_after
    }
}
