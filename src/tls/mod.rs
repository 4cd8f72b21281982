//! Serving certificates of the webhooks: who vouches for them, and that the API server knows it.
//!
//! Three kinds of task share what they know through one channel: `secret` keeps the CA in memory and in its Secret the
//! same, `resolver` makes this process's leaf with it, and `bundle`, once for each webhook configuration, keeps what
//! the API server trusts to it. What to do about a Secret is decided in `state`, certificates are made in `issue`; both
//! are functions of values.

mod backoff;
mod bundle;
pub mod issue;
mod names;
mod resolver;
mod secret;
pub mod state;
pub mod verify;

use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use k8s_openapi::api::admissionregistration::v1::{MutatingWebhookConfiguration, ValidatingWebhookConfiguration};
use kube::Client;
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::version::{TLS12, TLS13};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::bundle::{Configuration, Live};
use self::resolver::Resolver;
use crate::health::{Counts, Readiness};
use crate::metrics::Metrics;

pub use names::Names;

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

/// The certificates of this process, and the tasks that keep them.
#[derive(Debug)]
pub struct Tls {
    config: Arc<ServerConfig>,
    tasks: TaskTracker,
}

/// Starts to keep the certificates of the Service of `names`, until `shutdown` is cancelled. Nothing is served before
/// the CA is known; `readiness` waits for a certificate that leads to the live bundles of both webhook configurations.
///
/// # Errors
/// [`Error`] if TLS cannot be configured. Whatever the API server does later is not an error: it is tried again.
pub fn start(
    client: Client,
    names: Names,
    readiness: &Readiness,
    metrics: Arc<Metrics>,
    shutdown: &CancellationToken,
) -> Result<Tls, Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let resolver = Arc::new(Resolver::new(Arc::clone(&provider)));
    let config = Arc::new(configure(provider, Arc::clone(&resolver))?);
    let (ca, known) = watch::channel(None);
    let tasks = TaskTracker::new();
    let keeper = secret::Keeper::new(client.clone(), names.clone(), ca, Arc::clone(&metrics));
    tasks.spawn(keeper.run(shutdown.clone()));
    let renewal = resolver::Renewal {
        resolver: Arc::clone(&resolver),
        ca: known.clone(),
        names: names.clone(),
        metrics: Arc::clone(&metrics),
    };
    tasks.spawn(renewal.run(shutdown.clone()));

    let served = Arc::clone(&resolver);
    readiness.check("webhook certificate", Counts::Always, move || served.check(SystemTime::now()));
    let bundles = Bundles { client, names, known, resolver, metrics, shutdown };
    bundles.keep::<MutatingWebhookConfiguration>(&tasks, readiness);
    bundles.keep::<ValidatingWebhookConfiguration>(&tasks, readiness);
    tasks.close();
    Ok(Tls { config, tasks })
}

fn configure(provider: Arc<CryptoProvider>, resolver: Arc<Resolver>) -> Result<ServerConfig, Error> {
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13, &TLS12])?
        .with_no_client_auth()
        .with_cert_resolver(resolver);
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(config)
}

impl Tls {
    /// For the server of the webhooks: TLS 1.2 and 1.3, HTTP/1.1 only, always the latest certificate.
    #[must_use]
    pub fn server_config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config)
    }

    /// Waits for the tasks to end after the shutdown.
    pub async fn stopped(&self) {
        self.tasks.wait().await;
    }
}

/// What both keepers of bundles are made of.
struct Bundles<'a> {
    client: Client,
    names: Names,
    known: watch::Receiver<Option<Arc<issue::Ca>>>,
    resolver: Arc<Resolver>,
    metrics: Arc<Metrics>,
    shutdown: &'a CancellationToken,
}

impl Bundles<'_> {
    fn keep<K: Configuration>(&self, tasks: &TaskTracker, readiness: &Readiness) {
        let live = Arc::new(ArcSwap::from_pointee(Live::Unknown));
        let keeper = bundle::Keeper::<K>::new(
            self.client.clone(),
            self.names.clone(),
            self.known.clone(),
            Arc::clone(&live),
            Arc::clone(&self.metrics),
        );
        tasks.spawn(keeper.run(self.shutdown.clone()));
        let (resolver, name) = (Arc::clone(&self.resolver), self.names.server_name());
        readiness.check(format!("webhook CA bundle: {}", K::ROLE), Counts::UntilReady, move || {
            trusted(&live.load(), &resolver, &name, SystemTime::now())
        });
    }
}

/// Whether an API server that knows `live` accepts what is served.
fn trusted(live: &Live, resolver: &Resolver, name: &str, now: SystemTime) -> Result<(), String> {
    let bundles = match live {
        Live::Unknown => return Err("the webhook configuration was not seen yet".to_owned()),
        Live::Missing => return Err("there is no such webhook configuration".to_owned()),
        Live::Bundles(bundles) if bundles.is_empty() => return Err("the configuration has no webhooks".to_owned()),
        Live::Bundles(bundles) => bundles,
    };
    let chain = resolver.chain();
    for (webhook, bundle) in bundles {
        verify::verify(&chain, bundle, name, now).map_err(|error| format!("{webhook}: {error}"))?;
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests;
