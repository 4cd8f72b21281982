//! Who this controller is to the API server.

use std::time::Duration;

use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::time::timeout;

use crate::api_error::message;

/// How long an answer is waited for: the API server has nothing to look up for it.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why the own user name is unknown.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server refused or was not reached.
    #[error("asking the API server for the controller's own user name: {}", message(.0))]
    Api(#[from] kube::Error),
    /// The API server took the request and did not answer.
    #[error("asking the API server for the controller's own user name: no answer")]
    Timeout,
    /// The API server answered without a name.
    #[error("the API server's answer has no user name")]
    Unnamed,
}

/// The name that the API server authenticates this process by, for instance
/// `system:serviceaccount:kube-system:atomix-controller`.
///
/// # Errors
/// [`Error`] if the API server does not say.
pub async fn own_username(client: Client) -> Result<String, Error> {
    let reviews: Api<SelfSubjectReview> = Api::all(client);
    let (params, review) = (PostParams::default(), SelfSubjectReview::default());
    let review = timeout(PATIENCE, reviews.create(&params, &review)).await.map_err(|_| Error::Timeout)??;
    let user = review.status.and_then(|status| status.user_info);
    user.and_then(|user| user.username).filter(|name| !name.is_empty()).ok_or(Error::Unnamed)
}
