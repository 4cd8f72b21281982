//! The API server, asked who somebody is and what they may do.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, TokenReviewStatus};
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec, SubjectAccessReviewStatus,
};
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tonic::Status;

use super::cache::{Bounds, Cache, key};
use super::{Action, User};
use crate::api::GROUP;
use crate::api_error::{Class, classify};
use crate::calls::within;

/// Longest wait for one answer of the API server.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a yes is good for, and a no: what is granted or taken away counts after as long.
const GOOD_FOR: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(5));
/// Tokens: those that are remembered, those that are asked about (each kept in memory until it is answered), and calls
/// that wait for that, which must not take all the room from those that need not wait.
const TOKENS: Bounds = Bounds { remembered: 1024, asked: 256, waiting: 96 };
/// The same of pairs of a user and an action, which are apart: who is nobody's user must not keep users waiting.
const ACTIONS: Bounds = Bounds { remembered: 4096, asked: 256, waiting: 96 };
/// Questions of each of the two kinds that the API server is asked at a time: a flood of made-up tokens is not passed on
/// to it.
const CONCURRENT: usize = 16;
/// Longest wait of a question for its turn.
const TURN_TIMEOUT: Duration = Duration::from_secs(5);

/// Who has a token.
#[derive(Clone)]
enum Identity {
    Known(Arc<User>),
    Unknown,
    Failed,
}

/// Whether something is allowed.
#[derive(Clone, Copy)]
enum Verdict {
    Allowed,
    Denied,
    Failed,
}

/// Asks the API server.
pub struct Kubernetes {
    client: Client,
    identities: Cache<Identity>,
    verdicts: Cache<Verdict>,
    turns: (Arc<Turns>, Arc<Turns>),
}

/// Lets questions of one kind through to the API server.
struct Turns {
    permits: Semaphore,
    failing: AtomicBool,
}

impl fmt::Debug for Kubernetes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kubernetes").finish_non_exhaustive()
    }
}

impl Kubernetes {
    /// Asks through `client`.
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self {
            client,
            identities: Cache::new(TOKENS),
            verdicts: Cache::new(ACTIONS),
            turns: (Arc::default(), Arc::default()),
        }
    }

    /// The user whose token that is.
    ///
    /// # Errors
    /// `UNAUTHENTICATED` if it is nobody's, `UNAVAILABLE` if the API server cannot say or too many ask.
    pub async fn identify(&self, token: &str) -> Result<Arc<User>, Status> {
        let ask = || {
            let reviews = Api::<TokenReview>::all(self.client.clone());
            let (turns, token) = (Arc::clone(&self.turns.0), token.to_owned());
            async move {
                let spec = TokenReviewSpec { token: Some(token), audiences: None };
                let review = TokenReview { spec, ..TokenReview::default() };
                let answer = turns.ask("tokenreviews", reviews.create(&PostParams::default(), &review)).await;
                answer.map_or(Identity::Failed, |review| identity(review.status.unwrap_or_default()))
            }
        };
        let keep = |answer: &Identity| match answer {
            Identity::Known(_) => GOOD_FOR.0,
            Identity::Unknown => GOOD_FOR.1,
            Identity::Failed => Duration::ZERO,
        };
        match self.identities.get(key([token]), ask, keep).await {
            Some(Identity::Known(user)) => Ok(user),
            Some(Identity::Unknown) => Err(Status::unauthenticated("the API server does not accept the token")),
            Some(Identity::Failed) | None => {
                Err(Status::unavailable("the API server cannot be asked who has the token: try again"))
            }
        }
    }

    /// Lets `user` do `action`, if the API server does.
    ///
    /// # Errors
    /// `PERMISSION_DENIED` with what was asked for if not, `UNAVAILABLE` if the API server cannot say or too many ask.
    pub async fn authorize(&self, user: &User, action: Action<'_>) -> Result<(), Status> {
        let review = question(user, action);
        // All that the answer depends on.
        let key = key([format!("{:?}", review.spec).as_str()]);
        let ask = || {
            let reviews = Api::<SubjectAccessReview>::all(self.client.clone());
            let turns = Arc::clone(&self.turns.1);
            async move {
                let answer = turns.ask("subjectaccessreviews", reviews.create(&PostParams::default(), &review)).await;
                answer.map_or(Verdict::Failed, |review| verdict(review.status.as_ref()))
            }
        };
        let keep = |answer: &Verdict| match answer {
            Verdict::Allowed => GOOD_FOR.0,
            Verdict::Denied => GOOD_FOR.1,
            Verdict::Failed => Duration::ZERO,
        };
        match self.verdicts.get(key, ask, keep).await {
            Some(Verdict::Allowed) => Ok(()),
            Some(Verdict::Denied) => Err(Status::permission_denied(format!("user {:?} cannot {action}", user.name))),
            Some(Verdict::Failed) | None => Err(Status::unavailable(format!(
                "the API server cannot be asked whether {:?} may {action}: try again",
                user.name
            ))),
        }
    }
}

impl Default for Turns {
    fn default() -> Self {
        Self { permits: Semaphore::new(CONCURRENT), failing: AtomicBool::new(false) }
    }
}

impl Turns {
    /// Makes a call when it is its turn; `None` if it failed, or the turn came too late. The log hears of the first failure and of the end of failing.
    async fn ask<T>(&self, resource: &'static str, call: impl Future<Output = kube::Result<T>>) -> Option<T> {
        // Never closed. Those before it have failed if it takes as long, and the log has that.
        let _permit = timeout(TURN_TIMEOUT, self.permits.acquire()).await.ok()?.ok()?;
        match within(CALL_TIMEOUT, call).await {
            Ok(answer) => {
                if self.failing.swap(false, Ordering::Relaxed) {
                    tracing::info!(resource, "the API server answers again who asks over gRPC and what they may do");
                }
                Some(answer)
            }
            Err(error) => {
                if !self.failing.swap(true, Ordering::Relaxed) {
                    let forbidden = classify(&error) == Class::Forbidden;
                    let hint = forbidden.then_some(
                        "the controller's ServiceAccount needs the ClusterRole system:auth-delegator, see deploy/examples/grpc-auth.yaml",
                    );
                    tracing::error!(resource, %error, hint, "the API server cannot be asked who asks over gRPC and what they may do");
                }
                None
            }
        }
    }
}

fn identity(status: TokenReviewStatus) -> Identity {
    let user = status.user.unwrap_or_default();
    match user.username {
        Some(name) if status.authenticated == Some(true) && !name.is_empty() => Identity::Known(Arc::new(User {
            name,
            uid: user.uid,
            groups: user.groups.unwrap_or_default(),
            extra: user.extra.unwrap_or_default(),
        })),
        _ => Identity::Unknown,
    }
}

fn verdict(status: Option<&SubjectAccessReviewStatus>) -> Verdict {
    let allowed = status.is_some_and(|status| status.allowed && status.denied != Some(true));
    if allowed { Verdict::Allowed } else { Verdict::Denied }
}

fn question(user: &User, action: Action<'_>) -> SubjectAccessReview {
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
