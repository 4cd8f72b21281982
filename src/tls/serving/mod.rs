//! What is served: the certificate of new handshakes, and the certificates that clients may have to show.

pub(crate) mod alert;
mod clients;
mod resolver;

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::server::NoServerSessionStorage;
use rustls::server::danger::ClientCertVerifier;

pub use clients::ClientAuthentication;
pub(super) use clients::start as verify_clients;
pub(super) use resolver::Resolver;

/// The one protocol that is offered: API servers speak nothing else to a Service, and what is not offered cannot be
/// flooded.
const ALPN: &[u8] = b"http/1.1";

/// The configuration of the webhooks' server.
pub(super) fn configure(resolver: Arc<Resolver>, clients: Option<Arc<dyn ClientCertVerifier>>) -> ServerConfig {
    let builder = ServerConfig::builder();
    let mut config = match clients {
        None => builder.with_no_client_auth().with_cert_resolver(resolver),
        Some(clients) => {
            let mut config = builder.with_client_cert_verifier(clients).with_cert_resolver(resolver);
            // A resumed session would outlive the authority that let its client in. What is not kept is not offered: no
            // session identifiers, and no tickets either.
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config
        }
    };
    config.alpn_protocols = vec![ALPN.to_vec()];
    config
}
