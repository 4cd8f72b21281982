//! The HTTP side of the webhooks: what is no review is refused by status, a review is always answered by a review.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response as HttpResponse};
use axum::routing::post;
use futures::StreamExt;

use super::response::{Response, shorten};
use super::review::{self, Request};
use super::{Admission, Target, Webhook};
use crate::metrics::{AdmissionLabels, ReasonLabel, WebhookLabel};

/// Longest body, in bytes: an object has at most 3 MiB and a review holds two, escaped and with some words around them.
pub const MAX_BODY: usize = 7 * 1024 * 1024;
/// Time that a client has for sending the body.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// Characters of one value that a stranger may have chosen, in the log.
const LOGGED: usize = 253;

/// The routes `POST /mutate` and `POST /validate`.
pub fn router(admission: Admission) -> Router {
    Router::new()
        .route("/mutate", post(|State(admission), headers, body| answer(admission, Webhook::Mutate, headers, body)))
        .route("/validate", post(|State(admission), headers, body| answer(admission, Webhook::Validate, headers, body)))
        .with_state(admission)
}

/// A request that gets no review.
#[derive(Debug)]
struct Rejected {
    status: StatusCode,
    reason: &'static str,
    text: String,
}

impl Rejected {
    fn new(status: StatusCode, reason: &'static str, text: impl Into<String>) -> Self {
        Self { status, reason, text: text.into() }
    }
}

async fn answer(admission: Admission, webhook: Webhook, headers: HeaderMap, body: Body) -> HttpResponse {
    let response = match read(&headers, body).await {
        Ok(bytes) => review_of(&admission, webhook, &bytes),
        Err(rejected) => Err(rejected),
    };
    match response {
        Ok(json) => ([(header::CONTENT_TYPE, "application/json")], json).into_response(),
        Err(Rejected { status, reason, text }) => {
            admission.metrics.admission_rejected.get_or_create(&ReasonLabel { reason }).inc();
            tracing::debug!(webhook = webhook.as_str(), status = status.as_u16(), reason, "not a review");
            (status, text + "\n").into_response()
        }
    }
}

async fn read(headers: &HeaderMap, body: Body) -> Result<Bytes, Rejected> {
    if !is_json(headers) {
        let text = "expected content type application/json";
        return Err(Rejected::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "content_type", text));
    }
    match tokio::time::timeout(BODY_TIMEOUT, collect(body)).await {
        Ok(result) => result,
        Err(_) => Err(Rejected::new(StatusCode::REQUEST_TIMEOUT, "timeout", "the body took too long")),
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = value.split(';').next().unwrap_or_default();
    media_type.trim().eq_ignore_ascii_case("application/json")
}

async fn collect(body: Body) -> Result<Bytes, Rejected> {
    let too_large = || {
        let text = format!("the body has more than {MAX_BODY} bytes");
        Rejected::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", text)
    };
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if announced > MAX_BODY {
        return Err(too_large());
    }
    let mut frames = body.into_data_stream();
    // A short body comes in one piece, which need not be copied. No memory is set aside for bytes that were only
    // announced.
    let mut whole = Bytes::new();
    let mut rest = Vec::new();
    while let Some(frame) = frames.next().await {
        let frame = frame.map_err(|_| Rejected::new(StatusCode::BAD_REQUEST, "truncated", "the body broke off"))?;
        if whole.len() + rest.len() + frame.len() > MAX_BODY {
            return Err(too_large());
        }
        if whole.is_empty() && rest.is_empty() {
            whole = frame;
        } else {
            if rest.is_empty() {
                rest.extend_from_slice(&std::mem::take(&mut whole));
            }
            rest.extend_from_slice(&frame);
        }
    }
    let body = if rest.is_empty() { whole } else { rest.into() };
    if body.is_empty() {
        return Err(Rejected::new(StatusCode::BAD_REQUEST, "empty", "the body is empty"));
    }
    Ok(body)
}

fn review_of(admission: &Admission, webhook: Webhook, body: &[u8]) -> Result<Vec<u8>, Rejected> {
    let start = Instant::now();
    let response = match review::parse(body) {
        Ok(request) => decide(admission, webhook, &request),
        Err(review::Error::Request { uid, error }) => {
            count(admission, webhook, None, "error");
            Response::bad_request(&uid, format!("reading the request: {error}"))
        }
        Err(error) => return Err(Rejected::new(StatusCode::BAD_REQUEST, "no_review", error.to_string())),
    };
    let label = WebhookLabel { webhook: webhook.as_str() };
    admission.metrics.admission_duration.get_or_create(&label).observe(start.elapsed().as_secs_f64());
    response.render().map_err(|error| Rejected::new(StatusCode::INTERNAL_SERVER_ERROR, "render", error.to_string()))
}

/// Decides, whatever happens: a panic is one wrong answer and not the end of the process.
fn decide(admission: &Admission, webhook: Webhook, request: &Request) -> Response {
    let result = catch_unwind(AssertUnwindSafe(|| admission.decide(webhook, request)));
    let response = result.unwrap_or_else(|panic| {
        admission.metrics.admission_panics.inc();
        let (uid, panic) = (shorten(&request.uid, LOGGED), text_of(&*panic));
        tracing::error!(?uid, webhook = webhook.as_str(), panic, "panic while answering a review");
        Response::internal_error(&request.uid)
    });
    count(admission, webhook, Some(request), outcome(&response));
    log(webhook, request, &response);
    response
}

fn text_of(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("of an unknown kind")
}

fn outcome(response: &Response) -> &'static str {
    match response.status.as_ref().map(|status| status.code) {
        _ if response.is_patched() => "patched",
        None => "allowed",
        Some(429) => "throttled",
        Some(500..) => "error",
        Some(_) => "denied",
    }
}

fn count(admission: &Admission, webhook: Webhook, request: Option<&Request>, outcome: &'static str) {
    let labels = AdmissionLabels {
        webhook: webhook.as_str(),
        kind: request.map_or("other", |request| Target::of(request).as_str()),
        operation: request.map_or("other", |request| request.operation.as_str()),
        outcome,
    };
    admission.metrics.admission_requests.get_or_create(&labels).inc();
}

/// One line per decision. Names, never values: they may be secret. Quoted and cut, since a stranger may have sent them.
fn log(webhook: Webhook, request: &Request, response: &Response) {
    let webhook = webhook.as_str();
    let operation = request.operation.as_str();
    let cut = |text| shorten(text, LOGGED);
    let (uid, kind, user) = (cut(&request.uid), cut(&request.kind.kind), cut(&request.user_info.username));
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
