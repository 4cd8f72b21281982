//! Reviews of the API server: who has a token, and what a user may do.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, TokenReviewStatus};
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec, SubjectAccessReviewStatus,
};
use kube::api::PostParams;
use kube::{Api, Client};
use moka::Expiry;
use moka::future::Cache;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tonic::Status;

use super::{Action, User};
use crate::api::GROUP;
use crate::api_error::{Class, classify};
use crate::calls::within;
use crate::grpc::limit::Limit;

/// Longest wait for one answer of the API server.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a yes is cached, and a no: a right that is granted or taken away counts after as long.
const LIFETIME: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(5));
/// Tokens and permissions that are cached.
const CACHED: (u64, u64) = (1024, 4096);
/// Reviews of each kind at a time, and calls that wait for one: a flood of made-up tokens must not become one of
/// reviews, nor take the places of calls whose token is cached.
const REVIEWS: (usize, usize) = (16, 80);

/// SHA-256 of what a review is about: 32 bytes, and no token is kept in memory.
type Key = [u8; 32];

/// The API server did not answer, or there were too many reviews at a time.
#[derive(Debug)]
struct Unanswered;

/// Keeps an answer for the [`LIFETIME`] of its kind; the function returns whether the answer is positive.
struct Lifetime<T>(fn(&T) -> bool);

impl<T> Expiry<Key, T> for Lifetime<T> {
    fn expire_after_create(&self, _: &Key, answer: &T, _: Instant) -> Option<Duration> {
        Some(if (self.0)(answer) { LIFETIME.0 } else { LIFETIME.1 })
    }
}

/// Authenticates and authorizes callers by reviews of the API server. Concurrent calls with the same review share one
/// request.
pub(crate) struct Kubernetes {
    client: Client,
    users: Cache<Key, Option<Arc<User>>>,
    permissions: Cache<Key, bool>,
    token_reviews: Reviews,
    access_reviews: Reviews,
}

impl fmt::Debug for Kubernetes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kubernetes").finish_non_exhaustive()
    }
}

impl Kubernetes {
    pub(crate) fn new(client: Client) -> Self {
        Self {
            client,
            users: cache(CACHED.0, Option::is_some),
            permissions: cache(CACHED.1, |allowed| *allowed),
            token_reviews: Reviews::new("tokenreviews"),
            access_reviews: Reviews::new("subjectaccessreviews"),
        }
    }

    /// The user whose token that is.
    ///
    /// # Errors
    /// `UNAUTHENTICATED` if the API server knows none, `UNAVAILABLE` if it gives no answer or there are too many questions.
    pub(crate) async fn identify(&self, token: &str) -> Result<Arc<User>, Status> {
        let ask = async {
            let spec = TokenReviewSpec { token: Some(token.to_owned()), audiences: None };
            let review = TokenReview { spec, ..TokenReview::default() };
            let review = self.token_reviews.create(&self.client, &review).await?;
            Ok::<_, Unanswered>(user_of(review.status.unwrap_or_default()).map(Arc::new))
        };
        match self.users.try_get_with(key(token), ask).await {
            Ok(Some(user)) => Ok(user),
            Ok(None) => Err(Status::unauthenticated("the API server does not accept the token")),
            Err(_) => Err(Status::unavailable("the API server cannot be asked who has the token: try again")),
        }
    }

    /// Checks that the API server lets `user` do `action`.
    ///
    /// # Errors
    /// `PERMISSION_DENIED` that names the action, `UNAVAILABLE` if the API server gives no answer or there are too many
    /// questions.
    pub(crate) async fn authorize(&self, user: &User, action: Action<'_>) -> Result<(), Status> {
        let review = review_of(user, action);
        // All that the answer depends on.
        let key = key(&format!("{:?}", review.spec));
        let ask = async {
            let review = self.access_reviews.create(&self.client, &review).await?;
            Ok::<_, Unanswered>(is_allowed(review.status.as_ref()))
        };
        match self.permissions.try_get_with(key, ask).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(Status::permission_denied(format!("user {:?} cannot {action}", user.name))),
            Err(_) => Err(Status::unavailable(format!(
                "the API server cannot be asked whether {:?} may {action}: try again",
                user.name
            ))),
        }
    }
}

fn cache<T: Clone + Send + Sync + 'static>(capacity: u64, is_yes: fn(&T) -> bool) -> Cache<Key, T> {
    Cache::builder().max_capacity(capacity).expire_after(Lifetime(is_yes)).build()
}

fn key(text: &str) -> Key {
    let mut key = Key::default();
    key.copy_from_slice(ring::digest::digest(&ring::digest::SHA256, text.as_bytes()).as_ref());
    key
}

/// Reviews of one kind.
struct Reviews {
    resource: &'static str,
    limit: Limit,
    failing: AtomicBool,
}

impl Reviews {
    fn new(resource: &'static str) -> Self {
        Self { resource, limit: Limit::new(REVIEWS.0, REVIEWS.1), failing: AtomicBool::new(false) }
    }

    /// Makes a review. The first failure and the first success after it are logged.
    async fn create<K>(&self, client: &Client, review: &K) -> Result<K, Unanswered>
    where
        K: kube::Resource<DynamicType = ()> + Clone + fmt::Debug + Serialize + DeserializeOwned,
    {
        let resource = self.resource;
        let _permit = self.limit.acquire().await.ok_or(Unanswered)?;
        match within(CALL_TIMEOUT, Api::<K>::all(client.clone()).create(&PostParams::default(), review)).await {
            Ok(review) => {
                if self.failing.swap(false, Ordering::Relaxed) {
                    tracing::info!(resource, "the API server authenticates and authorizes gRPC callers again");
                }
                Ok(review)
            }
            Err(error) => {
                if !self.failing.swap(true, Ordering::Relaxed) {
                    let forbidden = classify(&error) == Class::Forbidden;
                    let hint = forbidden.then_some(
                        "the controller's ServiceAccount needs the ClusterRole system:auth-delegator, see deploy/examples/grpc-auth.yaml",
                    );
                    tracing::error!(resource, %error, hint, "the API server does not authenticate and authorize gRPC callers");
                }
                Err(Unanswered)
            }
        }
    }
}

fn user_of(status: TokenReviewStatus) -> Option<User> {
    let user = status.user.unwrap_or_default();
    let name = user.username.filter(|name| status.authenticated == Some(true) && !name.is_empty())?;
    Some(User { name, uid: user.uid, groups: user.groups.unwrap_or_default(), extra: user.extra.unwrap_or_default() })
}

fn is_allowed(status: Option<&SubjectAccessReviewStatus>) -> bool {
    status.is_some_and(|status| status.allowed && status.denied != Some(true))
}

fn review_of(user: &User, action: Action<'_>) -> SubjectAccessReview {
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let attributes = ResourceAttributes {
        group: some(GROUP),
        resource: some(action.resource),
        subresource: some(action.subresource),
        verb: some(action.verb),
        namespace: some(action.namespace),
        name: some(action.name),
        ..ResourceAttributes::default()
    };
    let spec = SubjectAccessReviewSpec {
        user: some(&user.name),
        uid: user.uid.clone(),
        groups: Some(user.groups.clone()),
        extra: Some(user.extra.clone()),
        resource_attributes: Some(attributes),
        ..SubjectAccessReviewSpec::default()
    };
    SubjectAccessReview { spec, ..SubjectAccessReview::default() }
}

#[cfg(test)]
#[path = "kubernetes_tests.rs"]
mod tests;
