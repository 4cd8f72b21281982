//! Serving certificates of the webhooks, and the API server's trust in them.
//!
//! `ca`: the controller makes a CA and serving certificates of it, and writes the CA bundles of the webhook configurations.
//! `provided`: certificates come from a Secret or files that other programs write, and so do the bundles.
//! `source`: the Secret or the files, of which the last good content is kept in use.
//! `serving`: in either mode, what handshakes get, and which certificates clients have to show.

mod ca;
mod context;
mod metrics;
mod mode;
mod names;
mod pair;
mod provided;
mod serving;
pub mod source;
mod trust;
pub mod verify;

use std::sync::Arc;
use std::time::SystemTime;

use rustls::ServerConfig;
use tokio::sync::watch;
use tokio::time::Instant;

use self::ca::Lead;
use self::context::Context;
use crate::events::Events;
use crate::leader::Term;
use crate::replicas::Presence;
use crate::runtime::Runtime;

pub use ca::{Periods, authority, stored};
pub use metrics::TlsMetrics;
pub use mode::Mode;
pub use names::Names;
pub use serving::ClientAuthentication;
pub(crate) use serving::alert;

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

/// Starts to keep the certificates of the Service, until the process stops serving. Nothing is served before there is a
/// certificate; the first readiness waits for one that leads to the live bundles of both webhook configurations.
#[must_use]
pub fn start(
    settings: Settings,
    runtime: &Runtime,
    presence: &Arc<Presence>,
    events: Events,
    metrics: &Arc<TlsMetrics>,
) -> Tls {
    let Settings { mode, clients, names, periods } = settings;
    let context = Arc::new(Context {
        client: runtime.client.clone(),
        names,
        periods,
        resolver: Arc::default(),
        events,
        metrics: Arc::clone(metrics),
    });
    let check = Arc::clone(&context.resolver);
    runtime.readiness.check("webhook certificate", mode.counts(), move || check.check(SystemTime::now()));
    let clients = clients.map(|clients| serving::verify_clients(&clients, &context, runtime));
    let config = serving::configure(Arc::clone(&context.resolver), clients);
    let (lead, leading) = watch::channel(None);
    match &mode {
        Mode::SelfSigned => ca::start(&context, runtime, presence, leading),
        Mode::Provided(source) => provided::start(source, &context, runtime),
    }
    Tls { config: Arc::new(config), lead }
}

impl Tls {
    /// The configuration of the webhooks' server: TLS 1.2 and 1.3, HTTP/1.1 only, always the latest certificate.
    #[must_use]
    pub fn server_config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config)
    }

    /// Lets this replica rotate the CA until the term ends: of several replicas only the leader does.
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
pub(crate) mod tests;
