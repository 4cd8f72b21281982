//! The certificate that new handshakes get.

use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwapOption;
use rustls::pki_types::CertificateDer;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::tls::pair::Pair;
use crate::tls::verify;

/// Gives every handshake the latest certificate, whatever name the client asks for: clients verify it, servers do not.
#[derive(Debug, Default)]
pub(in crate::tls) struct Resolver(ArcSwapOption<Pair>);

impl Resolver {
    pub(in crate::tls) fn serve(&self, pair: Arc<Pair>) {
        self.0.store(Some(pair));
    }

    /// Whether what is served is valid now, by itself.
    pub(in crate::tls) fn check(&self, now: SystemTime) -> Result<(), String> {
        match &*self.0.load() {
            None => Err(verify::Error::NothingServed.to_string()),
            Some(pair) if pair.validity.contains(now) => Ok(()),
            Some(_) => Err("the certificate that is served is not valid now".to_owned()),
        }
    }

    /// What is served, leaf first; nothing if there is none.
    pub(in crate::tls) fn chain(&self) -> Vec<CertificateDer<'static>> {
        self.0.load().as_ref().map(|pair| pair.key.cert.clone()).unwrap_or_default()
    }
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.load().as_ref().map(|pair| Arc::clone(&pair.key))
    }
}
