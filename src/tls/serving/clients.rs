//! Verifies the certificates of the webhooks' clients, if they need one: by authority and by name.

use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::ring::default_provider;
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, SignatureScheme};
use tokio::sync::watch;
use tokio::time::Instant;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::{FromDer, GeneralName};

use crate::runtime::Runtime;
use crate::runtime::readiness::Counts;
use crate::throttle::Throttle;
use crate::tls::context::{Context, WRITES};
use crate::tls::source::{Roots, Source};

/// What metrics and the log call the authorities of clients.
const ROLE: &str = "webhook_client_ca";

/// The clients that may call the webhooks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientAuthentication {
    /// Where the authorities are, in ca.crt.
    pub ca: Source,
    /// Names of which a client's certificate has to have one, as its common name or a DNS name; none if any will do.
    pub names: Vec<String>,
}

/// Starts to follow the authorities. The first readiness waits for them.
pub(in crate::tls) fn start(
    wanted: &ClientAuthentication,
    context: &Context,
    runtime: &Runtime,
) -> Arc<dyn ClientCertVerifier> {
    let (task, namespace) = ("webhook client CA", context.names.namespace());
    let roots = wanted.ca.keep((task, ROLE), Roots::of, namespace, runtime, &context.metrics);
    let known = roots.clone();
    runtime.readiness.check(task, Counts::UntilReady, move || {
        if known.borrow().is_some() { Ok(()) } else { Err("none yet that can be used; see the log".to_owned()) }
    });
    Arc::new(Clients::new(roots, wanted.names.clone()))
}

/// Accepts certificates of the latest authorities under one of the names.
#[derive(Debug)]
struct Clients {
    roots: watch::Receiver<Option<Arc<Roots>>>,
    names: Vec<String>,
    algorithms: WebPkiSupportedAlgorithms,
    /// A client that has a certificate could fill the log.
    log_limit: Mutex<Throttle>,
}

impl Clients {
    fn new(roots: watch::Receiver<Option<Arc<Roots>>>, names: Vec<String>) -> Self {
        let algorithms = default_provider().signature_verification_algorithms;
        Self { roots, names, algorithms, log_limit: Mutex::new(Throttle::new(WRITES.0, WRITES.1, Instant::now())) }
    }

    fn check_name(&self, certificate: &CertificateDer<'_>) -> Result<(), CertificateError> {
        if self.names.is_empty() {
            return Ok(());
        }
        let shown = names_of(certificate).ok_or(CertificateError::BadEncoding)?;
        if shown.iter().any(|name| self.names.contains(name)) {
            return Ok(());
        }
        if self.log_limit.lock().unwrap_or_else(PoisonError::into_inner).try_record(Instant::now()).is_ok() {
            let allowed = &self.names;
            tracing::warn!(
                ?shown,
                ?allowed,
                "a client of the webhooks was refused: its certificate has none of the names that --webhook-client-name allows"
            );
        }
        Err(CertificateError::ApplicationVerificationFailure)
    }
}

impl ClientCertVerifier for Clients {
    /// None: authorities change while the configuration stays, and without hints clients show what they have.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        // Without an authority, no client is accepted.
        let roots = self.roots.borrow().clone().ok_or(CertificateError::UnknownIssuer)?;
        let verified = roots.verifier.verify_client_cert(end_entity, intermediates, now)?;
        self.check_name(end_entity)?;
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// The common names and the DNS names of a certificate; nothing if it is none.
fn names_of(certificate: &CertificateDer<'_>) -> Option<Vec<String>> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let common = certificate.subject().iter_common_name().filter_map(|name| name.as_str().ok());
    let alternative = certificate.subject_alternative_name().ok()?;
    let dns = alternative.iter().flat_map(|names| &names.value.general_names).filter_map(|name| match name {
        GeneralName::DNSName(name) => Some(*name),
        _ => None,
    });
    Some(common.chain(dns).map(str::to_owned).collect())
}

#[cfg(test)]
#[path = "clients_tests.rs"]
mod tests;
