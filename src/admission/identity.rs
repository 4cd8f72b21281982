//! The controller's own user name at the API server.

use std::time::Duration;

use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::time::timeout;

use crate::api_error::message;

/// The API server has nothing to look up for the answer.
const TIMEOUT: Duration = Duration::from_secs(10);

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

/// The name under which the API server authenticates this process, for instance
/// `system:serviceaccount:kube-system:atomix-controller`.
pub(crate) async fn own_username(client: Client) -> Result<String, Error> {
    let reviews: Api<SelfSubjectReview> = Api::all(client);
    let (params, review) = (PostParams::default(), SelfSubjectReview::default());
    let review = timeout(TIMEOUT, reviews.create(&params, &review)).await.map_err(|_| Error::Timeout)??;
    let user = review.status.and_then(|status| status.user_info);
    user.and_then(|user| user.username).filter(|name| !name.is_empty()).ok_or(Error::Unnamed)
}
