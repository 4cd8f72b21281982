//! Calls of the API server with a time limit.

use std::time::Duration;

use tokio::time::timeout;

/// A call that fails after `limit`, since an API server may accept a request and never answer it.
///
/// # Errors
/// Those of the call; [`kube::Error::Service`] if it took too long.
pub(crate) async fn within<T>(limit: Duration, call: impl Future<Output = kube::Result<T>>) -> kube::Result<T> {
    timeout(limit, call).await.unwrap_or_else(|elapsed| Err(kube::Error::Service(Box::new(elapsed))))
}
