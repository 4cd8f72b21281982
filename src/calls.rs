//! Calls to the API server that do not last for ever.

use std::time::Duration;

use tokio::time::timeout;

/// A call that gives up after `limit`: an API server that takes a request and does not answer must not hold up whoever
/// waits.
///
/// # Errors
/// Those of the call; [`kube::Error::Service`] if it took too long.
pub async fn within<T>(limit: Duration, call: impl Future<Output = kube::Result<T>>) -> kube::Result<T> {
    timeout(limit, call).await.unwrap_or_else(|elapsed| Err(kube::Error::Service(Box::new(elapsed))))
}
