//! Serving certificates of the webhooks, and the API server's trust in them.
//!
//! `self_signed`: three kinds of task share the CA through one channel. `secret` keeps the CA in memory and in its Secret
//! the same, `resolver` makes this process's leaf with it, and `bundle`, once for each webhook configuration, keeps what
//! the API server trusts to it. What to do about a Secret is decided in `rotation`, what a CA and its successor are is in
//! `authority`, how they are stored in `stored`, and certificates are made in `issue`: all functions of values.
//!
//! `given`: certificates come from a `source`, and what the API server trusts is `watched` and never written.
//!
//! `clients`: in either mode, clients may have to show certificates, too.

pub mod alert;
pub mod authority;
mod backoff;
mod bundle;
mod clients;
mod given;
pub mod issue;
mod live;
mod metrics;
mod mode;
mod names;
mod news;
mod periods;
mod resolver;
pub mod rotation;
mod secret;
mod self_signed;
pub mod source;
pub mod stored;
mod turn;
pub mod verify;
mod watched;

use std::sync::Arc;
use std::time::SystemTime;

use kube::Client;
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::server::NoServerSessionStorage;
use rustls::server::danger::ClientCertVerifier;
use rustls::version::{TLS12, TLS13};
use tokio::sync::watch;
use tokio::time::Instant;

use self::resolver::Resolver;
use crate::events::Events;
use crate::leader::{Fence, Term};
use crate::replicas::Presence;
use crate::runtime::Runtime;
use crate::runtime::readiness::Readiness;
use crate::runtime::shutdown::Stage;
use crate::runtime::tasks::Tasks;

pub use clients::ClientAuthentication;
pub use metrics::TlsMetrics;
pub use mode::Mode;
pub use names::Names;
pub use periods::Periods;

/// The one protocol that is offered: API servers speak nothing else to a Service, and what is not offered cannot be
/// flooded.
const ALPN: &[u8] = b"http/1.1";

/// Why certificates cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The TLS library refuses its configuration.
    #[error("configuring TLS: {0}")]
    Tls(#[from] rustls::Error),
}

/// Which certificates are served.
#[derive(Debug)]
pub struct Settings {
    /// Where they come from.
    pub mode: Mode,
    /// The clients that need a certificate; none do without it.
    pub clients: Option<ClientAuthentication>,
    /// Names of the Service and of the objects of certificates.
    pub names: Names,
    /// Lifetimes.
    pub periods: Periods,
}

/// The certificates of this process. Clones share everything.
#[derive(Clone, Debug)]
pub struct Tls {
    config: Arc<ServerConfig>,
    lead: watch::Sender<Option<Lead>>,
}

/// That this replica leads.
#[derive(Clone, Debug)]
struct Lead {
    fence: Fence,
    since: Instant,
}

/// What the tasks of each mode are started with.
struct Parts<'a> {
    names: &'a Names,
    periods: Periods,
    client: &'a Client,
    resolver: &'a Arc<Resolver>,
    provider: &'a Arc<CryptoProvider>,
    events: &'a Events,
    metrics: &'a Arc<TlsMetrics>,
    tasks: &'a Tasks,
    readiness: &'a Readiness,
}

/// Starts to keep the certificates of the Service, until the process stops serving. Nothing is served before there is a
/// certificate; the first readiness waits for one that leads to the live bundles of both webhook configurations.
///
/// # Errors
/// [`Error`] if TLS cannot be configured. A failure of the API server is not an error: the tasks try again.
pub fn start(
    settings: &Settings,
    runtime: &Runtime,
    presence: &Arc<Presence>,
    events: &Events,
    metrics: &Arc<TlsMetrics>,
) -> Result<Tls, Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let resolver = Arc::new(Resolver::new(Arc::clone(&provider)));
    let (lead, leading) = watch::channel(None);

    let (readiness, check) = (&runtime.readiness, Arc::clone(&resolver));
    readiness.check("webhook certificate", settings.mode.counts(), move || check.check(SystemTime::now()));
    let parts = Parts {
        names: &settings.names,
        periods: settings.periods,
        client: &runtime.client,
        resolver: &resolver,
        provider: &provider,
        events,
        metrics,
        tasks: runtime.tasks(Stage::Serve),
        readiness,
    };
    let clients = settings.clients.as_ref().map(|clients| clients::start(clients, &parts));
    let config = Arc::new(configure(Arc::clone(&provider), Arc::clone(&resolver), clients)?);
    match &settings.mode {
        Mode::SelfSigned => self_signed::start(&parts, presence, leading),
        Mode::Given(source) => given::start(source, &parts),
    }
    Ok(Tls { config, lead })
}

fn configure(
    provider: Arc<CryptoProvider>,
    resolver: Arc<Resolver>,
    clients: Option<Arc<dyn ClientCertVerifier>>,
) -> Result<ServerConfig, Error> {
    let builder = ServerConfig::builder_with_provider(provider).with_protocol_versions(&[&TLS13, &TLS12])?;
    let mut config = match clients {
        None => builder.with_no_client_auth().with_cert_resolver(resolver),
        Some(clients) => {
            let mut config = builder.with_client_cert_verifier(clients).with_cert_resolver(resolver);
            // A session that is resumed would outlive the authority that let its client in. What is not kept is not
            // offered: no session identifiers, and no tickets either.
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config
        }
    };
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(config)
}

impl Tls {
    /// For the server of the webhooks: TLS 1.2 and 1.3, HTTP/1.1 only, always the latest certificate.
    #[must_use]
    pub fn server_config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config)
    }

    /// Rotates the CA when it is time to, until the term ends: of several replicas only the one that leads does.
    pub async fn lead(self, term: Term) {
        let _leading = Leading(&self.lead);
        self.lead.send_replace(Some(Lead { fence: term.fence, since: Instant::now() }));
        term.ending.cancelled().await;
    }
}

/// Ends with the term, also when that is lost.
struct Leading<'a>(&'a watch::Sender<Option<Lead>>);

impl Drop for Leading<'_> {
    fn drop(&mut self) {
        self.0.send_replace(None);
    }
}

#[cfg(test)]
mod model_tests;
#[cfg(test)]
pub(crate) mod tests;
