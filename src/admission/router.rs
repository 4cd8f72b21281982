//! The HTTP side of the webhooks: a review is answered by a review, anything else is refused by status.

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Request as HttpRequest, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response as HttpResponse};
use axum::routing::post;
use tokio::task::spawn_blocking;
use tokio::time::{Instant as Deadline, timeout_at};

use super::body::{self, Whole};
use super::decision::{Decision, decide};
use super::limits::{self, Limits};
use super::metrics::{Counted, WebhookLabel};
use super::rejection::Rejection;
use super::response::Response;
use super::review::{self, Request};
use super::{Admission, Webhook, record};
use crate::runtime::metrics::ReasonLabel;

/// The routes `POST /mutate`, `POST /validate` and `POST /restricted`.
pub(crate) fn router(admission: &Admission) -> Router {
    with_limits(admission, &Limits::default())
}

fn with_limits(admission: &Admission, limits: &Limits) -> Router {
    [Webhook::Mutate, Webhook::Validate, Webhook::Restricted].into_iter().fold(Router::new(), |router, webhook| {
        let endpoint = Arc::new(Endpoint { admission: admission.clone(), limits: limits.clone(), webhook });
        router.route(webhook.path(), post(Endpoint::answer).with_state(endpoint))
    })
}

/// What one route answers with.
struct Endpoint {
    admission: Admission,
    limits: Limits,
    webhook: Webhook,
}

impl Endpoint {
    async fn answer(State(this): State<Arc<Self>>, request: HttpRequest) -> HttpResponse {
        let metrics = &this.admission.metrics;
        let _in_flight = Counted::new(&metrics.in_flight);
        let rejection = match this.review(request).await {
            Ok(json) => return ([(header::CONTENT_TYPE, "application/json")], json).into_response(),
            Err(rejection) => rejection,
        };
        let reason = rejection.reason();
        metrics.rejected.get_or_create(&ReasonLabel { reason }).inc();
        tracing::debug!(webhook = this.webhook.as_str(), status = rejection.status().as_u16(), reason, "rejected");
        rejection.into_response()
    }

    /// The review that answers the one in the body.
    async fn review(&self, request: HttpRequest) -> Result<Vec<u8>, Rejection> {
        if !is_json(request.headers()) {
            return Err(Rejection::ContentType);
        }
        let deadline = limits::deadline(request.uri().query(), Deadline::now());
        let Whole { bytes, permit } = body::read(request.into_body(), &self.limits, deadline).await?;
        let start = Instant::now();
        let decision = match permit {
            None => decide(&self.admission, self.webhook, &bytes),
            Some(permit) => self.decide_large(bytes.into(), permit, deadline).await,
        };
        let label = WebhookLabel { webhook: self.webhook.as_str() };
        self.admission.metrics.duration.get_or_create(&label).observe(start.elapsed().as_secs_f64());
        let (request, response) = decision?;
        Ok(record::answer(&self.admission.metrics, self.webhook, &request, response)?)
    }

    /// Decides on another thread. Past the deadline the decision goes on, keeps its permits, and its result is dropped.
    async fn decide_large(
        &self,
        body: Bytes,
        permit: impl Send + 'static,
        deadline: Deadline,
    ) -> Result<Decision, Rejection> {
        let work = async {
            let permits = (permit, self.limits.decision(deadline).await?);
            let (admission, webhook, body) = (self.admission.clone(), self.webhook, body.clone());
            #[expect(clippy::disallowed_methods, reason = "one request: it is waited for")]
            let work = spawn_blocking(move || {
                let _permits = permits;
                limits::fits_memory(&body).then(|| decide(&admission, webhook, &body))
            });
            timeout_at(deadline, work).await.ok()?.ok()
        };
        let answer = match work.await {
            Some(Some(decision)) => return decision,
            Some(None) => Response::too_large,
            // The deadline has come, or the runtime is shutting down.
            None => |uid: &str| Response::try_again(uid, "the Atomix controller is busy; try again"),
        };
        let uid = review::uid(&body).ok_or(review::Error::NoRequest)?;
        Ok((Request::default(), answer(&uid)))
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = value.split(';').next().unwrap_or_default();
    media_type.trim().eq_ignore_ascii_case("application/json")
}

#[cfg(test)]
#[path = "router_tests.rs"]
mod tests;
