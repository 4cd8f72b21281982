//! The client of the API server.

use std::time::Duration;

use hyper::header::{HeaderValue, USER_AGENT};
use kube::{Client, Config};

use crate::proxy::{self, Proxied};

/// Read timeout of connections to the API server. A watch receives a bookmark every minute, so a connection without data
/// for longer than two of them is dead. Nothing else detects a connection that was not closed.
const READ_TIMEOUT: Duration = Duration::from_secs(150);

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No usable address or credentials were found.
    #[error("finding the API server")]
    Kube(#[from] kube::Error),
    /// The kubeconfig names a proxy.
    #[error(transparent)]
    Proxied(#[from] Proxied),
}

/// The client of all parts of the process; its user agent names the `replica`, so that the API server's audit log does. It
/// retries nothing: each caller classifies a failure and has a back-off of its own.
pub(crate) async fn connect(replica: &str) -> Result<Client, Error> {
    let mut config = Config::infer().await.map_err(kube::Error::InferConfig)?;
    if let Some(variable) = proxy::bypass(&mut config)? {
        tracing::warn!(variable, "a proxy is named and not used: the API server is connected to directly");
    }
    config.default_retry = false;
    // Longer than the pauses of any watch. Without it, a list would never end if the API server accepts requests and
    // does not answer.
    config.read_timeout = Some(READ_TIMEOUT);
    let agent = format!("atomix-controller/{} ({})", env!("CARGO_PKG_VERSION"), replica);
    config.headers.extend(HeaderValue::try_from(agent).ok().map(|agent| (USER_AGENT, agent)));
    Ok(Client::try_from(config)?)
}
