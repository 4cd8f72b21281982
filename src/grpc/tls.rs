//! TLS of the gRPC server: a certificate from a Secret or from files, and optionally certificates of clients.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::sign::SingleCertAndKey;
use rustls::version::{TLS12, TLS13};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::server::Latest;
use crate::runtime::Runtime;
use crate::runtime::readiness::Counts;
use crate::runtime::shutdown::Stage;
use crate::tls::TlsMetrics;
use crate::tls::source::{Pair, Roots, Source, keep};

/// gRPC is HTTP/2.
const ALPN: &[u8] = b"h2";

/// Where the certificates are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sources {
    /// Of the server, with its key.
    pub(crate) certificate: Source,
    /// Of the authorities that sign clients' certificates; without it clients need none.
    pub(crate) client_ca: Option<Source>,
}

/// Follows the sources until the process stops. The first readiness waits for a certificate: so a rollout with a mistake
/// in these options stops before it replaces a replica that works.
pub(crate) fn start(sources: &Sources, namespace: &str, runtime: &Runtime, metrics: &Arc<TlsMetrics>) -> Latest {
    let (client, readiness, tasks) = (&runtime.client, &runtime.readiness, runtime.tasks(Stage::Serve));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let follow = |source: &Source| source.follow(client.clone(), namespace);
    let (pair, pairs) = watch::channel(None::<Arc<Pair>>);
    let (kept, stop) = (Arc::clone(metrics), tasks.stopping().clone());
    let kept = keep(follow(&sources.certificate), "grpc", Arc::clone(&provider), pair, kept, stop);
    tasks.spawn("gRPC certificate source", kept);
    let roots = sources.client_ca.as_ref().map(|source| {
        let (roots, known) = watch::channel(None::<Arc<Roots>>);
        let (provider, metrics, stop) = (Arc::clone(&provider), Arc::clone(metrics), tasks.stopping().clone());
        tasks.spawn("gRPC client CA", keep(follow(source), "grpc_client_ca", provider, roots, metrics, stop));
        known
    });
    let (config, configs) = watch::channel(None);
    let latest = configs.clone();
    readiness.check("gRPC certificate", Counts::UntilReady, move || {
        if latest.borrow().is_some() { Ok(()) } else { Err("none yet that can be used; see the log".to_owned()) }
    });
    tasks.spawn("gRPC certificate", update(pairs, roots, provider, config, tasks.stopping().clone()));
    configs
}

/// Makes a configuration of the latest of both whenever one changes. Sessions of an earlier one cannot be resumed: they
/// would outlive the authority that they were authenticated by.
async fn update(
    mut pairs: watch::Receiver<Option<Arc<Pair>>>,
    mut roots: Option<watch::Receiver<Option<Arc<Roots>>>>,
    provider: Arc<CryptoProvider>,
    config: watch::Sender<Option<Arc<ServerConfig>>>,
    shutdown: CancellationToken,
) {
    loop {
        let changed = async {
            match &mut roots {
                Some(roots) => {
                    tokio::select! { changed = pairs.changed() => changed, changed = roots.changed() => changed }
                }
                None => pairs.changed().await,
            }
        };
        let Some(Ok(())) = shutdown.run_until_cancelled(changed).await else { return };
        let Some(pair) = pairs.borrow_and_update().clone() else { continue };
        let clients = match &mut roots {
            None => None,
            Some(roots) => match roots.borrow_and_update().clone() {
                // Without its authorities the server would accept every client.
                None => continue,
                clients => clients,
            },
        };
        match configure(&pair, clients.as_deref(), &provider) {
            Ok(made) => drop(config.send_replace(Some(Arc::new(made)))),
            Err(error) => tracing::error!(%error, "configuring TLS for gRPC; the last certificates stay in use"),
        }
    }
}

fn configure(
    pair: &Pair,
    clients: Option<&Roots>,
    provider: &Arc<CryptoProvider>,
) -> Result<ServerConfig, rustls::Error> {
    let builder =
        ServerConfig::builder_with_provider(Arc::clone(provider)).with_protocol_versions(&[&TLS13, &TLS12])?;
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(roots) => builder.with_client_cert_verifier(Arc::clone(&roots.verifier)),
    };
    let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from((*pair.key).clone())));
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(config)
}
