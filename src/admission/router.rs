//! The HTTP side of the webhooks: what is no review is refused by status, a review is always answered by a review.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response as HttpResponse};
use axum::routing::post;
use tokio::task::spawn_blocking;
use tokio::time::{Instant as Time, timeout_at};

use super::body::{self, Whole};
use super::limits::{Limits, Weight, deadline};
use super::response::{Response, shorten};
use super::review::{self, Request};
use super::{Admission, Target, Webhook, uid};
use crate::admission::metrics::{AdmissionLabels, AdmissionMetrics, WebhookLabel};
use crate::runtime::metrics::ReasonLabel;

/// Longest body, in bytes: an object has at most 3 MiB and a review holds two, escaped and with some words around them.
pub const MAX_BODY: usize = 7 * 1024 * 1024;
/// Characters of one value that a stranger may have chosen, in the log.
const LOGGED: usize = 253;

/// The routes `POST /mutate`, `POST /validate` and `POST /restricted`.
pub fn router(admission: &Admission) -> Router {
    limited(admission, &Limits::default())
}

fn limited(admission: &Admission, limits: &Limits) -> Router {
    let route = |webhook| {
        let (admission, limits) = (admission.clone(), limits.clone());
        post(async move |uri: Uri, headers: HeaderMap, body: Body| {
            answer(&admission, &limits, webhook, &uri, &headers, body).await
        })
    };
    Router::new()
        .route("/mutate", route(Webhook::Mutate))
        .route("/validate", route(Webhook::Validate))
        .route("/restricted", route(Webhook::Restricted))
}

/// Why there is no decision.
#[derive(Debug)]
pub(super) enum Refused {
    /// There is no review to answer by.
    Status {
        /// Of the HTTP answer.
        status: StatusCode,
        /// For the metrics.
        reason: &'static str,
        /// For people.
        text: String,
    },
    /// There is no time or room; the review of this uid is to be sent again.
    Throttled(String),
    /// The review of this uid costs more than any other may.
    TooHeavy(String),
}

impl Refused {
    pub(super) fn status(status: StatusCode, reason: &'static str, text: impl Into<String>) -> Self {
        Self::Status { status, reason, text: text.into() }
    }

    /// What is known of a review whose body is here.
    fn review(body: &[u8], refused: fn(String) -> Self) -> Self {
        uid::find(body).map_or_else(|| no_review("reading the body as an AdmissionReview: no uid"), refused)
    }
}

fn no_review(text: impl Into<String>) -> Refused {
    Refused::status(StatusCode::BAD_REQUEST, "no_review", text)
}

/// One more request in flight for as long as this is.
struct InFlight<'a>(&'a AdmissionMetrics);

impl<'a> InFlight<'a> {
    fn new(metrics: &'a AdmissionMetrics) -> Self {
        metrics.in_flight.inc();
        Self(metrics)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.in_flight.dec();
    }
}

async fn answer(
    admission: &Admission,
    limits: &Limits,
    webhook: Webhook,
    uri: &Uri,
    headers: &HeaderMap,
    body: Body,
) -> HttpResponse {
    let _in_flight = InFlight::new(&admission.metrics);
    let deadline = deadline(uri.query(), Time::now());
    let decided = if is_json(headers) {
        match body::read(body, limits, deadline).await {
            Ok(whole) => review_of(admission, limits, webhook, whole, deadline).await,
            Err(refused) => Err(refused),
        }
    } else {
        let text = "expected content type application/json";
        Err(Refused::status(StatusCode::UNSUPPORTED_MEDIA_TYPE, "content_type", text))
    };
    let rendered = match decided {
        Ok(Decided { request, response }) => conclude(admission, webhook, request.as_ref(), response),
        Err(Refused::Throttled(uid)) => {
            let message = "the Atomix controller is busy; try again".to_owned();
            conclude(admission, webhook, None, Response::try_again(&uid, message))
        }
        Err(Refused::TooHeavy(uid)) => conclude(admission, webhook, None, Response::too_large(&uid)),
        Err(Refused::Status { status, reason, text }) => Err((status, reason, text)),
    };
    match rendered {
        Ok(json) => ([(header::CONTENT_TYPE, "application/json")], json).into_response(),
        Err((status, reason, text)) => {
            admission.metrics.rejected.get_or_create(&ReasonLabel { reason }).inc();
            tracing::debug!(webhook = webhook.as_str(), status = status.as_u16(), reason, "not a review");
            (status, text + "\n").into_response()
        }
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = value.split(';').next().unwrap_or_default();
    media_type.trim().eq_ignore_ascii_case("application/json")
}

/// An answer, and the request if it could be read.
struct Decided {
    request: Option<Request>,
    response: Response,
}

/// Decides about the review in a body: on the spot if it is light, else when there is a place, on another thread. Past
/// the deadline such a decision goes on, keeps its place and is thrown away.
async fn review_of(
    admission: &Admission,
    limits: &Limits,
    webhook: Webhook,
    Whole { bytes, room }: Whole,
    deadline: Time,
) -> Result<Decided, Refused> {
    let start = Instant::now();
    let decided = match Weight::of(&bytes) {
        _ if Time::now() >= deadline => Err(Refused::review(&bytes, Refused::Throttled)),
        Weight::Light => read_and_decide(admission, webhook, &bytes),
        Weight::TooHeavy => Err(Refused::review(&bytes, Refused::TooHeavy)),
        Weight::Heavy => match limits.decision(deadline).await {
            None => Err(Refused::review(&bytes, Refused::Throttled)),
            Some(place) => {
                let (admission, body) = (admission.clone(), Bytes::clone(&bytes));
                #[expect(clippy::disallowed_methods, reason = "one request: it is waited for")]
                let work = spawn_blocking(move || {
                    let decided = read_and_decide(&admission, webhook, &body);
                    drop((room, place));
                    decided
                });
                match timeout_at(deadline, work).await {
                    Ok(Ok(decided)) => decided,
                    // The runtime is shutting down, or the deadline has come.
                    Ok(Err(_)) | Err(_) => Err(Refused::review(&bytes, Refused::Throttled)),
                }
            }
        },
    };
    let label = WebhookLabel { webhook: webhook.as_str() };
    admission.metrics.duration.get_or_create(&label).observe(start.elapsed().as_secs_f64());
    decided
}

fn read_and_decide(admission: &Admission, webhook: Webhook, body: &[u8]) -> Result<Decided, Refused> {
    match review::parse(body) {
        Ok(request) => {
            let response = decide(admission, webhook, &request);
            Ok(Decided { request: Some(request), response })
        }
        Err(review::Error::Request { uid, error }) => {
            let response = Response::bad_request(&uid, format!("reading the request: {error}"));
            Ok(Decided { request: None, response })
        }
        Err(error) => Err(no_review(error.to_string())),
    }
}

/// Decides, whatever happens: a panic is one wrong answer and not the end of the process.
fn decide(admission: &Admission, webhook: Webhook, request: &Request) -> Response {
    let result = catch_unwind(AssertUnwindSafe(|| admission.decide(webhook, request)));
    result.unwrap_or_else(|panic| {
        admission.metrics.panics.inc();
        let (uid, panic) = (shorten(&request.uid, LOGGED), text_of(&*panic));
        tracing::error!(?uid, webhook = webhook.as_str(), panic, "panic while answering a review");
        Response::internal_error(&request.uid)
    })
}

fn text_of(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("of an unknown kind")
}

/// Counts and logs what is answered, and writes it down.
fn conclude(
    admission: &Admission,
    webhook: Webhook,
    request: Option<&Request>,
    response: Response,
) -> Result<Vec<u8>, (StatusCode, &'static str, String)> {
    // What only warns has nothing to say where it cannot judge.
    let response = if webhook.refuses() || response.allowed { response } else { Response::allow(response.uid()) };
    let outcome = outcome(&response);
    let labels = AdmissionLabels {
        webhook: webhook.as_str(),
        kind: request.map_or("other", |request| Target::of(request).as_str()),
        operation: request.map_or("other", |request| request.operation.as_str()),
        outcome,
    };
    admission.metrics.requests.get_or_create(&labels).inc();
    log(webhook, request.unwrap_or(&Request::default()), &response);
    response.render().map_err(|error| (StatusCode::INTERNAL_SERVER_ERROR, "render", error.to_string()))
}

fn outcome(response: &Response) -> &'static str {
    match response.status.as_ref().map(|status| (status.code, status.reason)) {
        _ if response.is_patched() => "patched",
        None => "allowed",
        Some((429, _)) => "throttled",
        Some((500.., _) | (_, "BadRequest")) => "error",
        Some(_) => "denied",
    }
}

/// One line per decision. Names, never values: they may be secret. Quoted and cut, since a stranger may have sent them.
fn log(webhook: Webhook, request: &Request, response: &Response) {
    let webhook = webhook.as_str();
    let operation = request.operation.as_str();
    let cut = |text| shorten(text, LOGGED);
    let (uid, kind, user) = (cut(response.uid()), cut(&request.kind.kind), cut(&request.user_info.username));
    let (namespace, name) = (cut(&request.namespace), cut(request.display_name()));
    if let Some(status) = &response.status {
        let (code, reason) = (status.code, status.reason);
        tracing::info!(
            ?uid,
            webhook,
            ?kind,
            ?namespace,
            ?name,
            operation,
            ?user,
            allowed = false,
            code,
            reason,
            "denied"
        );
    } else {
        let patched = response.is_patched();
        tracing::debug!(?uid, webhook, ?kind, ?namespace, ?name, operation, ?user, allowed = true, patched, "allowed");
    }
}

#[cfg(test)]
#[path = "router_tests.rs"]
mod tests;
