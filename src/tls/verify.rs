//! Whether an API server would accept what is served.

use std::time::SystemTime;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, TrustAnchor, UnixTime};
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

/// Why not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The bundle is empty, or none of it is a certificate.
    #[error("the bundle has no certificate that can be read")]
    EmptyBundle,
    /// Nothing is served.
    #[error("there is no certificate to serve yet")]
    NothingServed,
    /// The name is none that a certificate can have.
    #[error("{0:?} is no DNS name")]
    Name(String),
    /// The clock is before 1970.
    #[error("the clock is wrong")]
    Clock,
    /// The certificate says that it is for something else.
    #[error("it is not for servers")]
    Purpose,
    /// The time of the certificate, or of one on its way to the bundle, is over.
    #[error("it has expired, or what has signed it has")]
    Expired,
    /// Its time has not come.
    #[error("it is not valid yet, or what has signed it is not")]
    NotYet,
    /// The certificate does not lead to the bundle, or has another name.
    #[error("{0}")]
    Certificate(webpki::Error),
}

impl From<webpki::Error> for Error {
    /// Drops the time of the verification from the error: the log suppresses repeated messages, and a changing time
    /// would make each one new.
    fn from(error: webpki::Error) -> Self {
        match error {
            webpki::Error::CertExpired { .. } => Self::Expired,
            webpki::Error::CertNotValidYet { .. } => Self::NotYet,
            error => Self::Certificate(error),
        }
    }
}

/// Verifies `chain` as a client does that trusts the PEM text `bundle` and asks for `name` at `now`.
///
/// # Errors
/// [`Error`] with the reason.
pub fn verify(chain: &[CertificateDer<'_>], bundle: &[u8], name: &str, now: SystemTime) -> Result<(), Error> {
    let (leaf, intermediates) = chain.split_first().ok_or(Error::NothingServed)?;
    // Go leaves out what it cannot read of a bundle as well.
    let trusted: Vec<_> = CertificateDer::pem_slice_iter(bundle).filter_map(Result::ok).collect();
    let anchors: Vec<TrustAnchor<'_>> =
        trusted.iter().filter_map(|certificate| anchor_from_trusted_cert(certificate).ok()).collect();
    if anchors.is_empty() {
        return Err(Error::EmptyBundle);
    }
    lead_to(&anchors, leaf, intermediates, now)?;
    is_for(leaf, name)
}

/// Verifies of `chain`, leaf first, what can be verified without knowing the authority: that it holds together, that it is
/// for the server `name`, and that it is valid at `now`.
///
/// # Errors
/// [`Error`] with the reason.
pub fn verify_alone(chain: &[CertificateDer<'_>], name: &str, now: SystemTime) -> Result<(), Error> {
    let (leaf, issuers) = chain.split_first().ok_or(Error::NothingServed)?;
    match issuers.split_last() {
        Some((last, intermediates)) => lead_to(&[anchor_from_trusted_cert(last)?], leaf, intermediates, now)?,
        None => is_for_servers(leaf)?,
    }
    is_for(leaf, name)
}

fn lead_to(
    anchors: &[TrustAnchor<'_>],
    leaf: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
    now: SystemTime,
) -> Result<(), Error> {
    let since = now.duration_since(SystemTime::UNIX_EPOCH).map_err(|_| Error::Clock)?;
    EndEntityCert::try_from(leaf)?.verify_for_usage(
        webpki::ALL_VERIFICATION_ALGS,
        anchors,
        intermediates,
        UnixTime::since_unix_epoch(since),
        KeyUsage::server_auth(),
        None,
        None,
    )?;
    Ok(())
}

/// Whether `leaf` is for the server `name`.
pub(crate) fn is_for(leaf: &CertificateDer<'_>, name: &str) -> Result<(), Error> {
    let server_name = ServerName::try_from(name).map_err(|_| Error::Name(name.to_owned()))?;
    Ok(EndEntityCert::try_from(leaf)?.verify_is_valid_for_subject_name(&server_name)?)
}

/// A certificate that does not say what it is for is for everything.
fn is_for_servers(leaf: &CertificateDer<'_>) -> Result<(), Error> {
    let (_, leaf) = X509Certificate::from_der(leaf).map_err(|_| webpki::Error::BadDer)?;
    match leaf.extended_key_usage() {
        Ok(Some(usage)) if !usage.value.server_auth && !usage.value.any => Err(Error::Purpose),
        Ok(_) => Ok(()),
        Err(_) => Err(webpki::Error::BadDer.into()),
    }
}
