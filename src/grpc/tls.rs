//! TLS of the gRPC server: a certificate from a Secret or from files, and optionally certificates of clients.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::sign::SingleCertAndKey;
use tokio::sync::watch;

use super::server::Latest;
use crate::runtime::Runtime;
use crate::runtime::readiness::Counts;
use crate::runtime::shutdown::Stage;
use crate::tls::TlsMetrics;
use crate::tls::source::{Pair, Roots, Source};

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
    let pairs = sources.certificate.keep(("gRPC certificate source", "grpc"), Pair::of, namespace, runtime, metrics);
    let roots = sources
        .client_ca
        .as_ref()
        .map(|source| source.keep(("gRPC client CA", "grpc_client_ca"), Roots::of, namespace, runtime, metrics));
    let (config, configs) = watch::channel(None);
    let latest = configs.clone();
    runtime.readiness.check("gRPC certificate", Counts::UntilReady, move || {
        if latest.borrow().is_some() { Ok(()) } else { Err("none yet that can be used; see the log".to_owned()) }
    });
    runtime.tasks(Stage::Serve).spawn_endless("gRPC certificate", update(pairs, roots, config));
    configs
}

/// Makes a configuration of the latest of both whenever one changes. Sessions of an earlier one cannot be resumed: they
/// would outlive the authority that they were authenticated by.
async fn update(
    mut pairs: watch::Receiver<Option<Arc<Pair>>>,
    mut roots: Option<watch::Receiver<Option<Arc<Roots>>>>,
    config: watch::Sender<Option<Arc<ServerConfig>>>,
) {
    loop {
        let changed = match &mut roots {
            Some(roots) => {
                tokio::select! { changed = pairs.changed() => changed, changed = roots.changed() => changed }
            }
            None => pairs.changed().await,
        };
        if changed.is_err() {
            return;
        }
        let Some(pair) = pairs.borrow_and_update().clone() else { continue };
        let clients = match &mut roots {
            None => None,
            Some(roots) => match roots.borrow_and_update().clone() {
                // Without its authorities the server would accept every client.
                None => continue,
                clients => clients,
            },
        };
        config.send_replace(Some(Arc::new(configure(&pair, clients.as_deref()))));
    }
}

fn configure(pair: &Pair, clients: Option<&Roots>) -> ServerConfig {
    let builder = ServerConfig::builder();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(roots) => builder.with_client_cert_verifier(Arc::clone(&roots.verifier)),
    };
    let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from((*pair.key).clone())));
    config.alpn_protocols = vec![ALPN.to_vec()];
    config
}
