//! What certificates are good for: whether a key is theirs, and whether it is their time.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::VerifierBuilderError;
use rustls::sign::CertifiedKey;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

use super::{CA, CERTIFICATE, Found, KEY};
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
    /// Its time is over.
    #[error("the certificate has expired")]
    Expired,
    /// Its time has not come.
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
pub trait Material: Sized + Send + Sync + 'static {
    /// What else it takes to make it.
    type Context: Send + Sync + 'static;

    /// Makes it, as of `now`.
    ///
    /// # Errors
    /// [`Error`] if it should not be used.
    fn of(found: &Found, now: SystemTime, context: &Self::Context) -> Result<Self, Error>;

    /// Until when it is good.
    fn not_after(&self) -> SystemTime;
}

/// A certificate chain with its key. The key never appears in its debug output.
pub struct Pair {
    /// Both, as TLS takes them.
    pub key: Arc<CertifiedKey>,
    /// When the certificate starts to be valid.
    pub not_before: SystemTime,
    /// When it stops to be valid.
    pub not_after: SystemTime,
}

impl fmt::Debug for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pair").field("not_after", &self.not_after).finish_non_exhaustive()
    }
}

impl Material for Pair {
    type Context = CryptoProvider;

    fn of(found: &Found, now: SystemTime, provider: &CryptoProvider) -> Result<Self, Error> {
        let chain = certificates(found.certificate.as_deref(), CERTIFICATE)?;
        let key = found.key.as_deref().ok_or(Error::Missing(KEY))?;
        let key =
            PrivateKeyDer::from_pem_slice(key).map_err(|_| Error::Unreadable { part: KEY, kind: "private key" })?;
        let (not_before, not_after) = chain.first().map_or(Err(Error::Missing(CERTIFICATE)), validity)?;
        if now >= not_after {
            return Err(Error::Expired);
        }
        if now < not_before {
            return Err(Error::Early);
        }
        let key = Arc::new(CertifiedKey::from_der(chain, key, provider).map_err(Error::Pair)?);
        Ok(Self { key, not_before, not_after })
    }

    fn not_after(&self) -> SystemTime {
        self.not_after
    }
}

/// Authorities that certificates of clients are verified by.
#[derive(Debug)]
pub struct Roots {
    /// All of them, of which there is at least one.
    pub store: Arc<RootCertStore>,
    not_after: SystemTime,
}

impl Material for Roots {
    type Context = CryptoProvider;

    fn of(found: &Found, now: SystemTime, _: &CryptoProvider) -> Result<Self, Error> {
        let (mut store, mut latest) = (RootCertStore::empty(), SystemTime::UNIX_EPOCH);
        for certificate in certificates(found.ca.as_deref(), CA)? {
            latest = latest.max(validity(&certificate)?.1);
            store.add(certificate).map_err(Error::Authority)?;
        }
        if now >= latest {
            return Err(Error::Expired);
        }
        Ok(Self { store: Arc::new(store), not_after: latest })
    }

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

fn validity(certificate: &CertificateDer<'_>) -> Result<(SystemTime, SystemTime), Error> {
    let unreadable = |_| Error::Unreadable { part: CERTIFICATE, kind: "certificate" };
    let (_, certificate) = X509Certificate::from_der(certificate).map_err(unreadable)?;
    let time = |seconds: i64| SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or_default());
    let validity = certificate.validity();
    Ok((time(validity.not_before.timestamp()), time(validity.not_after.timestamp())))
}

#[cfg(test)]
#[path = "material_tests.rs"]
mod tests;
