//! The controller's own user name at the API server.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::sync::SetOnce;
use tokio::time::{sleep, timeout};

use crate::api_error::message;
use crate::runtime::readiness::Gate;

/// The API server has nothing to look up for the answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Wait after a failure.
const RETRY: Duration = Duration::from_secs(1);

/// Why the own user name is unknown.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("asking the API server for the controller's own user name: {}", message(.0))]
    Api(#[from] kube::Error),
    #[error("asking the API server for the controller's own user name: no answer")]
    Timeout,
    #[error("the API server's answer has no user name")]
    Unnamed,
}

/// Puts the own user name into `known` and opens `gate`: only that user may write Partitions.
pub(crate) async fn learn(client: Client, known: Arc<SetOnce<String>>, gate: Gate) {
    loop {
        match own_username(client.clone()).await {
            Ok(name) => {
                tracing::info!(user = name, "the API server knows this controller by name");
                // It was not known before: nothing else sets it.
                drop(known.set(name));
                gate.open();
                return;
            }
            Err(error) => {
                tracing::warn!(%error, "own user name unknown, trying again");
                gate.explain(&error);
            }
        }
        sleep(RETRY).await;
    }
}

/// The name under which the API server authenticates this process, for instance
/// `system:serviceaccount:kube-system:atomix-controller`.
async fn own_username(client: Client) -> Result<String, Error> {
    let reviews: Api<SelfSubjectReview> = Api::all(client);
    let (params, review) = (PostParams::default(), SelfSubjectReview::default());
    let review = timeout(TIMEOUT, reviews.create(&params, &review)).await.map_err(|_| Error::Timeout)??;
    let user = review.status.and_then(|status| status.user_info);
    user.and_then(|user| user.username).filter(|name| !name.is_empty()).ok_or(Error::Unnamed)
}
