//! What is made of the parts of a source: a pair whose key is the certificate's and that is valid, or authorities.

use std::sync::Arc;
use std::time::SystemTime;

use rustls::RootCertStore;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;

use super::{CA, CERTIFICATE, Found, KEY, Pair};
use crate::tls::pair::Validity;
use crate::tls::verify;

/// Why something is not used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A part is not there.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// A part is not what it should be.
    #[error("{part} is not PEM of a {kind}")]
    Unreadable {
        /// Which part.
        part: &'static str,
        /// What it should be.
        kind: &'static str,
    },
    /// The key is another certificate's, or of a kind that cannot be used.
    #[error("the certificate cannot be used with the key: {0}")]
    Pair(#[source] rustls::Error),
    /// It has expired.
    #[error("the certificate has expired")]
    Expired,
    /// It is not valid yet.
    #[error("the certificate is not valid yet")]
    Early,
    /// The webhooks' clients would not accept it.
    #[error("the API server would not accept the certificate: {0}")]
    Refused(#[from] verify::Error),
    /// An authority cannot be one.
    #[error("ca.crt has a certificate that can be no authority: {0}")]
    Authority(#[source] rustls::Error),
    /// Clients cannot be verified by the authorities.
    #[error("clients cannot be verified: {0}")]
    Clients(#[from] VerifierBuilderError),
}

/// Something that is made of what is found.
pub trait Material: Send + Sync + 'static {
    /// Until when it is good.
    fn not_after(&self) -> SystemTime;
}

impl Pair {
    /// The pair that is found, if it is valid at `now`.
    ///
    /// # Errors
    /// [`Error`] if it should not be used.
    pub fn of(found: &Found, now: SystemTime) -> Result<Self, Error> {
        let chain = certificates(found.certificate.as_deref(), CERTIFICATE)?;
        let key = found.key.as_deref().ok_or(Error::Missing(KEY))?;
        let key =
            PrivateKeyDer::from_pem_slice(key).map_err(|_| Error::Unreadable { part: KEY, kind: "private key" })?;
        let validity = chain.first().map_or(Err(Error::Missing(CERTIFICATE)), |leaf| validity(leaf, CERTIFICATE))?;
        if now >= validity.not_after {
            return Err(Error::Expired);
        }
        if now < validity.not_before {
            return Err(Error::Early);
        }
        let key = Arc::new(CertifiedKey::from_der(chain, key, &default_provider()).map_err(Error::Pair)?);
        Ok(Self { key, validity })
    }
}

impl Material for Pair {
    fn not_after(&self) -> SystemTime {
        self.validity.not_after
    }
}

/// Authorities that sign clients' certificates.
#[derive(Debug)]
pub struct Roots {
    /// Verifies certificates of clients by any of them.
    pub verifier: Arc<dyn ClientCertVerifier>,
    not_after: SystemTime,
}

impl Roots {
    /// The authorities that are found, if one of them is valid at `now`.
    ///
    /// # Errors
    /// [`Error`] if they should not be used.
    pub fn of(found: &Found, now: SystemTime) -> Result<Self, Error> {
        let (mut store, mut latest) = (RootCertStore::empty(), SystemTime::UNIX_EPOCH);
        for certificate in certificates(found.ca.as_deref(), CA)? {
            latest = latest.max(validity(&certificate, CA)?.not_after);
            store.add(certificate).map_err(Error::Authority)?;
        }
        if now >= latest {
            return Err(Error::Expired);
        }
        let verifier = WebPkiClientVerifier::builder(Arc::new(store)).build()?;
        Ok(Self { verifier, not_after: latest })
    }
}

impl Material for Roots {
    fn not_after(&self) -> SystemTime {
        self.not_after
    }
}

fn certificates(pem: Option<&[u8]>, part: &'static str) -> Result<Vec<CertificateDer<'static>>, Error> {
    let unreadable = || Error::Unreadable { part, kind: "certificate" };
    let pem = pem.ok_or(Error::Missing(part))?;
    let all: Vec<_> = CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(|_| unreadable())?;
    if all.is_empty() { Err(unreadable()) } else { Ok(all) }
}

fn validity(certificate: &CertificateDer<'_>, part: &'static str) -> Result<Validity, Error> {
    Validity::of(certificate).ok_or(Error::Unreadable { part, kind: "certificate" })
}

#[cfg(test)]
#[path = "material_tests.rs"]
mod tests;
